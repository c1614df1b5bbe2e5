public import JSON
import Terminal
public import Trust

/// A version that this host does not take.
public struct DeniedVersion: Sendable, Hashable {
    /// Which.
    public var version: String
    /// Why.
    public var cause: String
    /// Since when.
    public var time: UTCTime
    /// What kind of cause that is.
    public var kind = FailureKind.operators
    /// How often the publisher had offered it anew when it was denied.
    var reoffers = 0
    /// Members that this agent does not know.
    var extra: [String: JSONValue] = [:]

    /// `version`, denied since `time` because of `cause`.
    public init(version: String, cause: String, time: UTCTime) {
        self.version = version
        self.cause = cause
        self.time = time
    }

    /// `{"version", "cause", "kind", "time", "reoffers"}`.
    public var json: JSONValue {
        .object(
            extra.merging([
                "version": .string(version), "cause": .string(cause), "kind": .string(kind.rawValue),
                "time": .string(time.description), "reoffers": .integer(Int64(reoffers)),
            ]) { $1 })
    }
}

/// What the slot that does not run holds.
public struct OtherSlot: Sendable, Hashable {
    /// What became of the version in a slot.
    public enum Standing: String, Sendable, Hashable {
        /// The slot holds nothing complete.
        case empty
        /// The version has passed its health checks here.
        case good
        /// The next boot is to try it.
        case activated
        /// It is denied here.
        case denied
        /// A release revokes it.
        case revoked
        /// It is complete and has not proved itself here.
        case unproven
    }

    /// `a` or `b`.
    public var name: String
    /// The version, where there is a complete one.
    public var version: String?
    /// What became of it.
    public var standing: Standing

    /// Slot `name` as it is.
    public init(name: String, version: String?, standing: Standing) {
        self.name = name
        self.version = version
        self.standing = standing
    }

    /// `{"name", "version", "standing"}`.
    public var json: JSONValue {
        [
            "name": .string(name), "version": version.map { .string($0) } ?? .null,
            "standing": .string(standing.rawValue),
        ]
    }
}

/// How far a running update is.
public struct UpdateProgress: AgentAnswer, Hashable {
    /// What it is doing.
    public var phase: AgentPhase
    /// Bytes of the image and its kernel that are done.
    public var bytesDone: Int64
    /// All of them.
    public var bytesTotal: Int64
    /// Bytes a second, averaged since the transfer began.
    public var bytesPerSecond: Int64

    /// That far.
    public init(phase: AgentPhase, bytesDone: Int64, bytesTotal: Int64, bytesPerSecond: Int64) {
        self.phase = phase
        self.bytesDone = bytesDone
        self.bytesTotal = bytesTotal
        self.bytesPerSecond = bytesPerSecond
    }

    /// Percent done, 0 to 100.
    public var percent: Int {
        guard bytesTotal > 0 else { return 0 }
        return min(100, max(0, Int(Double(bytesDone) / Double(bytesTotal) * 100)))
    }

    /// One line.
    public var text: String {
        guard bytesTotal > 0 else { return phase.text }
        return "\(phase.text): \(percent) % of \(Progress.bytes(bytesTotal)), \(Progress.bytes(bytesPerSecond))/s"
    }

    /// `{"state", "bytes_done", "bytes_total", "bytes_per_second", "percent"}`.
    public var json: JSONValue {
        [
            "state": phase.json, "bytes_done": .integer(bytesDone), "bytes_total": .integer(bytesTotal),
            "bytes_per_second": .integer(bytesPerSecond), "percent": .integer(Int64(percent)),
        ]
    }
}

/// What a host runs, what it is doing and why.
public struct HostStatus: AgentAnswer, Hashable {
    /// The product.
    public var product: String
    /// The version that runs.
    public var version: String
    /// Debian's name of the architecture.
    public var architecture: String
    /// The slot that runs: `a`, `b`, or nil on a host whose disk is not one of ours.
    public var slot: String?
    /// The other one.
    public var other: OtherSlot?
    /// What the host is doing.
    public var phase: AgentPhase
    /// How far the running update is.
    public var progress: UpdateProgress?
    /// The version that the host is pinned to.
    public var pinned: String?
    /// What the host does not take.
    public var denied: [DeniedVersion]
    /// What did not prove itself for reasons that say nothing about it, and is tried again.
    public var setbacks: [Setback]
    /// When the repository was last asked with success.
    public var lastCheck: UTCTime?
    /// When it will be asked next; nil where the host does not ask by itself.
    public var nextCheck: UTCTime?
    /// Why the host takes nothing, or what it would take: the last check's answer.
    public var reason: String?
    /// The last failure that nothing has succeeded after.
    public var lastError: String?
    /// The address of the repository that is asked first, without a user and password.
    public var repository: String?
    /// The addresses of all that have the same, that one included.
    public var mirrors: [String]
    /// What waits for a restart, and what holds that back.
    public var restart: RestartStatus
    /// The channel.
    public var channel: String
    /// The agent's own version.
    public var agent: String

    /// `box 1.0.0 in slot a; idle; …` on one line.
    public var text: String {
        var parts = ["\(product) \(version)" + (slot.map { " in slot \($0)" } ?? "")]
        parts.append(progress?.text ?? phase.text)
        if let other {
            parts.append(
                "slot \(other.name) " + (other.version.map { "holds \($0) (\(other.standing.rawValue))" } ?? "is empty")
            )
        }
        if let pinned { parts.append("pinned to \(pinned)") }
        if !denied.isEmpty { parts.append("denied: \(denied.map(\.version).joined(separator: ", "))") }
        if let hold = restart.hold { parts.append("held back by \(hold.text)") }
        if let reason { parts.append(reason) }
        if let lastError { parts.append("last error: \(lastError)") }
        if let nextCheck { parts.append("next check at \(nextCheck)") }
        return parts.joined(separator: "; ")
    }

    /// The members above in snake_case; `state` is the phase; what is not known is null.
    public var json: JSONValue {
        func time(_ time: UTCTime?) -> JSONValue { time.map { .string($0.description) } ?? .null }
        func text(_ text: String?) -> JSONValue { text.map { .string($0) } ?? .null }
        return [
            "product": .string(product), "version": .string(version), "architecture": .string(architecture),
            "slot": text(slot), "other_slot": other?.json ?? .null, "state": phase.json,
            "progress": progress?.json ?? .null, "pinned": text(pinned), "denied": .array(denied.map(\.json)),
            "setbacks": .array(setbacks.map(\.json)),
            "last_check": time(lastCheck), "next_check": time(nextCheck), "reason": text(reason),
            "last_error": text(lastError), "repository": text(repository),
            "mirrors": .array(mirrors.map { .string($0) }), "restart": restart.json, "channel": .string(channel),
            "agent": .string(agent),
        ]
    }
}
