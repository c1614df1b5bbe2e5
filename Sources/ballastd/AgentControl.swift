import Control
import JSON
import UpdateAgent

/// The control socket's methods, answered by the agent.
struct AgentControl: ControlHandler {
    private let agent: any UpdateService

    init(_ agent: any UpdateService) { self.agent = agent }

    func call(
        _ method: UpdateMethod, caller: Caller, progress: @escaping @Sendable (JSONValue) -> Void
    ) throws -> JSONValue {
        switch method {
        case .status: try agent.status().json
        case .check(let waits): try agent.check(waits: waits).json
        case .update: try agent.update { progress($0.json) }.json
        case .reboot: try agent.reboot().json
        case .rollback(let reboot): try agent.rollback(reboot: reboot).json
        case .pin(let version): try agent.pin(version).json
        case .unpin: try agent.unpin().json
        case .deny(let version, let reason): try agent.deny(version, reason: reason).json
        case .allow(let version): try agent.allow(version).json
        case .history: .array(try agent.history().map(\.json))
        }
    }

    func watch(_ observer: @escaping @Sendable (JSONValue) -> Void) -> @Sendable () -> Void {
        let registration = agent.watch { observer($0.json) }
        return { registration.cancel() }
    }
}
