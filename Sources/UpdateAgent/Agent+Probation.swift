import BootControl
public import Fault
import FileIO
public import Glibc
import Release
import SystemPackage
import Trust

/// A version that has passed its health checks and still has to go on doing so for a while.
public struct Probation: Sendable, Hashable {
    /// The version.
    var version: String
    /// The last boot in which it was watched.
    var bootIdentifier: String
    /// How many boots ended in it without a word.
    var boots: Int
    /// For how many seconds it has held since the last boot that ended without a word.
    var seconds: Int64 = 0
}

extension Agent {
    /// How many boots may end in a version's probation without a word.
    private static let probationBoots = 3
    /// Seconds between two rounds of checks.
    private static let probationPause: UInt32 = 15
    /// Seconds that may have to be watched once more after a reset: how long a version has held is not written in each round.
    private static let probationNote: Int64 = 60

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
        if let left = try leaveAfterSilence() { return left }
        var noted = try store.read().probation?.seconds ?? 0
        var held = Duration.seconds(noted)
        var environment = ""
        var lastAnswer = host.now()
        while held < .seconds(settings.probation) {
            if held.components.seconds - noted >= Self.probationNote {
                noted = held.components.seconds
                try change { state in
                    if state.probation?.version == running { state.probation?.seconds = noted }
                }
            }
            let start = ContinuousClock.now
            let wasServing = try isServing()
            try pause(Self.probationPause)
            let report = runner.run(note: { _ in })
            // What is drained, or shut down, need not answer; and where it does, that says nothing either.
            let isServing = try isServing()
            guard wasServing, isServing else { continue }
            held += ContinuousClock.now - start
            if report.hasPassed {
                lastAnswer = report.time
                continue
            }
            guard report.isEnvironmental else {
                try? runner.keep(report)
                return try leave(.probation, because: report.cause, lastAnswer: lastAnswer)
            }
            if report.cause != environment { note("goes on all the same: \(report.cause)") }
            environment = report.cause
        }
        try change { state in
            guard state.probation?.version == running else { return }
            state.probation = nil
            state.addGood(running)
            var event = HostEvent(.confirmed, version: running, at: host.now())
            event.seconds = settings.probation
            state.record(event)
        }
        return "\(running) is through its probation"
    }

    /// Counts a boot of a version on probation, before its health checks, and goes back from it where too many have ended without a word.
    ///
    /// - Returns: what it came to, for the log; nil where the boot goes on.
    public func beginBoot() throws(UpdateAgentFault) -> String? {
        guard try store.read().probation?.version == running, try beginProbation() else { return nil }
        let left = try leaveAfterSilence()
        // Where there is nothing to go back to, the checks have the word.
        return try store.read().rollback?.from == running ? left : nil
    }

    /// Goes back from a version on probation whose boot is not complete, though the boot loader does not count it any more.
    ///
    /// - Returns: what it came to, for the log; nil where that is not so.
    public func endProbation(
        _ report: HealthReport, _ runner: HealthRunner
    ) throws(UpdateAgentFault) -> String? {
        let known = try store.read()
        // One of several who have to say the same.
        if let rollback = known.rollback, rollback.from == running, rollback.decidingBoot == host.bootIdentifier {
            return "back to \(rollback.target) already"
        }
        // Of this boot something was said already, such as that it could not be judged.
        guard known.probation?.version == running, !known.hasFailed(in: host.bootIdentifier), !runner.isOnTrial else {
            return nil
        }
        guard report.isEnvironmental else {
            VerdictPort(path: host.paths.verdict).send(
                "boot-failed \(settings.product) \(report.version): \(report.cause)")
            try? runner.keep(report)
            return try leave(.probation, because: report.cause)
        }
        // It has said why: that is no boot without a word.
        try interruptProbation()
        return nil
    }

    private func leaveAfterSilence() throws(UpdateAgentFault) -> String? {
        guard let known = try store.read().probation, known.version == running, known.boots >= Self.probationBoots
        else {
            return nil
        }
        return try leave(.unfinished, because: "\(known.boots) boots ended in its probation without a word")
    }

    /// Whether the host is there for whoever it serves: nothing is drained, and it is not about to restart.
    private func isServing() throws(UpdateAgentFault) -> Bool {
        let known = try store.read()
        // Where a drain cannot be undone, that may be for what runs here.
        let isDrained = !known.prepared.isEmpty && !known.isFailing(.undrain)
        return !isDrained && known.askedReboot?.isComing(on: host) != true && !isAnotherPreparing
    }

    /// - Returns: whether what runs is on probation.
    private func beginProbation() throws(UpdateAgentFault) -> Bool {
        try change { state in
            guard settings.probation > 0, !settings.health.isEmpty, state.probation?.version == running else {
                state.probation = nil
                return false
            }
            // A service that is started anew is still in the same boot, and a boot that ended in order has said so.
            if let last = state.probation?.bootIdentifier, !last.isEmpty, last != host.bootIdentifier {
                state.probation?.boots += 1
                // Else one that hangs every few minutes would come through it in pieces.
                state.probation?.seconds = 0
            }
            state.probation?.bootIdentifier = host.bootIdentifier
            return true
        }
    }

    /// The host is shut down in order: the next boot goes on with the probation.
    public func interruptProbation() throws(UpdateAgentFault) {
        try change { state in
            if state.probation?.version == running { state.probation?.bootIdentifier = "" }
        }
    }

    /// Goes back to the other slot's version, which was good here; where there is none, what runs stays.
    private func leave(
        _ kind: FailureKind, because cause: String, lastAnswer: UTCTime? = nil
    ) throws(UpdateAgentFault) -> String {
        let slot = try slotView().other
        do throws(UpdateAgentFault) {
            let target = try decide { state, facts throws(UpdateAgentFault) in
                guard let facts else { throw UpdateAgentFault(.storage, "the boot entries cannot be read") }
                let target = try rollbackTarget(state, facts, slot: slot, bringing: jobs.current?.version)
                state.probation = nil
                state.removeGood(running)
                rollBack(to: target, kind, cause: cause, &state, facts)
                // Without an answer in this boot, the outage of the restart before goes on.
                if let lastAnswer { state.outage = Outage(since: lastAnswer, bootIdentifier: host.bootIdentifier) }
                return target
            }
            // What is not healthy serves nobody: nothing is asked first.
            _ = try restart(RestartOrder(isForced: true))
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
