public import Fault
import FileIO
import Release
import Synchronization
import Terminal
import Trust

extension Agent {
    /// Asks the repository, and says what the host would take and why.
    public func check(
        waits: Bool = true, hasLeft: @escaping @Sendable () -> Bool = { false }
    ) throws(UpdateAgentFault) -> CheckResult {
        let outcome = try job(.check, isOperators: true, waits: waits, hasLeft: hasLeft) { _ throws(UpdateAgentFault) in
            .check(try look())
        }
        guard case .check(let result) = outcome else { throw Self.busy("an update runs already") }
        return result
    }

    private func look() throws(UpdateAgentFault) -> CheckResult {
        let (choice, _) = try asking { () throws(UpdateAgentFault) in try choose(ignoresRollout: false) }
        let slots = live.withLock { $0.slots }
        try change { state in
            state.phase = settled(state)
            guard let release = choice.release else { return }
            switch state.phase {
            case .idle, .good, .rolledBack: state.phase = .available(version: release.version.description)
            // What the next boot brings, and what still has to prove itself, matters more until then.
            case .checking, .available, .planning, .staging, .staged, .waiting, .rebooting, .proving, .unknown:
                break
            }
        }
        let available = choice.release?.version.description
        return CheckResult(
            running: running, available: available, reason: choice.reason, notes: choice.release?.notes,
            downloadSize: choice.release.map { $0.image.frames.size + $0.kernel.size },
            isInOtherSlot: available != nil && slots?.otherVersion == available)
    }

    /// Does `body` in the state `checking`, and keeps its failure.
    func asking<Result>(_ body: () throws(UpdateAgentFault) -> Result) throws(UpdateAgentFault) -> (Result, AgentState)
    {
        try change { $0.phase = .checking }
        /// An operator may have changed what is so while the repository was asked.
        func end(_ state: inout AgentState) {
            if case .checking = state.phase { state.phase = settled(state) }
        }
        do throws(UpdateAgentFault) {
            let result = try body()
            let after = try store.change { state in
                end(&state)
                return state
            }
            return (result, after)
        } catch {
            try change { state in
                end(&state)
                if interruption == nil, !isEarly(error) {
                    fail(&state, error, version: "", .check)
                }
            }
            throw interruption ?? error
        }
    }

    /// Whether the network may not be there yet: then the next attempt is soon, and nothing has failed.
    private func isEarly(_ fault: UpdateAgentFault) -> Bool {
        fault.code == .transfer && ContinuousClock.now - startTime < .seconds(Self.networkPatience)
            && jobs.current?.isOperators != true
    }

    /// How long after its start the agent takes a server that cannot be reached for a network that is not there yet, in seconds.
    private static let networkPatience = 180

    /// What is published and what of it is for this host.
    func choose(ignoresRollout: Bool) throws(UpdateAgentFault) -> ReleaseChoice {
        guard let source else {
            throw UpdateAgentFault(
                .unconfigured, "this host has no repository to ask",
                remedy: "set 'repository' in \(host.paths.overlay), or 'update.url' in the manifest")
        }
        let repository = try source.refresh(isCancelled: { self.isGivenUp })
        let agent: ImageVersion
        do throws(ReleaseFault) { agent = try ImageVersion(ProgramVersion.current) } catch {
            throw UpdateAgentFault(.invalid, "the agent's own version cannot be used", cause: error)
        }
        let releases = ReleaseEntry.all(in: repository.targets)
        let known = try noteRevocations(among: releases)
        let conditions = ReleaseChoice.Conditions(
            product: settings.product, architecture: settings.architecture, channel: settings.channel,
            running: host.running, pinned: known.pinned, denied: known.denied, revoked: known.revoked,
            setbacks: known.setbacks, agent: agent,
            host: host.identifier, now: host.now(), ignoresRollout: ignoresRollout)
        let choice = try ReleaseChoice.make(among: releases, conditions) { name throws(UpdateAgentFault) in
            try source.release(name, in: repository, isCancelled: { self.isGivenUp })
        }
        try store.change { state in
            state.lastCheck = host.now()
            state.lastError = nil
            state.noteSuccess(.check)
            state.reason = choice.release.map { "\($0.version): \(choice.reason)" } ?? choice.reason
        }
        return choice
    }

