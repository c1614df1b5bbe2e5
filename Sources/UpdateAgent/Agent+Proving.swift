import BootControl
public import Fault
import FileIO
import Synchronization
import SystemPackage

extension Agent {
    /// Compares what runs with what was to be tried, and draws the consequences. To be called once at the start.
    public func reconcile() throws(UpdateAgentFault) {
        store.file.removeLeftovers()
        try judge()
    }

    /// Draws the consequences of this boot. What cannot be read is not gone: it is judged the next time.
    func judge() throws(UpdateAgentFault) {
        keepJournal()
        try decide(.whatIsPossible) { state, facts in
            if let facts { judge(&state, facts) }
            noteInterruption(&state)
            state.phase = settled(state)
        }
    }

    private func judge(_ state: inout AgentState, _ facts: BootFacts) {
        judgeRollback(&state, facts)
        judgeTrial(&state, facts)
        if BootPolicy.isLastResort(state, facts) {
            state.noteFailedBoot(on: host, cause: "it has used its \(settings.tries) tries up")
        }
    }

    private func judgeRollback(_ state: inout AgentState, _ facts: BootFacts) {
        guard let rollback = state.rollback else { return }
        switch BootPolicy.rollback(state, facts) {
        case .nothing, .onTrial: break
        case .waiting:
            state.rollback?.bootIdentifier = host.bootIdentifier
            abandonRevokedRollback(&state)
        case .missed:
            let missed = rollback.missedBoots + 1
            state.rollback?.bootIdentifier = host.bootIdentifier
            state.rollback?.missedBoots = missed
            abandonRevokedRollback(&state)
            // A host that reboots for a version that its loader does not take would do so for ever.
            if state.rollback != nil, missed >= BootPolicy.missedLimit {
                comeBack(from: rollback, .notStarted, "the boot loader did not start it in \(missed) boots", &state)
            }
        case .over: state.rollback = nil
        case .failed: comeBack(from: rollback, .unfinished, "it did not prove itself", &state)
        case .lost: comeBack(from: rollback, .notStarted, "it has no boot entry any more", &state)
        }
    }

    /// The version that an operator went back to is worse than the one that runs, which stays then.
    private func comeBack(
        from rollback: PendingRollback, _ otherwise: FailureKind, _ what: String, _ state: inout AgentState
    ) {
        let (kind, cause) = failure(of: rollback.target) ?? (otherwise, what)
        state.rollback = nil
        state.denied.removeAll { $0.version == running }
        state.removeGood(rollback.target)
        // Whoever wanted it has to be told, and says whether it is to be tried again.
        state.deny(rollback.target, kind, cause: cause, at: host.now())
        state.failed = FailedVersion(version: rollback.target, cause: cause)
        var event = HostEvent(
            .rollbackFailed, version: rollback.target, other: running, cause: cause, at: host.now())
        event.failure = kind
        state.record(event)
    }

    /// What a version has said of itself when it did not prove itself, or what was found of it; nil where there is nothing.
    private func failure(of version: String) -> (FailureKind, String)? {
        if let report = HealthReport(host.paths.healthReport(of: version)) {
            return (report.isEnvironmental ? .environment : .health, report.cause)
        }
        guard host.paths.leaving(of: version).exists else { return nil }
        return (.health, "it could not run its health checks: see its journal")
    }

    private func judgeTrial(_ state: inout AgentState, _ facts: BootFacts) {
        guard let pending = state.pending else { return }
        let trial = BootPolicy.trial(state, facts, hasFailureReport: hasReport(of: pending))
        // A process that was killed could not say so itself.
        let isThere = trial == .waiting ? facts.entry(pending.sequence) != nil : trial != .interrupted
        if isThere { state.recordActivation() }
        switch trial {
        case .nothing, .waiting, .proving: break
        case .untried:
            state.pending?.bootIdentifier = host.bootIdentifier
            state.pending?.missedBoots += 1
            // A host that reboots for a version that its loader does not take would do so for ever.
            if pending.missedBoots + 1 >= pending.tries {
                comeBack(
                    from: pending, .notStarted,
                    cause: "the boot loader did not start it in \(pending.missedBoots + 1) boots", &state)
            }
        case .interrupted:
            state.pending = nil
            state.record(HostEvent(.interrupted, version: pending.version, at: host.now()))
        case .superseded:
            state.pending = nil
            state.record(
                HostEvent(
                    .withdrawn, version: pending.version, other: running,
                    cause: "it is good already, and \(running) was chosen at boot", at: host.now()))
        case .failed:
            let (kind, cause) =
                failure(of: pending.version)
                ?? (.unfinished, "it did not reach its health checks: panic, hang or power loss")
            comeBack(from: pending, kind, cause: cause, &state)
        }
    }

