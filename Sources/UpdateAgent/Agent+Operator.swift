import BootControl
import BootLoader
public import Fault
import FileIO
import Release
import Synchronization
import Trust

extension Agent {
    /// Makes the next boot that of the other slot's version, and denies the one that runs.
    public func rollback(reboot: Bool, force: Bool) throws(UpdateAgentFault) -> ActionResult {
        let slot = try slotView().other
        let bringing = jobs.current?.version
        var before: AgentState?
        var order: PendingRollback?
        var result: ActionResult
        do throws(UpdateAgentFault) {
            result = try decide { state, facts throws(UpdateAgentFault) in
                guard let facts else { throw UpdateAgentFault(.storage, "the boot entries cannot be read") }
                let known = state
                let target = try rollbackTarget(state, facts, slot: slot, bringing: bringing)
                order = rollBack(to: target, .operators, cause: nil, &state, facts)
                before = known
                state.noteSuccess(.rollback)
                return ActionResult(
                    "the next boot is that of \(target); \(running) is denied here until 'ballastctl allow \(running)'",
                    version: target)
            }
        } catch {
            if let before, let order { try? forget(order, before, error) }
            throw error
        }
        if reboot {
            do throws(UpdateAgentFault) {
                _ = try self.reboot(force: force)
                result.isRebooting = true
            } catch {
                // Who is told that the host is busy asks again, which changes nothing of the rollback.
                guard error.code == .held else { throw error }
                result.detail += "; \(error.message); 'ballastctl reboot' tries again, and with --force passes over it"
            }
        }
        return result
    }

    /// - Returns: the order, where there was none like it.
    ///
    /// - Parameter cause: what keeps what runs from staying; nil where an operator goes back.
    @discardableResult
    func rollBack(
        to target: String, _ kind: FailureKind, cause: String?, _ state: inout AgentState, _ facts: BootFacts
    ) -> PendingRollback? {
        defer { state.phase = settled(state) }
        guard state.rollback?.target != target || state.rollback?.from != running else { return nil }
        var order = PendingRollback(target: target, from: running, sequence: BootPolicy.nextSequence(state, facts))
        order.bootIdentifier = host.bootIdentifier
        if cause != nil { order.decidingBoot = host.bootIdentifier }
        state.pending = nil
        state.rollback = order
        if kind.isFair {
            state.deny(running, kind, cause: cause ?? "an operator went back from it to \(target)", at: host.now())
        } else {
            state.judge(running, kind, cause: cause ?? "", at: host.now())
        }
        var event = HostEvent(
            cause == nil ? .rollback : .rolledBack, version: running, other: target, cause: cause, at: host.now())
        event.retryTime = state.setback(of: running)?.retryTime
        event.failure = cause == nil ? nil : kind
        state.record(event)
        if let cause { state.failed = FailedVersion(version: running, cause: cause) }
        // What it failed some other time is not what it fails in this trial.
        try? host.paths.healthReport(of: target).removeTree()
        try? host.paths.leaving(of: target).removeTree()
        return order
    }

    /// An order that cannot be carried out is not one that waits; but where it may have been carried out all the same, it is.
    private func forget(
        _ order: PendingRollback, _ before: AgentState, _ fault: UpdateAgentFault
    ) throws(UpdateAgentFault) {
        try decide { state, _ in
            guard state.rollback == order else { return }
            state.rollback = before.rollback
            state.pending = before.pending
            state.denied.removeAll { $0.version == running }
            state.denied += before.denied.filter { $0.version == running }
            fail(&state, fault, version: order.target, .rollback)
            state.phase = settled(state)
        }
    }

    /// The other slot's version, if it was good here.
    func rollbackTarget(
        _ known: AgentState, _ facts: BootFacts, slot: String, bringing: String?
    ) throws(UpdateAgentFault) -> String {
        func refuse(_ what: String) -> UpdateAgentFault {
            UpdateAgentFault(.nothingGood, "there is nothing good to go back to: slot \(slot) \(what)")
        }
        guard case .version(let version) = facts.other else {
            throw refuse(bringing.map { "is being written with \($0)" } ?? "is empty")
        }
        if let denial = known.denial(of: version) { throw refuse("holds \(version), denied here: \(denial.cause)") }
        if let revoker = known.revoker(of: version) { throw refuse("holds \(version), which \(revoker) revokes") }
        guard let entry = facts.entries(of: version).first?.name.standing else {
            throw refuse("holds \(version), which has no boot entry")
        }
        guard known.isProved(version, entry: entry) else {
            throw refuse("holds \(version), which has not proved itself here")
        }
        guard known.pending?.version != version else { throw refuse("holds \(version), which waits for its own trial") }
        return version
    }

    func validated(_ version: String) throws(UpdateAgentFault) -> String {
        do throws(ReleaseFault) { return try ImageVersion(version).description } catch {
            throw UpdateAgentFault(.invalid, error.message, remedy: error.remedy)
        }
    }

