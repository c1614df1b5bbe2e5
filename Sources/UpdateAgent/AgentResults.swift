public import JSON
import Terminal

/// What a check found.
public struct CheckResult: AgentAnswer, Hashable {
    /// The version that runs.
    public var running: String
    /// The version that the host would take, or nil.
    public var available: String?
    /// Why this one, or why none.
    public var reason: String
    /// What the release says to operators.
    public var notes: String?
    /// Bytes of the image and its kernel as they are fetched.
    public var downloadSize: Int64?
    /// Whether the other slot holds it already, so that nothing has to be fetched.
    public var isInOtherSlot: Bool

    /// The reason as a line.
    public var text: String {
        guard let available else { return "nothing to do: \(reason)" }
        let size = isInOtherSlot ? "in the other slot already" : downloadSize.map { Progress.bytes($0) }
        return "\(available) is available" + (size.map { " (\($0))" } ?? "") + ": \(reason)"
    }

    /// The members above in snake_case.
    public var json: JSONValue {
        [
            "running": .string(running), "available": available.map { .string($0) } ?? .null,
            "reason": .string(reason), "notes": notes.map { .string($0) } ?? .null,
            "download_size": downloadSize.map { .integer($0) } ?? .null, "in_other_slot": .bool(isInOtherSlot),
        ]
    }
}

/// What an update came to.
public struct UpdateResult: AgentAnswer, Hashable {
    /// What it did.
    public enum Outcome: String, Sendable, Hashable {
        /// There was nothing to do.
        case nothing
        /// The version was fetched and written.
        case staged
        /// The other slot held the version; only its entry was changed.
        case activated
    }

    /// What it did.
    public var outcome: Outcome
    /// The version, where there is one.
    public var version: String?
    /// A sentence.
    public var detail: String
    /// Bytes fetched.
    public var bytesFetched: Int64
    /// How long it took.
    public var seconds: Int64
    /// Whether the host is rebooting now.
    public var isRebooting: Bool

    /// One line.
    public var text: String {
        guard outcome != .nothing else { return "nothing to do: \(detail)" }
        return "\(detail) (\(Progress.bytes(bytesFetched)) fetched, \(seconds) s)"
    }

    /// The members above in snake_case.
    public var json: JSONValue {
        [
            "outcome": .string(outcome.rawValue), "version": version.map { .string($0) } ?? .null,
            "detail": .string(detail), "bytes_fetched": .integer(bytesFetched), "seconds": .integer(seconds),
            "rebooting": .bool(isRebooting),
        ]
    }
}

/// What came of a change that an operator asked for.
public struct ActionResult: AgentAnswer, Hashable {
    /// What was done, as a sentence.
    public var detail: String
    /// The version that it is about.
    public var version: String?
    /// Whether the host is rebooting now.
    public var isRebooting: Bool

    /// `detail`, about `version`.
    public init(_ detail: String, version: String? = nil, isRebooting: Bool = false) {
        self.detail = detail
        self.version = version
        self.isRebooting = isRebooting
    }

    /// The detail.
    public var text: String { detail }

    /// The members above in snake_case.
    public var json: JSONValue {
        [
            "detail": .string(detail), "version": version.map { .string($0) } ?? .null, "rebooting": .bool(isRebooting),
        ]
    }
}
