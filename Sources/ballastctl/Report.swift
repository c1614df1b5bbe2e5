import JSON
import Terminal

/// Answers of the agent as an operator reads them. An agent may be newer than this program: what is missing is left out, and
/// what is unknown is shown as it came.
enum Report {
    /// `text` without control characters: it may come from a release, and ends up on a terminal.
    static func printable(_ text: String) -> String {
        var result = ""
        for scalar in text.unicodeScalars {
            result.unicodeScalars.append(scalar.value < 0x20 || 0x7F...0x9F ~= scalar.value ? " " : scalar)
        }
        return result
    }

    /// The value as text, or nil where there is none.
    static func text(_ value: JSONValue?) -> String? {
        switch value {
        case .string(let text): printable(text)
        case .integer(let number): String(number)
        case .bool(let bool): bool ? "yes" : "no"
        case .null, .double, .array, .object, nil: nil
        }
    }

    static func integer(_ value: JSONValue?) -> Int64? {
        if case .integer(let number)? = value { number } else { nil }
    }

    private static func elements(_ value: JSONValue?) -> [JSONValue] {
        if case .array(let elements)? = value { elements } else { [] }
    }

    /// A state of the agent, as in `1.1.0 waits: the next boot tries it`.
    static func state(_ state: JSONValue?) -> String {
        let name = text(state?["name"]) ?? "unknown"
        let version = text(state?["version"]) ?? "the version"
        let reason = text(state?["reason"])
        let sentence =
            switch name {
            case "idle": "idle"
            case "checking": "asking the repository"
            case "available": "\(version) is available"
            case "planning": "working out what \(version) needs"
            case "staging": "writing \(version)"
            case "staged": "\(version) is written"
            case "waiting": "\(version) waits for a reboot"
            case "rebooting": "rebooting into \(version)"
            case "proving": "\(version) is proving itself"
            case "good": "\(version) is good"
            case "rolled-back": "back from \(version)"
            default: name + (text(state?["version"]).map { " (\($0))" } ?? "")
            }
        return sentence + (reason.map { ": \($0)" } ?? "")
    }

    private static func progress(_ progress: JSONValue?) -> String? {
        guard let total = integer(progress?["bytes_total"]), total > 0 else { return nil }
        var text = "\(integer(progress?["percent"]) ?? 0) % of \(Progress.bytes(total))"
        if let rate = integer(progress?["bytes_per_second"]), rate > 0 { text += ", \(Progress.bytes(rate))/s" }
        return text
    }

    private static func running(_ status: JSONValue) -> String {
        var line = "\(text(status["product"]) ?? "unknown product") \(text(status["version"]) ?? "unknown version")"
        if let architecture = text(status["architecture"]) { line += " (\(architecture))" }
        if let slot = text(status["slot"]) { line += " in slot \(slot)" }
        return line
    }

    private static func otherSlot(_ slot: JSONValue) -> String {
        let name = text(slot["name"]) ?? "?"
        let standing = text(slot["standing"]) ?? "unknown"
        guard let version = text(slot["version"]) else { return "\(name): \(standing)" }
        let meaning =
            switch standing {
            case "good": "was good here"
            case "activated": "the next boot tries it"
            case "denied": "denied here"
            case "unproven": "not proved here"
            default: standing
            }
        return "\(name): \(version), \(meaning)"
    }

    /// What waits for a restart and what holds it back; nil where nothing does.
    private static func restart(_ restart: JSONValue?) -> String? {
        var parts: [String] = []
        switch text(restart?["kind"]) {
        case "units": parts.append("of " + elements(restart?["units"]).compactMap { text($0) }.joined(separator: ", "))
        case "full": parts.append("of the machine, into \(text(restart?["version"]) ?? "the version that waits")")
        default: break
        }
        if let hold = restart?["held_by"], hold != .null {
            let kind = text(hold["kind"]) ?? "step"
            let label = kind == "window" ? "the restart window" : "\(kind) '\(text(hold["name"]) ?? "?")'"
            parts.append("held back by \(label): \(text(hold["reason"]) ?? "")")
        }
        if let doing = text(restart?["doing"]) { parts.append("now: \(doing)") }
        let drained = elements(restart?["drained"]).compactMap { text($0) }
        if !drained.isEmpty { parts.append("drained: \(drained.joined(separator: ", "))") }
        return parts.isEmpty ? nil : parts.joined(separator: "; ")
    }

    /// The whole status.
    static func status(_ status: JSONValue) -> String {
        var rows: [(String, String)] = []
        var state = state(status["state"])
        if let progress = progress(status["progress"]) { state += ", \(progress)" }
        rows.append(("state", state))
        if let restart = restart(status["restart"]) { rows.append(("restart", restart)) }
        if let reason = text(status["reason"]) { rows.append(("because", reason)) }
        if let slot = status["other_slot"], slot != .null { rows.append(("other slot", otherSlot(slot))) }
        rows.append(("pinned", text(status["pinned"]).map { "to \($0)" } ?? "no"))
        let denied = elements(status["denied"])
        if denied.isEmpty { rows.append(("denied", "nothing")) }
        for (position, version) in denied.enumerated() {
            var line = text(version["version"]) ?? "?"
            if let time = text(version["time"]) { line += " since \(time)" }
            if let cause = text(version["cause"]) { line += ": \(cause)" }
            rows.append((position == 0 ? "denied" : "", line))
        }
        for setback in elements(status["setbacks"]) {
            let line = "\(text(setback["version"]) ?? "?") at \(text(setback["retry_time"]) ?? "?")"
            rows.append(("again", line + (text(setback["cause"]).map { ": \($0)" } ?? "")))
        }
        if let repository = text(status["repository"]) {
            rows.append(("repository", repository + (text(status["channel"]).map { ", channel \($0)" } ?? "")))
            for mirror in elements(status["mirrors"]).dropFirst() {
                if let mirror = text(mirror) { rows.append(("", "or \(mirror)")) }
            }
        } else {
            rows.append(("repository", "none"))
        }
        rows.append(("last check", text(status["last_check"]) ?? "never"))
        rows.append(("next check", text(status["next_check"]) ?? "only when asked"))
        rows.append(("last error", text(status["last_error"]) ?? "none"))
        if let agent = text(status["agent"]) { rows.append(("agent", agent)) }
        return ([running(status)] + rows.map { "  " + padded($0.0, to: 12) + $0.1 }).joined(separator: "\n")
    }

