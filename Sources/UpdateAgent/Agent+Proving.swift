import BootControl
public import Fault
import FileIO
import SystemPackage

extension Agent {
    /// Compares what runs with what was to be tried, and draws the consequences. To be called once at the start.
    public func reconcile() throws(UpdateAgentFault) {
        resumeRollback()
        try comparePending()
        try noteLastResort()
        // A power cut may have come between what the state says and what the entries do.
        retireUnwantedOrTell()
    }

    /// A version that the loader starts more often than it has tries, since there is no better one, need not say that it failed:
    /// where it hangs, or is reset, before its health checks have ended, it never does.
    func noteLastResort() throws(UpdateAgentFault) {
        guard case .bad(let done)? = host.bootCounter(), done > settings.tries,
            let entries = try? bootEntries().list()
        else { return }
        // Where somebody has given it tries again, it has them.
        if case .trying? = entries.first(where: { $0.name.version == running })?.name.standing { return }
        try change { state in
            guard state.pending?.version != running, state.rollback?.target != running, !state.good.contains(running),
                !state.hasFailed(in: host.bootIdentifier), !state.hasBetter(than: running, among: entries)
            else { return }
            state.noteFailedBoot(on: host, cause: "it has used its \(settings.tries) tries up")
            state.phase = settled(state)
        }
    }

    /// A rollback that waits for its reboot is carried out again, for a power cut may have come before its entries.
    private func resumeRollback() {
        do throws(UpdateAgentFault) {
            guard let rollback = try state.read().rollback else { return }
            guard running == rollback.from else {
                // The target keeps it for as long as it is on trial.
                if running != rollback.target || !host.isBootCounted() { try change { $0.rollback = nil } }
                return
            }
            try carryOut(rollback)
        } catch {
            let text = "the rollback cannot be carried out: \(error)"
            _ = try? change { $0.lastError = text }
        }
    }

    /// Makes the entries of a rollback that waits say so, or ends it where its target has had its tries, or is not wanted any more.
    private func carryOut(_ rollback: PendingRollback) throws(UpdateAgentFault) {
        guard try abandonRevokedRollback(state.read()).rollback == rollback else { return }
        let standing = try UpdateAgentFault.booting { () throws(BootControlFault) in
            try bootEntries().entry(of: rollback.target)?.name.standing
        }
        switch standing {
        case .bad(let done) where done > 0: try comeBack(from: rollback, "it did not prove itself")
        case nil: try comeBack(from: rollback, "it has no boot entry any more")
        case .good, .trying, .bad: try setEntries(for: rollback)
        }
    }

    /// The version that an operator went back to is worse than the one that runs, which stays then.
    private func comeBack(from rollback: PendingRollback, _ what: String) throws(UpdateAgentFault) {
        // An operator may have gone back from it before it had proved itself, and then it still has to.
        let isGood = try state.read().good.contains(running)
        try UpdateAgentFault.booting { () throws(BootControlFault) in
            let entries = try bootEntries()
            guard try entries.entry(of: running) != nil else { return }
            try entries.setStanding(isGood ? .good : .trying(left: settings.tries, done: 0), of: running)
        }
        let cause = HealthReport(host.paths.healthReport(of: rollback.target))?.cause ?? what
        try change { state in
            // Another process of the agent may have seen it at the same time.
            guard state.rollback == rollback else { return }
            state.rollback = nil
            state.denied.removeAll { $0.version == running }
            state.good.removeAll { $0 == rollback.target }
            state.deny(rollback.target, cause: cause, at: host.now())
            state.failed = FailedVersion(version: rollback.target, cause: cause)
            var event = HistoryEvent(
                .rolledBack, version: rollback.target,
                detail: "the rollback to \(rollback.target) failed; \(running) stays and is allowed again",
                at: host.now())
            event.cause = cause
            state.record(event)
            state.phase = settled(state)
        }
    }

    /// Makes the entries say once more what a rollback that waits has decided; systemd-bless-boot may have come in between.
    func followRollback() throws(UpdateAgentFault) {
        guard let rollback = try state.read().rollback, rollback.from == running else { return }
        try carryOut(rollback)
    }

    func comparePending() throws(UpdateAgentFault) {
        let known = try state.read()
        var entry: BootEntryName.Standing?
        if let pending = known.pending, pending.version != running {
            do throws(UpdateAgentFault) {
                entry = try UpdateAgentFault.booting { () throws(BootControlFault) in
                    try bootEntries().entry(of: pending.version)?.name.standing
                }
            } catch {
                // What cannot be read is not gone: it is judged at the next start.
                let text = "what became of \(pending.version) cannot be seen: \(error)"
                try change { $0.lastError = text }
                return try settle(known)
            }
        }
        let hasReport = known.pending.map { host.paths.healthReport(of: $0.version).exists } ?? false
        let outcome = BootReconciliation.decide(
            pending: known.pending, running: running, bootIdentifier: host.bootIdentifier, entry: entry,
            hasFailureReport: hasReport)
        guard let pending = known.pending else { return try settle(known) }
        switch outcome {
        case .nothing: try settle(known)
        case .waiting, .proving: try change { $0.phase = settled($0) }
        case .untried:
            var missed = pending
            missed.bootIdentifier = host.bootIdentifier
            missed.missedBoots += 1
            // A host that reboots for a version that its loader does not take would do so for ever.
            if missed.missedBoots >= missed.tries {
                try comeBack(from: pending, cause: "the boot loader did not start it in \(missed.missedBoots) boots")
            } else {
                try decide(pending) { $0.pending = missed }
            }
        case .interrupted: try forget(pending, "the update to \(pending.version) was cut off before it could boot")
        case .superseded: try forget(pending, "\(pending.version) is good, and \(running) was chosen at boot")
        case .failed: try comeBack(from: pending)
        }
    }

