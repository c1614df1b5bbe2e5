import BootLoader
public import JSON
import Trust

extension HostEvent {
    /// `{"sequence", "time", "boot_id", "kind", "version", "detail"}`, and `other_version`, `cause`, `failure`, `task`, `step`, `restart`,
    /// `retry_time`, `tries`, `bytes`, `seconds` where they are known. Agents that know no kind but read the sentence have that.
    public var json: JSONValue {
        var members = extra
        let own: [String: JSONValue] = [
            "time": .string(time.description), "kind": .string(kind.rawValue), "version": .string(version),
            "detail": .string(detail),
        ]
        members.merge(own) { $1 }
        func set(_ key: String, _ text: String?) { if let text { members[key] = .string(text) } }
        func set(_ key: String, _ number: Int64?) { if let number { members[key] = .integer(number) } }
        if sequence > 0 { set("sequence", sequence) }
        if !bootIdentifier.isEmpty { set("boot_id", bootIdentifier) }
        set("other_version", otherVersion)
        set("cause", cause)
        set("failure", failure?.rawValue)
        set("task", task?.rawValue)
        set("step", step)
        set("restart", restart)
        set("retry_time", retryTime?.description)
        set("tries", tries)
        set("bytes", bytes)
        set("seconds", seconds)
        return .object(members)
    }

    private static let known: Set<String> = [
        "sequence", "time", "boot_id", "kind", "version", "other_version", "detail", "cause", "failure", "task",
        "step", "restart", "retry_time", "tries", "bytes", "seconds",
    ]

    init(parsing cursor: JSONCursor) throws(JSONFault) {
        func text(_ key: String) throws(JSONFault) -> String? { try cursor.optional(key)?.string() }
        func number(_ key: String) throws(JSONFault) -> Int64? {
            try cursor.optional(key).map { value throws(JSONFault) in Int64(try value.integer()) }
        }
        self.init(
            Kind(rawValue: try cursor.field("kind").string()), version: try cursor.field("version").string(),
            at: try AgentText.time(cursor.field("time")))
        sequence =
            try cursor.optional("sequence").map { value throws(JSONFault) in
                Int64(try value.integer(in: 0...Int(EventJournal.sequenceLimit)))
            } ?? 0
        bootIdentifier = try text("boot_id") ?? ""
        givenDetail = try cursor.field("detail").string()
        otherVersion = try text("other_version")
        cause = try text("cause")
        failure = try text("failure").map(FailureKind.init)
        task = try text("task").map(Task.init)
        step = try text("step")
        restart = try text("restart")
        retryTime = try cursor.optional("retry_time").map { value throws(JSONFault) in try AgentText.time(value) }
        tries = try number("tries")
        bytes = try number("bytes")
        seconds = try number("seconds")
        extra = try cursor.strangers(Self.known)
    }
}

/// Texts that several documents share.
enum AgentText {
    static func time(_ cursor: JSONCursor) throws(JSONFault) -> UTCTime {
        guard let time = UTCTime(try cursor.string()) else {
            throw cursor.unexpected("expected a time like 2030-01-31T00:00:00Z")
        }
        return time
    }

    /// The activation that a member of the state is about; 0, which none has, where an agent wrote it that counted none.
    static func sequence(_ cursor: JSONCursor) throws(JSONFault) -> Int {
        try cursor.optional("sequence")?.integer(in: 0...BootEntryName.sequenceLimit) ?? 0
    }
}
