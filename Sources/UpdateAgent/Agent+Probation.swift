import BootControl
public import Fault
import FileIO
public import Glibc
import Release
import SystemPackage

/// A version that has passed its health checks and still has to go on doing so for a while.
public struct Probation: Sendable, Hashable {
    /// The version.
    var version: String
    /// The last boot in which it was watched.
    var bootIdentifier: String
    /// In how many boots.
    var boots: Int
}

extension Agent {
    /// In how many boots a version may begin its probation.
    private static let probationBoots = 3
    /// Seconds between two rounds of checks.
    private static let probationPause: UInt32 = 15

    /// Goes on with the health checks of a version that is new here, and goes back from it where one does not hold any more. To be called
    /// when this boot is noted as good.
    ///
    /// - Parameters:
    ///   - runner: runs the checks.
    ///   - pause: waits a number of seconds. Tests count here instead.
    /// - Returns: what it came to, for the log.
    public func watchProbation(
        _ runner: HealthRunner, note: @escaping @Sendable (String) -> Void,
        pause: (UInt32) throws(UpdateAgentFault) -> Void = { sleep($0) }
    ) throws(UpdateAgentFault) -> String {
        guard try beginProbation() else { return "\(running) is not on probation" }
        if let probation = try store.read().probation, probation.boots > Self.probationBoots {
            return try leave(because: "it did not get through its probation in \(Self.probationBoots) boots")
        }
        let start = ContinuousClock.now
        var environment = ""
        while ContinuousClock.now - start < .seconds(settings.probation) {
            try pause(Self.probationPause)
            let report = runner.run(note: { _ in })
            if report.hasPassed { continue }
            guard report.isEnvironmental else {
                try? runner.keep(report)
                return try leave(because: report.cause)
            }
            if report.cause != environment { note("goes on all the same: \(report.cause)") }
            environment = report.cause
        }
        try change { state in
            guard state.probation?.version == running else { return }
            state.probation = nil
            state.record(
                HistoryEvent(
                    .noted, version: running, detail: "its health checks held for \(settings.probation) s more",
                    at: host.now()))
        }
        return "\(running) is through its probation"
    }

    /// - Returns: whether what runs is on probation.
    private func beginProbation() throws(UpdateAgentFault) -> Bool {
        try change { state in
            guard settings.probation > 0, !settings.health.isEmpty, state.probation?.version == running else {
                state.probation = nil
                return false
            }
            // A service that is started anew is still in the same boot.
            if state.probation?.bootIdentifier != host.bootIdentifier { state.probation?.boots += 1 }
            state.probation?.bootIdentifier = host.bootIdentifier
            return true
        }
    }

    /// Goes back to the other slot's version, which was good here; where there is none, what runs stays.
    private func leave(because cause: String) throws(UpdateAgentFault) -> String {
        let slot = try slotView().other
        do throws(UpdateAgentFault) {
            let target = try decide { state, facts throws(UpdateAgentFault) in
                guard let facts else { throw UpdateAgentFault(.storage, "the boot entries cannot be read") }
                let target = try rollbackTarget(state, facts, slot: slot, bringing: jobs.current?.version)
                state.probation = nil
                state.good.removeAll { $0 == running }
                rollBack(to: target, .probation, cause: cause, &state, facts)
                return target
            }
            _ = try reboot()
            return "back to \(target): \(cause)"
        } catch {
            guard error.code == .nothingGood else { throw error }
            try change { state in
                state.probation = nil
                state.noteFailedBoot(on: host, cause: cause)
            }
            return "not healthy any more, and stays: \(error.message): \(cause)"
        }
    }
}
