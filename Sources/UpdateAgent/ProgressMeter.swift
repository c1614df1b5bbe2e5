import Synchronization

/// Counts what an update has done, and tells somebody a few times a second.
final class ProgressMeter: Sendable {
    private struct Counts {
        var phase = AgentPhase.idle
        var done: Int64 = 0
        var fetched: Int64 = 0
        var toldAt: ContinuousClock.Instant?
    }

    private static let interval = Duration.milliseconds(250)

    private let total: Int64
    private let started = ContinuousClock.now
    private let counts = Mutex(Counts())
    private let tell: @Sendable (UpdateProgress) -> Void

    init(total: Int64, tell: @escaping @Sendable (UpdateProgress) -> Void) {
        self.total = total
        self.tell = tell
    }

    /// Bytes that were fetched.
    var fetched: Int64 { counts.withLock { $0.fetched } }

    /// Whole seconds since the start.
    var seconds: Int64 { (ContinuousClock.now - started).components.seconds }

    func enter(_ phase: AgentPhase) {
        tell(
            counts.withLock { counts in
                counts.phase = phase
                counts.toldAt = .now
                return value(counts)
            })
    }

    func advance(done: Int64, fetched: Int64) {
        let news = counts.withLock { counts -> UpdateProgress? in
            counts.done += done
            counts.fetched += fetched
            let now = ContinuousClock.now
            guard counts.toldAt.map({ now - $0 >= Self.interval }) ?? true else { return nil }
            counts.toldAt = now
            return value(counts)
        }
        if let news { tell(news) }
    }

    private func value(_ counts: Counts) -> UpdateProgress {
        let seconds = max((ContinuousClock.now - started) / .seconds(1), 0.001)
        return UpdateProgress(
            phase: counts.phase, bytesDone: counts.done, bytesTotal: total,
            bytesPerSecond: Int64(Double(counts.fetched) / seconds))
    }
}
