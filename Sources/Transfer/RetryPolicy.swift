import Glibc

/// How often, and after what pause, a request that failed for a passing reason is made again.
public struct RetryPolicy: Sendable {
    /// The most requests for the same bytes, the first one included.
    public var attempts: Int
    /// The pause before the second request; each further one is twice as long.
    public var firstPause: Duration
    /// The longest pause.
    public var longestPause: Duration
    /// Waits. Tests count here instead.
    public var sleep: @Sendable (Duration) -> Void

    /// Four requests, with pauses of 1, 2 and 4 seconds, unless said otherwise.
    public init(
        attempts: Int = 4, firstPause: Duration = .seconds(1), longestPause: Duration = .seconds(30),
        sleep: @escaping @Sendable (Duration) -> Void = RetryPolicy.sleepOnThread
    ) {
        self.attempts = attempts
        self.firstPause = firstPause
        self.longestPause = longestPause
        self.sleep = sleep
    }

    /// Blocks the calling thread.
    public static let sleepOnThread: @Sendable (Duration) -> Void = { duration in
        var left = timespec(
            tv_sec: Int(duration.components.seconds), tv_nsec: Int(duration.components.attoseconds / 1_000_000_000))
        var rest = timespec()
        while nanosleep(&left, &rest) != 0, errno == EINTR { left = rest }
    }

    /// The pause after `failures` failed requests in a row.
    func pause(after failures: Int) -> Duration {
        min(firstPause * (1 << min(max(failures - 1, 0), 16)), longestPause)
    }
}
