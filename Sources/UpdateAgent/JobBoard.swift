import Dispatch
import Fault
import Synchronization

/// What the host is at with its repository: one job at a time. Who asks for what runs already waits for it and gets what it comes to.
final class JobBoard: Sendable {
    enum Kind: String, Sendable {
        case check, update
    }

    enum Outcome: Sendable {
        case check(CheckResult)
        case update(UpdateResult)
    }

    /// A job that runs or has ended.
    final class Job: Sendable {
        private struct State {
            var outcome: Result<Outcome, UpdateAgentFault>?
            var observers: [Int: @Sendable (UpdateProgress) -> Void] = [:]
            var nextObserver = 0
            var progress: UpdateProgress?
            /// The version that it brings, once that is decided.
            var version: String?
            /// Whether it has come as far as to bring one.
            var hasBrought = false
        }

        let kind: Kind
        /// Whether a person asked for it, who does not wait for the ramp of a release.
        let isOperators: Bool
        private let state = Mutex(State())
        private let end = DispatchGroup()

        fileprivate init(_ kind: Kind, isOperators: Bool) {
            self.kind = kind
            self.isOperators = isOperators
            end.enter()
        }

        /// The version that it brings.
        var version: String? { state.withLock { $0.version } }
        /// How far it is.
        var progress: UpdateProgress? { state.withLock { $0.progress } }

        /// From now on it brings `version`, or nothing any more.
        func bring(_ version: String?) {
            state.withLock { state in
                state.version = version
                if version != nil { state.hasBrought = true }
            }
        }

        /// Whether what it comes to is what who asks for `kind` wants to know.
        func answers(_ kind: Kind, isOperators: Bool) -> Bool {
            guard self.kind == kind else { return false }
            return kind == .check || self.isOperators || !isOperators || state.withLock { $0.hasBrought }
        }

        /// Tells everybody who waits for it.
        func tell(_ progress: UpdateProgress) {
            let observers = state.withLock { state in
                state.progress = progress
                return Array(state.observers.values)
            }
            for observer in observers { observer(progress) }
        }

        /// Has `observer` told how far it is, now and whenever there is news.
        ///
        /// - Returns: by what ``dismiss(_:)`` knows it.
        @discardableResult
        func observe(_ observer: @escaping @Sendable (UpdateProgress) -> Void) -> Int {
            let (key, now) = state.withLock { state in
                state.nextObserver += 1
                state.observers[state.nextObserver] = observer
                return (state.nextObserver, state.progress)
            }
            observer(now ?? UpdateProgress(phase: .checking, bytesDone: 0, bytesTotal: 0, bytesPerSecond: 0))
            return key
        }

        /// Tells an observer nothing any more: it has left.
        func dismiss(_ key: Int) { state.withLock { $0.observers[key] = nil } }

        /// Waits for its end.
        ///
        /// - Parameter hasLeft: whether whoever waits has left; asked once a second.
        func outcome(hasLeft: () -> Bool) throws(UpdateAgentFault) -> Outcome {
            while end.wait(timeout: .now() + .seconds(1)) == .timedOut {
                if hasLeft() { throw UpdateAgentFault(.busy, "nobody waits for the end any more") }
            }
            guard let outcome = state.withLock({ $0.outcome }) else {
                throw UpdateAgentFault(.system, "the job ended without a word")
            }
            return try outcome.get()
        }

        fileprivate func finish(_ outcome: Result<Outcome, UpdateAgentFault>) {
            state.withLock { $0.outcome = outcome }
            end.leave()
        }
    }

    private let running = Mutex<Job?>(nil)

    /// The job that runs.
    var current: Job? { running.withLock { $0 } }

    /// A new job, unless one runs: then that.
    func begin(_ kind: Kind, isOperators: Bool) -> (job: Job, isNew: Bool) {
        running.withLock { running in
            if let running { return (running, false) }
            let job = Job(kind, isOperators: isOperators)
            running = job
            return (job, true)
        }
    }

    /// The job is over.
    func end(_ job: Job, _ outcome: Result<Outcome, UpdateAgentFault>) {
        running.withLock { $0 = nil }
        job.finish(outcome)
    }
}