    private func hasReport(of pending: PendingActivation) -> Bool {
        host.paths.healthReport(of: pending.version).exists
    }

    /// The version that was tried did not prove itself.
    private func comeBack(
        from pending: PendingActivation, _ kind: FailureKind, cause: String, _ state: inout AgentState
    ) {
        let version = pending.version
        state.pending = nil
        state.removeGood(version)
        state.judge(version, kind, cause: cause, at: host.now())
        var event = HostEvent(.rolledBack, version: version, other: running, cause: cause, at: host.now())
        event.failure = kind
        event.tries = Int64(pending.tries)
        event.retryTime = state.setback(of: version)?.retryTime
        state.record(event)
        state.failed = FailedVersion(version: version, cause: cause)
    }

    /// What an interrupted job left behind becomes what is so when no job runs.
    private func noteInterruption(_ state: inout AgentState) {
        switch state.phase {
        case .planning(let version), .staging(let version), .staged(let version):
            guard jobs.current?.version == nil, state.pending?.version != version else { return }
            state.record(HostEvent(.interrupted, version: version, at: host.now()))
        case .idle, .checking, .available, .waiting, .rebooting, .proving, .good, .rolledBack, .unknown: break
        }
    }

    /// Keeps the end of the journal of a version that failed. It takes its time, so that the state is not locked meanwhile.
    private func keepJournal() {
        guard let state = try? store.read(), let pending = state.pending, let facts = try? store.facts(),
            BootPolicy.trial(state, facts, hasFailureReport: hasReport(of: pending)) == .failed
        else { return }
        let path = host.paths.journal(of: pending.version)
        guard !path.exists else { return }
        // The slot's GUIDs are the halves of the root hash that its kernel was given.
        let slots = try? host.slots().slots()
        guard let slot = slots?.first(where: { $0.version(of: settings.product) == pending.version }) else { return }
        let rootHash = (slot.rootUUID + slot.verityUUID).filter { $0 != "-" }.lowercased()
        let lines = host.journal(rootHash)
        guard !lines.isEmpty else { return }
        try? path.removingLastComponent().makeDirectories()
        try? path.replaceContents(with: lines)
    }

    /// Notes that what runs has passed its health checks. To be called after boot-complete.target. Its entry loses its
    /// counter: a version that is noted as good and still loses tries would be left by the loader one day.
    ///
    /// - Returns: what it came to, for the log.
    /// - Throws: where its entry still counts tries and cannot be changed; nothing is noted then.
    public func recordGood() throws(UpdateAgentFault) -> String {
        keepJournal()
        let isNew = try decide(host.isBootCounted() ? .everything : .whatIsPossible) { state, facts in
            if let facts { judge(&state, facts) }
            // What the agent leaves is not good because of a boot that came in between.
            if let rollback = state.rollback, rollback.from == running, rollback.decidingBoot != nil { return false }
            let isPending = state.pending?.version == running
            let isNew = isPending || !state.good.contains(running)
            if isPending { state.pending = nil }
            if state.rollback?.target == running { state.rollback = nil }
            if state.hasFailed(in: host.bootIdentifier) { state.failedBoot = nil }
            let isWatched = settings.probation > 0 && !settings.health.isEmpty
            state.addGood(running, isWatched: isWatched && (isPending || state.probation?.version == running))
            state.provedBoot = host.bootIdentifier
            state.noteSuccess(.reboot)
            if isNew {
                state.record(HostEvent(.proved, version: running, at: host.now()))
                // It goes on to be watched; for what a host was installed with there is nothing to go back to.
                if isPending, settings.probation > 0 {
                    state.probation = Probation(version: running, bootIdentifier: host.bootIdentifier, boots: 0)
                }
                // What came back from another version says so until this one, or a third, is new here.
                state.failed = nil
            }
            switch state.phase {
            case .checking, .planning, .staging, .staged: break
            case .idle, .available, .waiting, .rebooting, .proving, .good, .rolledBack, .unknown:
                state.phase = settled(state)
            }
            return isNew
        }
        try? host.paths.healthReport(of: running).removeTree()
        try? host.paths.leaving(of: running).removeTree()
        VerdictPort(path: host.paths.verdict).send("boot-complete \(settings.product) \(running)")
        return isNew ? "\(running) has proved itself" : "\(running) is good"
    }
}
