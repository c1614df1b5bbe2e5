import BootLoader
public import JSON
import Terminal
public import Trust

/// Something that happened on this host, as its history keeps it.
public struct HistoryEvent: AgentAnswer, Hashable {
    /// What kind of thing. The raw value is part of the control protocol and of the state file.
    public struct Kind: RawRepresentable, Sendable, Hashable {
        /// Its name. A newer agent may have written one that this one does not know.
        public let rawValue: String

        /// The kind of that name.
        public init(rawValue: String) { self.rawValue = rawValue }

        /// A version was written into the other slot.
        public static let staged = Kind(rawValue: "staged")
        /// A version that the other slot still held is to boot again; nothing was fetched.
        public static let activated = Kind(rawValue: "activated")
        /// A version passed its health checks.
        public static let proved = Kind(rawValue: "proved")
        /// A version did not prove itself, and the host came back from it.
        public static let rolledBack = Kind(rawValue: "rolled-back")
        /// An operator went back to the other slot.
        public static let rollback = Kind(rawValue: "rollback")
        /// A version is denied from now on.
        public static let denied = Kind(rawValue: "denied")
        /// A version is allowed again.
        public static let allowed = Kind(rawValue: "allowed")
        /// The host takes one version only.
        public static let pinned = Kind(rawValue: "pinned")
        /// The host takes the newest version again.
        public static let unpinned = Kind(rawValue: "unpinned")
        /// A job failed.
        public static let failed = Kind(rawValue: "failed")
        /// Something was found that needs no action, such as an update that a power cut ended.
        public static let noted = Kind(rawValue: "noted")
    }

    /// When.
    public var time: UTCTime
    /// What.
    public var kind: Kind
    /// The version that it is about.
    public var version: String
    /// What was done, as a sentence.
    public var detail: String
    /// Why, where there is a reason to give.
    public var cause: String?
    /// What kind of cause that is, of a version that did not prove itself.
    public var failure: FailureKind?
    /// Bytes that were fetched.
    public var bytes: Int64?
    /// How long it took.
    public var seconds: Int64?
    /// Members that this agent does not know.
    var extra: [String: JSONValue] = [:]

    /// An event without cause and figures.
    public init(_ kind: Kind, version: String, detail: String, at time: UTCTime) {
        self.time = time
        self.kind = kind
        self.version = version
        self.detail = detail
    }

    /// One line.
    public var text: String {
        var text = "\(time)  \(kind.rawValue)  \(version)  \(detail)"
        if let cause { text += ": \(cause)" }
        var figures: [String] = []
        if let bytes { figures.append(Progress.bytes(bytes)) }
        if let seconds { figures.append("\(seconds) s") }
        return figures.isEmpty ? text : text + " (\(figures.joined(separator: ", ")))"
    }

    /// `{"time", "kind", "version", "detail"}`, and `cause`, `failure`, `bytes`, `seconds` where they are known.
    public var json: JSONValue {
        var members = extra
        let own: [String: JSONValue] = [
            "time": .string(time.description), "kind": .string(kind.rawValue), "version": .string(version),
            "detail": .string(detail),
        ]
        members.merge(own) { $1 }
        if let cause { members["cause"] = .string(cause) }
        if let failure { members["failure"] = .string(failure.rawValue) }
        if let bytes { members["bytes"] = .integer(bytes) }
        if let seconds { members["seconds"] = .integer(seconds) }
        return .object(members)
    }

    private static let known: Set<String> = [
        "time", "kind", "version", "detail", "cause", "failure", "bytes", "seconds",
    ]

    init(parsing cursor: JSONCursor) throws(JSONFault) {
        time = try AgentText.time(cursor.field("time"))
        kind = Kind(rawValue: try cursor.field("kind").string())
        version = try cursor.field("version").string()
        detail = try cursor.field("detail").string()
        cause = try cursor.optional("cause")?.string()
        failure = try cursor.optional("failure").map { kind throws(JSONFault) in
            FailureKind(rawValue: try kind.string())
        }
        bytes = try cursor.optional("bytes").map { value throws(JSONFault) in Int64(try value.integer()) }
        seconds = try cursor.optional("seconds").map { value throws(JSONFault) in Int64(try value.integer()) }
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
