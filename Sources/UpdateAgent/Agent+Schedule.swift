import Fault
import Glibc
import Synchronization
import Trust

extension Agent {
    private static let firstCheck: Int64 = 5
    private static let firstJitterLimit: Int64 = 60
    private static let firstRetry: Int64 = 30
    /// Hosts that a server asks to come back at one and the same time are spread over this many seconds.
    private static let spread: Int64 = 300

    /// Seconds until the next attempt after `failures` in a row: more each time, and spread, for after an outage all hosts that saw it
    /// want the same.
    ///
    /// - Parameters:
    ///   - retryAfter: for how long the servers want to be left alone.
    ///   - random: a number from 0 up to and with the one given.
    package static func pause(
        after failures: Int, interval: Int64, retryAfter: Int64?, random: (Int64) -> Int64
    ) -> Int64 {
        let step = max(min(interval, firstRetry << Int64(min(max(failures - 1, 0), 16))), 1)
        let pause = step / 2 + random(step)
        guard let retryAfter else { return pause }
        return max(pause, retryAfter + random(min(interval, spread)))
    }

    /// Asks the repository again and again, and updates where there is something to update to. Never returns.
    public func keepUpToDate(log: (String) -> Void) -> Never {
        var failures = 0
        // After a power cut all hosts start at once; they do not all ask at once.
        schedule(after: Self.firstCheck + host.random(min(settings.jitter, Self.firstJitterLimit)))
        while true {
            waitForNextCheck(log)
            do throws(UpdateAgentFault) {
                let result = try update(isOperator: false) { _ in }
                failures = 0
                if result.outcome != .nothing { log(result.text) }
            } catch {
                switch error.code {
                // Somebody else is at it, or the version that runs is not proved yet: soon again.
                case .busy: failures = 0
                default:
                    failures = min(failures + 1, 16)
                    log("\(error)")
                }
                schedule(
                    after: Self.pause(
                        after: failures, interval: settings.interval, retryAfter: source?.retryAfter,
                        random: host.random))
                continue
            }
            schedule(after: settings.interval + host.random(settings.jitter))
        }
    }

    /// Whether the agent answers, and does what it is to do: no look is overdue that no job keeps from being made.
    public var isAlive: Bool {
        guard (try? status()) != nil else { return false }
        // What a restart waits for has its own time limit.
        let (due, isPreparing) = live.withLock { ($0.due, $0.restart.isPreparing || $0.restart.doing != nil) }
        return jobs.current != nil || isPreparing || due.map { ContinuousClock.now < $0 + .seconds(900) } ?? true
    }

    private func schedule(after seconds: Int64) {
        live.withLock { live in
            live.nextCheck = settings.mirrors.isEmpty ? nil : host.now().adding(seconds: seconds)
            live.due = settings.mirrors.isEmpty ? nil : .now + .seconds(seconds)
        }
        notify()
    }

    /// Returns when it is time. Meanwhile the restart that waits is made, and what other processes of the agent write to the state is passed
    /// on.
    private func waitForNextCheck(_ log: (String) -> Void) {
        // By a clock that nobody sets: a host that gets its time late must not wait for years.
        let due = live.withLock { $0.due }
        var seen = try? store.read()
        while true {
            let left = due.map { max(($0 - .now).components.seconds, 0) }
            if let due, ContinuousClock.now >= due { return }
            tendRestart(log: log)
            let isProving = if case .proving = seen?.phase { true } else { false }
            let pause = min(isProving ? 2 : 30, left ?? 30)
            sleep(UInt32(max(pause, 1)))
            let now = try? store.read()
            if now != seen { notify() }
            seen = now
        }
    }
}
