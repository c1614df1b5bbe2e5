import Fault
import Glibc
import Synchronization
import Trust

extension Agent {
    private static let firstCheck: Int64 = 5
    private static let firstJitterLimit: Int64 = 60
    private static let firstRetry: Int64 = 30

    /// Asks the repository again and again, and updates where there is something to update to. Never returns.
    public func keepUpToDate(log: (String) -> Void) -> Never {
        var failures = 0
        // After a power cut all hosts start at once; they do not all ask at once.
        schedule(after: Self.firstCheck + host.random(min(settings.jitter, Self.firstJitterLimit)))
        while true {
            waitForNextCheck()
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
                schedule(after: min(settings.interval, Self.firstRetry << max(failures - 1, 0)) + host.random(5))
                continue
            }
            schedule(after: settings.interval + host.random(settings.jitter))
        }
    }

    private func schedule(after seconds: Int64) {
        live.withLock { $0.nextCheck = settings.repository == nil ? nil : host.now().adding(seconds: seconds) }
        notify()
    }

    /// Returns when it is time. In between, what other processes of the agent write to the state is passed on.
    private func waitForNextCheck() {
        let start = ContinuousClock.now
        let due = live.withLock { $0.nextCheck }.map { max(0, $0.seconds - host.now().seconds) }
        var seen = try? store.read()
        while true {
            // Measured by a clock that nobody sets: a host that gets its time late must not wait for years.
            let passed = (ContinuousClock.now - start).components.seconds
            if let due, passed >= due { return }
            let isProving = if case .proving = seen?.phase { true } else { false }
            let pause = min(isProving ? 2 : 30, due.map { $0 - passed } ?? 30)
            sleep(UInt32(max(pause, 1)))
            let now = try? store.read()
            if now != seen { notify() }
            seen = now
        }
    }
}