    /// Keeps which versions are revoked now. One that waits for its first boot does not get it.
    func noteRevocations(among releases: [ReleaseEntry]) throws(UpdateAgentFault) -> AgentState {
        var revoked: [String: String] = [:]
        var reoffers: [String: Int] = [:]
        for release in releases
        where release.name.product == settings.product && release.name.architecture == settings.architecture {
            for version in release.revokes { revoked[version.description] = release.name.version.description }
            if release.reoffers > 0 { reoffers[release.name.version.description] = release.reoffers }
        }
        return try decide(.whatIsPossible) { state, _ in
            state.setRevoked(revoked)
            for version in state.takeReoffers(reoffers) {
                state.record(
                    HostEvent(.allowed, version: version, cause: "its publisher offers it anew", at: host.now()))
                if let failed = state.failed?.version, ImageVersion.areEqual(failed, version) { state.failed = nil }
            }
            if let pending = state.pending, pending.version != running,
                let revoker = revoked.revoker(of: pending.version)
            {
                state.pending = nil
                state.record(
                    HostEvent(
                        .withdrawn, version: pending.version, cause: "it is revoked by \(revoker)", at: host.now()))
            }
            abandonRevokedRollback(&state)
            return state
        }
    }

    /// A rollback that still waits does not go to a version that was revoked meanwhile: what runs stays, and stays denied.
    func abandonRevokedRollback(_ state: inout AgentState) {
        guard let rollback = state.rollback, rollback.from == running, rebootTarget == nil,
            let revoker = state.revoker(of: rollback.target), state.revoker(of: running) == nil,
            state.good.contains(running)
        else { return }
        state.rollback = nil
        state.record(
            HostEvent(
                .rollbackWithdrawn, version: rollback.target, other: running, cause: "it is revoked by \(revoker)",
                at: host.now()))
    }

    /// Whether what runs still has to pass its health checks.
    func isProving(_ state: AgentState) -> Bool {
        BootPolicy.isProving(
            state, running: running, bootIdentifier: host.bootIdentifier, isCounted: host.isBootCounted())
    }

    /// The version into which the host was asked to reboot. Where that has not come after a while, it will not.
    var rebootTarget: String? {
        live.withLock { live in
            guard let asked = live.rebootAsked, ContinuousClock.now - asked.time < .seconds(900) else { return nil }
            return asked.target
        }
    }

    /// Where the host is when no job runs.
    func settled(_ state: AgentState) -> AgentPhase {
        if let target = rebootTarget { return .rebooting(version: target) }
        if let rollback = state.rollback, rollback.from == running {
            return .waiting(version: rollback.target, reason: "rolled back; it starts with the next reboot")
        }
        if isProving(state) { return .proving(version: running) }
        if let pending = state.pending {
            let held = live.withLock { $0.restart.hold }.map { ", which \($0.text) holds back" } ?? ""
            return .waiting(version: pending.version, reason: "it starts with the next reboot" + held)
        }
        if let failed = state.failed { return .rolledBack(version: failed.version, cause: failed.cause) }
        return state.good.contains(running) ? .good(version: running) : .idle
    }

    /// Notes a failure; the same one again and again is one event, until its task succeeds.
    func fail(
        _ state: inout AgentState, _ fault: UpdateAgentFault, version: String, _ task: HostEvent.Task,
        step: String? = nil
    ) {
        let text = fault.description.excerpt(limit: AgentState.sentenceLimit)
        let failure = FailingTask(
            name: FailingTask.name(task, step: step), version: version, code: fault.code.rawValue, text: text,
            time: host.now())
        if state.noteFailure(failure) {
            var event = HostEvent(.failed, version: version, cause: text, at: host.now())
            event.task = task
            event.step = step
            state.record(event)
        }
        state.lastError = text
    }
}