    /// Takes no other version than `version` from now on.
    public func pin(_ version: String) throws(UpdateAgentFault) -> ActionResult {
        let version = try validated(version)
        let isPassedOver = passedOver(by: version, try store.read()) != nil
        try decide(isPassedOver ? .everything : .whatIsPossible) { state, _ in
            if let pending = passedOver(by: version, state) {
                state.pending = nil
                state.record(
                    HostEvent(
                        .withdrawn, version: pending, cause: "this host is pinned to \(version)", at: host.now()))
                state.phase = settled(state)
            }
            guard state.pinned != version else { return }
            state.pinned = version
            state.extra["pinned"] = nil
            state.record(HostEvent(.pinned, version: version, at: host.now()))
        }
        try reviewDownload()
        var text = "pinned to \(version)"
        let order = ImageVersion.compare(version, running)
        if order < 0 {
            text += ", which is older than \(running): the host stays on what it runs; 'ballastctl rollback' goes back"
        }
        return ActionResult(text, version: version)
    }

    /// The version that waits for its first boot and does not get it on a host that is pinned to `version`.
    private func passedOver(by version: String, _ state: AgentState) -> String? {
        guard let pending = state.pending?.version, pending != running, !ImageVersion.areEqual(pending, version) else {
            return nil
        }
        return pending
    }

    /// Takes the newest version again.
    public func unpin() throws(UpdateAgentFault) -> ActionResult {
        let pinned = try change { state -> String? in
            guard let pinned = state.pinned else { return nil }
            state.pinned = nil
            state.extra["pinned"] = nil
            state.record(HostEvent(.unpinned, version: pinned, at: host.now()))
            return pinned
        }
        try reviewDownload()
        return ActionResult(pinned.map { "no longer pinned to \($0)" } ?? "this host was not pinned", version: pinned)
    }

    /// Never takes `version` until it is allowed again.
    public func deny(_ version: String, reason: String?) throws(UpdateAgentFault) -> ActionResult {
        let version = try validated(version)
        guard !ImageVersion.areEqual(version, running) else {
            throw UpdateAgentFault(
                .invalid, "\(version) is what runs here",
                remedy: "'ballastctl rollback' goes back from it and denies it")
        }
        let cause =
            reason.flatMap { $0.isEmpty ? nil : $0.excerpt(limit: AgentState.causeLimit) } ?? "an operator denied it"
        // What waits for its first boot is not denied as long as it would boot all the same.
        let isPending = try store.read().pending.map { ImageVersion.areEqual($0.version, version) } ?? false
        try decide(isPending ? .everything : .whatIsPossible) { state, _ throws(UpdateAgentFault) in
            if let rollback = state.rollback, ImageVersion.areEqual(rollback.target, version) {
                throw UpdateAgentFault(
                    .invalid, "\(version) is what this host goes back to with the next reboot",
                    remedy: "'ballastctl allow \(rollback.from)' takes that back")
            }
            state.deny(version, .operators, cause: cause, at: host.now())
            if let pending = state.pending?.version, ImageVersion.areEqual(pending, version) {
                state.pending = nil
                state.phase = settled(state)
            }
            state.record(HostEvent(.denied, version: version, cause: cause, at: host.now()))
        }
        try reviewDownload()
        return ActionResult("\(version) is denied here: \(cause)", version: version)
    }

    /// Ends the download of what is not wanted any more, or lets it go on where it has not ended yet.
    private func reviewDownload() throws(UpdateAgentFault) {
        guard let version = jobs.current?.version else { return }
        let isUnwanted = refusal(of: version, try store.read()) != nil
        live.withLock { live in
            if jobs.current?.version == version { live.isUnwanted = isUnwanted }
        }
    }

    /// Takes back that `version` is denied.
    public func allow(_ version: String) throws(UpdateAgentFault) -> ActionResult {
        let version = try validated(version)
        let rollback = try decide(.whatIsPossible) { state, facts throws(UpdateAgentFault) in
            if let rollback = state.rollback, rollback.from == running, ImageVersion.areEqual(running, version) {
                try takeBack(rollback, &state, facts)
                return Optional(rollback)
            }
            guard state.denial(of: version) != nil || state.setback(of: version) != nil else {
                throw UpdateAgentFault(.notFound, "\(version) is not denied here")
            }
            allow(version, in: &state)
            return nil
        }
        try reviewDownload()
        guard let rollback else { return ActionResult("\(version) may be taken again", version: version) }
        return ActionResult(
            "\(running) may be taken again and stays; the rollback to \(rollback.target) is taken back",
            version: rollback.from)
    }

    private func allow(_ version: String, in state: inout AgentState) {
        state.denied.removeAll { ImageVersion.areEqual($0.version, version) }
        state.setbacks.removeAll { ImageVersion.areEqual($0.version, version) }
        state.record(HostEvent(.allowed, version: version, at: host.now()))
        if let failed = state.failed?.version, ImageVersion.areEqual(failed, version) { state.failed = nil }
        switch state.phase {
        case .rolledBack, .waiting: state.phase = settled(state)
        case .idle, .checking, .available, .planning, .staging, .staged, .rebooting, .proving, .good, .unknown: break
        }
    }

    /// A rollback before its reboot: the version that runs stays.
    private func takeBack(
        _ rollback: PendingRollback, _ state: inout AgentState, _ facts: BootFacts?
    ) throws(UpdateAgentFault) {
        guard facts != nil else {
            throw UpdateAgentFault(
                .storage, "the boot entries cannot be read, so the rollback to \(rollback.target) stands")
        }
        guard state.good.contains(rollback.from) else {
            throw UpdateAgentFault(
                .denied, "the host goes back to \(rollback.target), and \(rollback.from) has not proved itself here",
                remedy: "allow it after the reboot")
        }
        state.rollback = nil
        allow(rollback.from, in: &state)
    }
}
