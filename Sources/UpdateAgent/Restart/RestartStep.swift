public import JSON
public import Trust

/// What may hold a restart back or get ready for it. Each answers for itself and knows no other.
protocol RestartStep: Sendable {
    var kind: RestartStepKind { get }
    var name: String { get }

    /// Why there can be no restart now, or nil. May block for as long as its time limit.
    func hold(_ purpose: RestartPurpose, now: UTCTime) -> RestartHold.Reason?

    /// What is to be done before the restart, or nil.
    var preparation: Preparation? { get }

    /// Whether it is asked once more after the drains, which may take hours: what costs little, and cannot be a consequence of them.
    var isAskedAgain: Bool { get }
}

extension RestartStep {
    var preparation: Preparation? { nil }
    var isAskedAgain: Bool { false }
    func hold(_ purpose: RestartPurpose, now: UTCTime) -> RestartHold.Reason? { nil }
}

/// What kind of step it is. Steps come in this order.
public enum RestartStepKind: String, Sendable, Hashable {
    /// The operator's own settings of all that follows.
    case settings
    /// A time of the week.
    case window
    /// Somebody on this host who does not want it to be shut down.
    case inhibitor
    /// A question.
    case gate
    /// Work to be done before.
    case drain
}

/// What a step is asked for.
enum RestartPurpose: Sendable {
    /// Whether the host may restart now.
    case restart
    /// Whether what is fetched now could be used soon.
    case download
}

/// The step that holds a restart back.
public struct RestartHold: Sendable, Hashable {
    /// Why a step holds a restart back.
    public struct Reason: Sendable, Hashable {
        /// A sentence.
        var text: String
        /// Until when, where that is known.
        var until: UTCTime?
    }

    /// What kind of step it is.
    public var kind: RestartStepKind
    /// Its name.
    public var name: String
    /// Why.
    public var reason: String
    /// Until when, where that is known.
    public var until: UTCTime?

    /// `gate 'backup': …`.
    public var text: String { "\(label): \(reason)" }

    var label: String { Self.label(kind, name) }

    static func label(_ kind: RestartStepKind, _ name: String) -> String {
        switch kind {
        case .settings: "the settings"
        case .window: "the restart window"
        case .inhibitor, .gate, .drain: "\(kind.rawValue) '\(name)'"
        }
    }

    /// `{"kind", "name", "reason", "until"}`.
    public var json: JSONValue {
        [
            "kind": .string(kind.rawValue), "name": .string(name), "reason": .string(reason),
            "until": until.map { .string($0.description) } ?? .null,
        ]
    }
}

/// What is done before a restart and has to be undone after it, also by another version of the agent.
public struct Preparation: Sendable, Hashable {
    /// The step.
    var name: String
    /// The unit that does it.
    var unit: String
    /// The unit that undoes it.
    var undo: String?
    /// What that unit runs, for an image that does not have it.
    var undoCommand: [String]?
    /// How long each may take, in seconds.
    var timeout: Int
    /// Members that this agent does not know.
    var extra: [String: JSONValue] = [:]

    init(_ drain: Drain) {
        (name, unit, undo, undoCommand) = (drain.name, drain.unit, drain.undo, drain.undoCommand)
        timeout = drain.timeout
    }

    private static let known: Set<String> = ["name", "unit", "undo", "undo_command", "timeout_seconds"]

    init(parsing cursor: JSONCursor) throws(JSONFault) {
        name = try cursor.field("name").string()
        unit = try RestartSettings.unit(cursor.field("unit"))
        undo = try cursor.optional("undo").map { unit throws(JSONFault) in try RestartSettings.unit(unit) }
        undoCommand = try cursor.optional("undo_command").map { words throws(JSONFault) in
            try RestartSettings.command(words)
        }
        timeout = try cursor.field("timeout_seconds").integer(in: 1...86400)
        extra = try cursor.strangers(Self.known)
    }

    var json: JSONValue {
        var members = extra
        members["name"] = .string(name)
        members["unit"] = .string(unit)
        if let undo { members["undo"] = .string(undo) }
        if let undoCommand { members["undo_command"] = .array(undoCommand.map { .string($0) }) }
        members["timeout_seconds"] = .integer(Int64(timeout))
        return .object(members)
    }
}