    /// What an interrupted job left behind becomes what is so when no job runs.
    private func settle(_ known: AgentState) throws(UpdateAgentFault) {
        try change { state in
            switch known.phase {
            case .planning(let version), .staging(let version), .staged(let version):
                state.record(
                    HistoryEvent(
                        .noted, version: version, detail: "the update was interrupted; the next one goes on from there",
                        at: host.now()))
            case .idle, .checking, .available, .waiting, .rebooting, .proving, .good, .rolledBack: break
            }
            state.phase = settled(state)
        }
    }

    /// Changes what is so of `pending`, unless an operator or another process of the agent has done so since it was read.
    private func decide(
        _ pending: PendingActivation, before: (AgentState) -> Void = { _ in }, _ body: (inout AgentState) -> Void
    ) throws(UpdateAgentFault) {
        try change { known throws(UpdateAgentFault) in
            if known.pending == pending { before(known) }
        } _: { state in
            guard state.pending == pending else { return }
            body(&state)
            state.phase = settled(state)
        }
    }

    private func forget(_ pending: PendingActivation, _ what: String) throws(UpdateAgentFault) {
        try decide(pending) { state in
            state.pending = nil
            state.record(HistoryEvent(.noted, version: pending.version, detail: what, at: host.now()))
        }
    }

    /// The version that was tried did not prove itself.
    private func comeBack(from pending: PendingActivation, cause known: String? = nil) throws(UpdateAgentFault) {
        let version = pending.version
        let cause =
            known ?? HealthReport(host.paths.healthReport(of: version))?.cause
            ?? "it did not reach its health checks: panic, hang or power loss"
        let hasJournal = keepJournal(of: version)
        try decide(
            pending,
            before: { known in
                // A power cut must not leave a denied version that boots. One that has tries left here is judged the same again.
                // Where it cannot be done, it is told by who retires what is denied.
                guard known.rollback == nil, !isProving(known) else { return }
                try? giveUp(version)
            }
        ) { state in
            state.pending = nil
            state.good.removeAll { $0 == version }
            state.deny(version, cause: cause, at: host.now())
            var detail = "\(version) did not prove itself in \(pending.tries) tries; back on \(running)"
            if hasJournal { detail += "; the end of its journal is in \(host.paths.journal(of: version))" }
            var event = HistoryEvent(.rolledBack, version: version, detail: detail, at: host.now())
            event.cause = cause
            state.record(event)
            state.failed = FailedVersion(version: version, cause: cause)
        }
    }

    /// Takes the tries that `version` has left, which it failed all the same.
    private func giveUp(_ version: String) throws(BootControlFault) {
        let entries = try bootEntries()
        guard case .trying(_, let done)? = try entries.entry(of: version)?.name.standing else { return }
        try entries.setStanding(.bad(done: max(done, 1)), of: version)
    }

    /// - Returns: whether there is a journal of a boot of `version`.
    private func keepJournal(of version: String) -> Bool {
        let path = host.paths.journal(of: version)
        if path.exists { return true }
        // The slot's GUIDs are the halves of the root hash that its kernel was given.
        let slots = try? host.slots().slots()
        guard let slot = slots?.first(where: { $0.version(of: settings.product) == version }) else { return false }
        let rootHash = (slot.rootUUID + slot.verityUUID).filter { $0 != "-" }.lowercased()
        let lines = host.journal(rootHash)
        guard !lines.isEmpty else { return false }
        try? path.removingLastComponent().makeDirectories()
        return (try? path.replaceContents(with: lines)) != nil
    }

    /// Where systemd-bless-boot could not take the counter off the entry of what runs, this does: a version that is noted as
    /// good and still loses tries would be left by the loader one day.
    private func bless() throws(UpdateAgentFault) {
        guard host.isBootCounted(), try state.read().denial(of: running) == nil else { return }
        try UpdateAgentFault.booting { () throws(BootControlFault) in
            let entries = try bootEntries()
            guard let entry = try entries.entry(of: running), entry.name.standing != .good else { return }
            try entries.setStanding(.good, of: running)
        }
    }

    /// Notes that what runs has passed its health checks. To be called after boot-complete.target.
    ///
    /// - Returns: what it came to, for the log.
    /// - Throws: where its entry still counts tries and cannot be changed; nothing is noted then.
    public func recordGood() throws(UpdateAgentFault) -> String {
        try bless()
        try? host.paths.healthReport(of: running).removeTree()
        let isNew = try change { state in
            let isPending = state.pending?.version == running
            let isNew = isPending || !state.good.contains(running)
            if isPending { state.pending = nil }
            if state.rollback?.target == running { state.rollback = nil }
            if state.hasFailed(in: host.bootIdentifier) { state.failedBoot = nil }
            state.addGood(running)
            if isNew {
                state.record(
                    HistoryEvent(.proved, version: running, detail: "it has passed its health checks", at: host.now()))
            }
            // What came back from another version says so until this one, or a third, is new here.
            if isNew { state.failed = nil }
            switch state.phase {
            case .checking, .planning, .staging, .staged: break
            case .idle, .available, .waiting, .rebooting, .proving, .good, .rolledBack: state.phase = settled(state)
            }
            return isNew
        }
        try followRollback()
        // Until now what is denied may have been the only way back.
        retireUnwantedOrTell()
        VerdictPort(path: host.paths.verdict).send("boot-complete \(settings.product) \(running)")
        return isNew ? "\(running) has proved itself" : "\(running) is good"
    }
}
