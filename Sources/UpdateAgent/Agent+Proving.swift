import BootControl
public import Fault
import FileIO
import SystemPackage

extension Agent {
    /// Compares what runs with what was to be tried, and draws the consequences. To be called once at the start.
    public func reconcile() throws(UpdateAgentFault) {
        let known = try state.read()
        let entry = known.pending.flatMap { pending in
            (try? bootEntries().entry(of: pending.version))?.name.standing
        }
        let hasReport = known.pending.map { host.paths.healthReport(of: $0.version).exists } ?? false
        let outcome = BootReconciliation.decide(
            pending: known.pending, running: running, bootIdentifier: host.bootIdentifier, entry: entry,
            hasFailureReport: hasReport)
        guard let pending = known.pending else { return try settle(known) }
        switch outcome {
        case .nothing: try settle(known)
        case .waiting: try wait(for: pending)
        case .untried:
            var pending = pending
            pending.bootIdentifier = host.bootIdentifier
            pending.missedBoots += 1
            // A host that reboots for a version that its loader does not take would do so for ever.
            if pending.missedBoots >= pending.tries {
                try comeBack(from: pending, cause: "the boot loader did not start it in \(pending.missedBoots) boots")
            } else {
                try wait(for: pending)
            }
        case .proving: try change { $0.phase = .proving(version: pending.version) }
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
                state.phase = .idle
            case .checking, .available, .waiting, .rebooting, .proving: state.phase = .idle
            case .idle, .good, .rolledBack: break
            }
            state.phase = settled(state)
        }
    }

    private func wait(for pending: PendingActivation) throws(UpdateAgentFault) {
        try change { state in
            state.pending = pending
            state.phase = .waiting(version: pending.version, reason: "it starts with the next reboot")
        }
    }

    private func forget(_ pending: PendingActivation, _ what: String) throws(UpdateAgentFault) {
        try change { state in
            state.pending = nil
            state.record(HistoryEvent(.noted, version: pending.version, detail: what, at: host.now()))
            state.phase = .idle
            state.phase = settled(state)
        }
    }

    /// The version that was tried did not prove itself.
    private func comeBack(from pending: PendingActivation, cause known: String? = nil) throws(UpdateAgentFault) {
        let version = pending.version
        let cause =
            known ?? HealthReport(host.paths.healthReport(of: version))?.cause
            ?? "it did not reach its health checks: panic, hang or power loss"
        let hasJournal = keepJournal(of: version)
        try change { state in
            state.pending = nil
            state.deny(version, cause: cause, at: host.now())
            var detail = "\(version) did not prove itself in \(pending.tries) tries; back on \(running)"
            if hasJournal { detail += "; the end of its journal is in \(host.paths.journal(of: version))" }
            var event = HistoryEvent(.rolledBack, version: version, detail: detail, at: host.now())
            event.cause = cause
            state.record(event)
            state.phase = .rolledBack(version: version, cause: cause)
        }
        // It is denied already; its entry is what the loader has sorted last by itself.
        do throws(UpdateAgentFault) { try retire(version) } catch {
            let text = error.description
            try change { $0.lastError = text }
        }
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

    /// Notes that what runs has passed its health checks. To be called after boot-complete.target.
    ///
    /// - Returns: what it came to, for the log.
    public func recordGood() throws(UpdateAgentFault) -> String {
        try? host.paths.healthReport(of: running).removeTree()
        let isNew = try change { state in
            let isPending = state.pending?.version == running
            let isNew = isPending || !state.good.contains(running)
            if isPending { state.pending = nil }
            state.addGood(running)
            if isNew {
                state.record(
                    HistoryEvent(.proved, version: running, detail: "it has passed its health checks", at: host.now()))
            }
            switch state.phase {
            // What came back from another version says so until something else happens.
            case .rolledBack: if isPending { state.phase = .good(version: running) }
            case .idle, .good, .proving, .rebooting: state.phase = .good(version: running)
            case .waiting(let version, _): if version == running { state.phase = .good(version: running) }
            case .checking, .available, .planning, .staging, .staged: break
            }
            return isNew
        }
        VerdictPort(path: host.paths.verdict).send("boot-complete \(settings.product) \(running)")
        return isNew ? "\(running) has proved itself" : "\(running) is good"
    }
}
