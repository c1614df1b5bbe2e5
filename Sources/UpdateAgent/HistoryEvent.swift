public import JSON
import Terminal
public import Trust

/// Something that happened on this host, as its history keeps it.
public struct HistoryEvent: AgentAnswer, Hashable {
    /// What kind of thing. The raw value is part of the control protocol and of the state file.
    public enum Kind: String, Sendable, Hashable, CaseIterable {
        /// A version was written into the other slot.
        case staged
        /// A version that the other slot still held is to boot again; nothing was fetched.
        case activated
        /// A version passed its health checks.
        case proved
        /// A version did not prove itself, and the host came back from it.
        case rolledBack = "rolled-back"
        /// An operator went back to the other slot.
        case rollback
        /// A version is denied from now on.
        case denied
        /// A version is allowed again.
        case allowed
        /// The host takes one version only.
        case pinned
        /// The host takes the newest version again.
        case unpinned
        /// A job failed.
        case failed
        /// Something was found that needs no action, such as an update that a power cut ended.
        case noted
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
    /// Bytes that were fetched.
    public var bytes: Int64?
    /// How long it took.
    public var seconds: Int64?

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

    /// `{"time", "kind", "version", "detail"}`, and `cause`, `bytes`, `seconds` where they are known.
    public var json: JSONValue {
        var members: [String: JSONValue] = [
            "time": .string(time.description), "kind": .string(kind.rawValue), "version": .string(version),
            "detail": .string(detail),
        ]
        if let cause { members["cause"] = .string(cause) }
        if let bytes { members["bytes"] = .integer(bytes) }
        if let seconds { members["seconds"] = .integer(seconds) }
        return .object(members)
    }

    init(parsing cursor: JSONCursor) throws(JSONFault) {
        time = try AgentText.time(cursor.field("time"))
        let kind = try cursor.field("kind")
        // A newer agent may have known more kinds.
        self.kind = Kind(rawValue: try kind.string()) ?? .noted
        version = try cursor.field("version").string()
        detail = try cursor.field("detail").string()
        cause = try cursor.optional("cause")?.string()
        bytes = try cursor.optional("bytes").map { value throws(JSONFault) in Int64(try value.integer()) }
        seconds = try cursor.optional("seconds").map { value throws(JSONFault) in Int64(try value.integer()) }
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
}
