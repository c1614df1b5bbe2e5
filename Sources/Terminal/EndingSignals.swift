import Dispatch
import Glibc
import Synchronization

/// Turns the signals that ask this process to end into the cancellation of what it does, so that no virtual machine is left
/// without anybody who looks after it, and no working directory with gigabytes in it.
public enum EndingSignals {
    private static let numbers = [SIGTERM, SIGINT, SIGHUP]

    /// The result of `body`, which is cancelled when this process is asked to end.
    public static func cancelling<Result: Sendable>(
        _ body: @escaping @Sendable () async throws -> Result
    ) async throws -> Result {
        let task = Task { try await body() }
        let queue = DispatchQueue(label: "io.ballast.signals")
        let sources = numbers.map { number in
            let source = DispatchSource.makeSignalSource(signal: number, queue: queue)
            source.setEventHandler { task.cancel() }
            source.activate()
            return source
        }
        defer { for source in sources { source.cancel() } }
        return try await task.value
    }
}
