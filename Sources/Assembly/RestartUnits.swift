import JSON
import Manifest

/// What a manifest's gates and drains become on the host: oneshot services, and the agent's settings, which name them.
struct RestartUnits {
    let update: Manifest.Update

    /// The services of commands.
    var files: [(path: String, text: String)] {
        var files: [(path: String, text: String)] = []
        func add(_ unit: String, _ description: String, _ words: [String], _ timeout: Int, _ more: String) {
            let text = """
                [Unit]
                Description=\(description)
                # It is started as often as it takes.
                StartLimitIntervalSec=0

                [Service]
                Type=oneshot
                ExecStart=\(words.map(Self.quoted).joined(separator: " "))
                TimeoutStartSec=\(timeout)s
                \(more)

                """
            files.append(("usr/lib/systemd/system/\(unit)", text))
        }
        for gate in update.gates {
            guard case .command(let words) = gate.question else { continue }
            add(Self.gate(gate.name), "Gate '\(gate.name)' before a restart", words, gate.timeout, HostUnits.checking)
        }
        for drain in update.drains {
            // What a drain needs cannot be known here: it runs as any other service of the image.
            if case .command(let words) = drain.action {
                add(Self.drain(drain.name), "Drain '\(drain.name)' before a restart", words, drain.timeout, "")
            }
            if case .command(let words)? = drain.undo {
                add(Self.undrain(drain.name), "Undo drain '\(drain.name)' after a restart", words, drain.timeout, "")
            }
        }
        return files
    }

    /// The member `restart` of the agent's settings.
    var settings: JSONValue {
        [
            "time_zone": .string(update.timeZone),
            "windows": .array(
                update.windows.map {
                    [
                        "days": .array($0.days.map { .string($0) }), "start": .string($0.start),
                        "length_seconds": .integer(Int64($0.length)),
                    ]
                }), "gates": .array(update.gates.map(Self.settings)),
            "drains": .array(update.drains.map(Self.settings)),
        ]
    }

    private static func settings(_ gate: Manifest.Gate) -> JSONValue {
        var members: [String: JSONValue] = [
            "name": .string(gate.name), "timeout_seconds": .integer(Int64(gate.timeout)),
        ]
        switch gate.question {
        case .command: members["unit"] = .string(Self.gate(gate.name))
        case .unit(let unit): members["unit"] = .string(unit)
        case .file(let path): members["file"] = .string(path)
        case .http(let address): members["http"] = .string(address)
        }
        return .object(members)
    }

    private static func settings(_ drain: Manifest.Drain) -> JSONValue {
        func unit(_ action: Manifest.Drain.Action, _ own: String) -> JSONValue {
            switch action {
            case .command: .string(own)
            case .unit(let unit): .string(unit)
            }
        }
        var members: [String: JSONValue] = [
            "name": .string(drain.name), "timeout_seconds": .integer(Int64(drain.timeout)),
            "unit": unit(drain.action, Self.drain(drain.name)),
        ]
        if let undo = drain.undo { members["undo"] = unit(undo, Self.undrain(drain.name)) }
        if case .command(let words)? = drain.undo { members["undo_command"] = .array(words.map { .string($0) }) }
        return .object(members)
    }

    private static func gate(_ name: String) -> String { "ballast-gate-\(name).service" }
    private static func drain(_ name: String) -> String { "ballast-drain-\(name).service" }
    private static func undrain(_ name: String) -> String { "ballast-undrain-\(name).service" }

    /// A word of a command line as systemd.service(5) reads it: no specifier, no variable, no escape.
    static func quoted(_ word: String) -> String {
        let escaped = word.replacing("\\", with: "\\\\").replacing("\"", with: "\\\"").replacing("%", with: "%%")
            .replacing("$", with: "$$")
        return "\"\(escaped)\""
    }
}
