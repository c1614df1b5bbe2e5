import Fault
import JSON

/// What a caller asks of the agent: a method of `io.ballast.Update` with its parameters. `Watch` is not among them, since
/// it has no end; it is `ControlHandler.watch`.
public enum UpdateMethod: Sendable, Hashable {
    /// What the host runs, what it is doing and why.
    case status
    /// Ask the repository, after the job that runs if `waits`.
    case check(waits: Bool)
    /// Bring the newest version that the host may take.
    case update
    /// Reboot, passing over what holds that back if `force`.
    case reboot(force: Bool)
    /// Go back to the other slot.
    case rollback(reboot: Bool, force: Bool)
    /// Take no other version.
    case pin(version: String)
    /// Take the newest version again.
    case unpin
    /// Never take a version.
    case deny(version: String, reason: String?)
    /// Take back that a version is denied.
    case allow(version: String)
    /// What happened here, not before `since`; the newest `limit` events, or all.
    case history(limit: Int?, since: String?)
    /// What a reporter has not taken yet, or what came after the event `after`.
    case events(after: Int64?, limit: Int?)
    /// A reporter has taken all events up to this one.
    case acknowledgeEvents(sequence: Int64)
    /// What a version has left of its last boot, when it did not prove itself.
    case logs(version: String)
    /// Whether what the host needs is as it should be.
    case doctor

    /// Whether it changes the host, its disk or its settings, or makes it use the network: not for everyone.
    public var isPrivileged: Bool {
        switch self {
        case .status, .history, .events: false
        // Journals may tell what is not for everybody.
        case .logs, .doctor: true
        case .check, .update, .reboot, .rollback, .pin, .unpin, .deny, .allow, .acknowledgeEvents: true
        }
    }

    /// Reads the method `name` with what came as `call`'s parameters, which are as the interface's definition has them.
    init(_ name: String, _ call: VarlinkCall) throws(VarlinkError) {
        switch name {
        case "Status": self = .status
        case "Check":
            self = .check(waits: try call.optionalBool("wait") ?? true)
        case "Update": self = .update
        case "Reboot":
            self = .reboot(force: try call.optionalBool("force") ?? false)
        case "Unpin": self = .unpin
        case "Rollback":
            let force = try call.optionalBool("force") ?? false
            self = .rollback(reboot: try call.optionalBool("reboot") ?? force, force: force)
        case "Pin":
            self = .pin(version: try call.version())
        case "Allow":
            self = .allow(version: try call.version())
        case "Deny":
            let reason = try call.optionalText("reason", atMost: 1000)
            self = .deny(version: try call.version(), reason: reason)
        case "History":
            self = .history(
                limit: try call.optionalCount("limit"), since: try call.optionalText("since", atMost: 64))
        case "Events":
            self = .events(
                after: try call.optionalCount("after").map(Int64.init), limit: try call.optionalCount("limit"))
        case "AcknowledgeEvents":
            guard let sequence = try call.optionalCount("sequence") else { throw .invalidParameter("sequence") }
            self = .acknowledgeEvents(sequence: Int64(sequence))
        case "Logs":
            self = .logs(version: try call.version())
        case "Doctor": self = .doctor
        default: throw .methodNotFound(call.method)
        }
    }
}

extension VarlinkCall {
    private func present(_ key: String) -> JSONValue? {
        guard let value = parameters[key], value != .null else { return nil }
        return value
    }

    fileprivate func optionalBool(_ key: String) throws(VarlinkError) -> Bool? {
        guard let value = present(key) else { return nil }
        guard case .bool(let bool) = value else { throw .invalidParameter(key) }
        return bool
    }

    fileprivate func optionalCount(_ key: String) throws(VarlinkError) -> Int? {
        guard let value = present(key) else { return nil }
        guard case .integer(let integer) = value, integer >= 0, let count = Int(exactly: integer) else {
            throw .invalidParameter(key)
        }
        return count
    }

    /// Text of one line: it ends up in logs and on terminals.
    fileprivate func optionalText(_ key: String, atMost limit: Int) throws(VarlinkError) -> String? {
        guard let value = present(key) else { return nil }
        guard case .string(let text) = value else { throw .invalidParameter(key) }
        guard text.utf8.count <= limit else {
            throw VarlinkError(ControlFault(.invalid, "'\(key)' has more than \(limit) bytes"))
        }
        guard text.unicodeScalars.allSatisfy({ $0.value >= 0x20 && !(0x7F...0x9F ~= $0.value) }) else {
            throw VarlinkError(
                ControlFault(.invalid, "'\(key)' has control characters", remedy: "write one plain line"))
        }
        return text
    }

    /// The spelling of a version, as far as it is the protocol's to judge; the agent knows the rest.
    fileprivate func version() throws(VarlinkError) -> String {
        guard let version = try optionalText("version", atMost: 64) else { throw .invalidParameter("version") }
        guard !version.isEmpty else {
            throw VarlinkError(ControlFault(.invalid, "the version is empty", remedy: "name a version, such as 1.1.0"))
        }
        return version
    }
}
