import Fault
public import JSON

/// Where a host is on its way from one version to the next.
///
/// ```
/// idle -> checking -> available -> planning -> staging -> staged -> waiting -> rebooting -> proving -> good
///                                    any step --error--> idle with a cause                         -> rolled-back
/// ```
public enum AgentPhase: Sendable, Hashable {
    /// Nothing is to be done.
    case idle
    /// The repository is being asked.
    case checking
    /// There is a version that the host may take.
    case available(version: String)
    /// What has to be fetched is being worked out.
    case planning(version: String)
    /// The other slot is being written.
    case staging(version: String)
    /// The other slot is complete, and its entry is not there yet.
    case staged(version: String)
    /// The next boot is that of `version`; why it has not come yet.
    case waiting(version: String, reason: String)
    /// The host was asked to reboot.
    case rebooting(version: String)
    /// `version` runs for the first time and is not blessed yet.
    case proving(version: String)
    /// `version` runs and has passed its health checks.
    case good(version: String)
    /// `version` did not prove itself, or an operator went back from it.
    case rolledBack(version: String, cause: String)
    /// Another agent has written it, and this one does not know it.
    case unknown(JSONValue)

    /// The state's name, as `ballastctl status` shows it.
    public var name: String {
        switch self {
        case .idle: "idle"
        case .checking: "checking"
        case .available: "available"
        case .planning: "planning"
        case .staging: "staging"
        case .staged: "staged"
        case .waiting: "waiting"
        case .rebooting: "rebooting"
        case .proving: "proving"
        case .good: "good"
        case .rolledBack: "rolled-back"
        case .unknown(.object(let members)):
            if case .string(let name)? = members["name"] { name.excerpt() } else { "unknown" }
        case .unknown: "unknown"
        }
    }

    /// The version that it is about.
    public var version: String? {
        switch self {
        case .idle, .checking, .unknown: nil
        case .available(let version), .planning(let version), .staging(let version), .staged(let version),
            .waiting(let version, _), .rebooting(let version), .proving(let version), .good(let version),
            .rolledBack(let version, _):
            version
        }
    }

    /// One line for a person.
    public var text: String {
        switch self {
        case .idle: "idle"
        case .checking: "asking the repository"
        case .available(let version): "\(version) is available"
        case .planning(let version): "working out what \(version) needs"
        case .staging(let version): "writing \(version)"
        case .staged(let version): "\(version) is written"
        case .waiting(let version, let reason): "\(version) waits: \(reason)"
        case .rebooting(let version): "rebooting into \(version)"
        case .proving(let version): "\(version) is proving itself"
        case .good(let version): "\(version) is good"
        case .rolledBack(let version, let cause): "back from \(version): \(cause)"
        case .unknown: "in the state '\(name)', which this agent does not know"
        }
    }

    /// `{"name": …, "version": …, "reason": …}`.
    public var json: JSONValue {
        if case .unknown(let value) = self { return value }
        var members: [String: JSONValue] = ["name": .string(name)]
        if let version { members["version"] = .string(version) }
        switch self {
        case .waiting(_, let reason): members["reason"] = .string(reason)
        case .rolledBack(_, let cause): members["reason"] = .string(cause)
        case .idle, .checking, .available, .planning, .staging, .staged, .rebooting, .proving, .good, .unknown: break
        }
        return .object(members)
    }

    init(parsing cursor: JSONCursor) throws(JSONFault) {
        let name = try cursor.field("name")
        func version() throws(JSONFault) -> String { try cursor.field("version").string() }
        func reason() throws(JSONFault) -> String { try cursor.field("reason").string() }
        switch try name.string() {
        case "idle": self = .idle
        case "checking": self = .checking
        case "available": self = .available(version: try version())
        case "planning": self = .planning(version: try version())
        case "staging": self = .staging(version: try version())
        case "staged": self = .staged(version: try version())
        case "waiting": self = .waiting(version: try version(), reason: try reason())
        case "rebooting": self = .rebooting(version: try version())
        case "proving": self = .proving(version: try version())
        case "good": self = .good(version: try version())
        case "rolled-back": self = .rolledBack(version: try version(), cause: try reason())
        default: self = .unknown(cursor.value)
        }
    }
}
