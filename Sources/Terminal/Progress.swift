import Synchronization

/// How far a long piece of work is: one line that changes on a terminal (bar, rate, time left), a line every few seconds in
/// a pipe, on standard error. Any thread may advance it.
public final class Progress: Sendable {
    private struct State {
        var done: Int64 = 0
        var shownAt: ContinuousClock.Instant?
        var isFinished = false
    }

    private let label: String
    private let total: Int64
    private let unit: Unit
    private let started = ContinuousClock.now
    private let state = Mutex(State())

    /// What is counted.
    public enum Unit: Sendable {
        case bytes
        case items(String)
    }

    /// Begins to show `label`, at 0 of `total`. A total of 0 means that it is not known.
    public init(_ label: String, total: Int64, unit: Unit) {
        self.label = label
        self.total = total
        self.unit = unit
    }

    /// Counts `amount` more as done.
    public func advance(by amount: Int64) {
        let line = state.withLock { state -> String? in
            state.done += amount
            let now = ContinuousClock.now
            let interval: Duration = StandardStreams.errorIsTerminal ? .milliseconds(100) : .seconds(5)
            guard !state.isFinished, now - (state.shownAt ?? started) >= interval else { return nil }
            state.shownAt = now
            return describe(done: state.done, at: now)
        }
        if let line { show(line, ending: StandardStreams.errorIsTerminal ? "" : "\n") }
    }

    /// Shows the last state and ends the line. Later calls do nothing.
    public func finish() {
        let line = state.withLock { state -> String? in
            guard !state.isFinished else { return nil }
            state.isFinished = true
            return describe(done: state.done, at: .now)
        }
        if let line { show(line, ending: "\n") }
    }

    private func show(_ line: String, ending: String) {
        StandardStreams.write(StandardStreams.errorIsTerminal ? "\r\u{1B}[K\(line)\(ending)" : line + ending, to: 2)
    }

    private func describe(done: Int64, at now: ContinuousClock.Instant) -> String {
        let seconds = max((now - started) / .seconds(1), 0.001)
        let rate = Double(done) / seconds
        var text = label
        if total > 0 {
            let share = min(Double(done) / Double(total), 1)
            if StandardStreams.errorIsTerminal {
                let filled = Int(share * 24)
                text += " [" + String(repeating: "#", count: filled) + String(repeating: " ", count: 24 - filled) + "]"
            }
            text += " \(Int(share * 100)) %, \(part(done)) of \(amount(total))"
            // From less than that nothing can be foretold.
            if share >= 0.02, share < 1, seconds >= 2 { text += ", \(Int(Double(total - done) / rate) + 1) s left" }
        } else {
            text += " \(amount(done))"
        }
        if case .bytes = unit { text += ", \(Self.bytes(Int64(rate)))/s" }
        return text
    }

    /// An amount before `of`, which the unit follows.
    private func part(_ value: Int64) -> String {
        if case .items = unit { "\(value)" } else { amount(value) }
    }

    private func amount(_ value: Int64) -> String {
        switch unit {
        case .bytes: Self.bytes(value)
        case .items(let name): "\(value) \(name)"
        }
    }

    /// `count` bytes with one decimal in the largest binary unit that fits: `18.4 MiB`.
    public static func bytes(_ count: Int64) -> String {
        var value = count
        var tenths: Int64 = 0
        var units = ["B", "KiB", "MiB", "GiB", "TiB"][...]
        while value >= 1024, units.count > 1 {
            tenths = (value % 1024) * 10 / 1024
            value /= 1024
            units = units.dropFirst()
        }
        let unit = units.first ?? "B"
        return unit == "B" ? "\(value) B" : "\(value).\(tenths) \(unit)"
    }
}
