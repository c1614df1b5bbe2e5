public import Control
import Fault
public import JSON
import Trust

/// The control socket's methods, answered by the agent.
public struct AgentControl: ControlHandler {
    private let agent: any UpdateService

    /// The methods of `agent`.
    public init(_ agent: any UpdateService) { self.agent = agent }

    /// Does what `method` asks.
    public func call(
        _ method: UpdateMethod, caller: Caller, hasLeft: @escaping @Sendable () -> Bool,
        progress: @escaping @Sendable (JSONValue) -> Void
    ) throws -> JSONValue {
        switch method {
        case .status: try agent.status().json
        case .check(let waits): try agent.check(waits: waits, hasLeft: hasLeft).json
        case .update: try agent.update(hasLeft: hasLeft) { progress($0.json) }.json
        case .reboot(let force): try agent.reboot(force: force).json
        case .rollback(let reboot, let force): try agent.rollback(reboot: reboot, force: force).json
        case .pin(let version): try agent.pin(version).json
        case .unpin: try agent.unpin().json
        case .deny(let version, let reason): try agent.deny(version, reason: reason).json
        case .allow(let version): try agent.allow(version).json
        case .history(_, let since): .array(try history(since: since).map(\.json))
        case .events(let after, let limit): try agent.events(after: after, limit: limit).json
        case .acknowledgeEvents(let sequence): try agent.acknowledgeEvents(upTo: sequence).json
        case .logs(let version): try agent.logs(version).json
        case .doctor: .array(agent.doctor().map(\.json))
        }
    }

    private func history(since text: String?) throws -> [HostEvent] {
        let events = try agent.history()
        guard let text else { return events }
        guard let since = UTCTime(text) ?? Self.seconds(text).map({ UTCTime.now.adding(seconds: -$0) }) else {
            throw UpdateAgentFault(
                .invalid, "'\(text)' is no time",
                remedy: "write it like 2030-01-31T00:00:00Z, or 2d, 3h or 10m for so long ago")
        }
        return events.filter { $0.time >= since }
    }

    /// A number with s, m, h or d, in seconds.
    private static func seconds(_ text: String) -> Int64? {
        let units: [Character: Int64] = ["s": 1, "m": 60, "h": 3600, "d": 86400]
        guard let unit = text.last.flatMap({ units[$0] }), let number = Int64(text.dropLast()),
            0...1_000_000 ~= number
        else { return nil }
        return number * unit
    }

    /// Tells `observer` the status now and whenever it changes.
    public func watch(_ observer: @escaping @Sendable (JSONValue) -> Void) -> @Sendable () -> Void {
        let registration = agent.watch { observer($0.json) }
        return { registration.cancel() }
    }
}