    /// The status on one line.
    static func statusLine(_ status: JSONValue) -> String {
        var line = "\(running(status)); \(state(status["state"]))"
        if let progress = progress(status["progress"]) { line += ", \(progress)" }
        if let error = text(status["last_error"]) { line += "; last error: \(error)" }
        return line
    }

    /// What a check found.
    static func check(_ answer: JSONValue) -> String {
        let reason = text(answer["reason"])
        guard let version = text(answer["available"]) else {
            return "nothing to do" + (reason.map { ": \($0)" } ?? "")
        }
        var line = "\(version) is available"
        if answer["in_other_slot"] == .bool(true) {
            line += " (in the other slot already)"
        } else if let size = integer(answer["download_size"]) {
            line += " (\(Progress.bytes(size)))"
        }
        if let reason { line += ": \(reason)" }
        if let notes = text(answer["notes"]) { line += "\n  \(notes)" }
        return line
    }

    /// What an update came to.
    static func updateResult(_ result: JSONValue) -> String {
        let detail = text(result["detail"])
        guard text(result["outcome"]) != "nothing" else { return "nothing to do" + (detail.map { ": \($0)" } ?? "") }
        var line = detail ?? "\(text(result["version"]) ?? "the version") is written"
        var figures: [String] = []
        if let bytes = integer(result["bytes_fetched"]) { figures.append("\(Progress.bytes(bytes)) fetched") }
        if let seconds = integer(result["seconds"]) { figures.append("\(seconds) s") }
        if !figures.isEmpty { line += " (\(figures.joined(separator: ", ")))" }
        return line + (result["rebooting"] == .bool(true) ? "\nrebooting now" : "")
    }

    /// What a version left of its last boot.
    static func logs(_ answer: JSONValue) -> String {
        var lines: [String] = []
        for check in elements(answer["report"]?["checks"]) {
            lines.append("\(text(check["name"]) ?? "?"): \(text(check["problem"]) ?? "holds")")
        }
        if case .string(let journal)? = answer["journal"] {
            lines += journal.split(separator: "\n", omittingEmptySubsequences: false).map { printable(String($0)) }
            if lines.last == "" { lines.removeLast() }
        }
        return lines.joined(separator: "\n")
    }

    /// Whether a finding of `doctor` is a problem.
    static func hasProblem(_ answer: JSONValue) -> Bool {
        elements(answer["findings"]).contains { $0["verdict"] == "problem" }
    }

    /// What `doctor` found, a line each.
    static func findings(_ answer: JSONValue) -> String {
        elements(answer["findings"]).map { finding in
            let verdict = text(finding["verdict"]) ?? "unknown"
            return padded(text(finding["name"]) ?? "?", to: 12) + padded(verdict, to: 9)
                + (text(finding["detail"]) ?? "") + (text(finding["remedy"]).map { "; \($0)" } ?? "")
        }.joined(separator: "\n")
    }

    /// What came of a change.
    static func action(_ answer: JSONValue) -> String { text(answer["detail"]) ?? "done" }

    /// Events that nobody has taken yet.
    static func events(_ answer: JSONValue) -> String {
        let events = elements(answer["events"])
        guard let last = events.last else { return "no event that was not taken" }
        let missed = integer(answer["missed"]) ?? 0
        let gone = missed > 0 ? "\(missed) events are gone\n" : ""
        let number = text(last["sequence"]).map { "\n'ballastctl events --acknowledge \($0)' takes them" } ?? ""
        return gone + history(.array(events)) + number
    }

    /// The events as a table, each cause below its line.
    static func history(_ events: JSONValue) -> String {
        let events = elements(events)
        guard !events.isEmpty else { return "nothing has happened yet" }
        let rows = events.map { event -> [String] in
            var detail = text(event["detail"]) ?? ""
            var figures: [String] = []
            if let bytes = integer(event["bytes"]) { figures.append(Progress.bytes(bytes)) }
            if let seconds = integer(event["seconds"]) { figures.append("\(seconds) s") }
            if !figures.isEmpty { detail += " (\(figures.joined(separator: ", ")))" }
            return [text(event["time"]) ?? "?", text(event["kind"]) ?? "?", text(event["version"]) ?? "", detail]
        }
        let titles = ["TIME", "EVENT", "VERSION", "DETAIL"]
        let widths = titles.indices.map { column in
            ([titles] + rows).map { $0[column].unicodeScalars.count }.max() ?? 0
        }
        func line(_ row: [String]) -> String {
            zip(row, widths).dropLast().map { padded($0, to: $1 + 2) }.joined() + (row.last ?? "")
        }
        var lines = [line(titles)]
        for (row, event) in zip(rows, events) {
            lines.append(line(row))
            let indent = String(repeating: " ", count: widths.dropLast().reduce(0) { $0 + $1 + 2 })
            if let cause = text(event["cause"]) { lines.append("\(indent)cause: \(cause)") }
        }
        return lines.joined(separator: "\n")
    }

    private static func padded(_ text: String, to width: Int) -> String {
        text + String(repeating: " ", count: max(width - text.unicodeScalars.count, 0))
    }
}
