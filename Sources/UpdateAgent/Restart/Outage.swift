public import Fault
import Release
package import Trust

/// A time in which the host does not answer: it begins when all its health checks held for the last time before a restart.
struct Outage: Sendable, Hashable {
    /// When they held for the last time.
    var since: UTCTime
    /// The boot in which that was.
    var bootIdentifier: String
}

/// A reboot that was asked for, by whichever process of the agent.
package struct AskedReboot: Sendable, Hashable {
    /// Where it has not come so many seconds later, it will not.
    private static let patience: Int64 = 900

    var time: UTCTime
    /// The boot that is to end.
    package var bootIdentifier: String

    package init(time: UTCTime, bootIdentifier: String) {
        self.time = time
        self.bootIdentifier = bootIdentifier
    }

    /// Whether it is still to come on `host`.
    func isComing(on host: Host) -> Bool {
        bootIdentifier == host.bootIdentifier && 0..<Self.patience ~= host.now().seconds - time.seconds
    }
}

extension AgentState {
    /// The longest outage that is taken for one, in seconds: more is a clock that was set.
    private static let longestOutage: Int64 = 7 * 86400

    /// All health checks hold, in the boot that runs on `host`.
    mutating func noteAnswer(on host: Host) {
        guard let outage, outage.bootIdentifier != host.bootIdentifier else { return }
        self.outage = nil
        let seconds = host.now().seconds - outage.since.seconds
        guard 0...Self.longestOutage ~= seconds else { return }
        var event = HostEvent(.served, version: host.running.description, at: host.now())
        event.seconds = seconds
        record(event)
    }
}

extension HealthRunner {
    /// Looks once at all checks; where they hold, that is noted as the last time before a restart.
    ///
    /// - Returns: what was found, for the log.
    public func noteLastAnswer() throws(UpdateAgentFault) -> String {
        let report = look()
        guard report.hasPassed else { return "not all health checks hold before the restart: \(report.cause)" }
        try store.change { state in
            state.outage = Outage(since: report.time, bootIdentifier: host.bootIdentifier)
            // What failed at first, and stayed, holds after all.
            if state.hasFailed(in: host.bootIdentifier) { state.provedBoot = host.bootIdentifier }
        }
        return "all health checks hold before the restart"
    }

    /// All checks hold: where that is the first time after a restart, it says how long they did not.
    public func noteFirstAnswer() throws(UpdateAgentFault) {
        guard let outage = try store.read().outage, outage.bootIdentifier != host.bootIdentifier else { return }
        try store.change { $0.noteAnswer(on: host) }
    }
}
