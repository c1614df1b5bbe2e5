public import Fault
import FileIO
import Release
import Synchronization
import Terminal
import Trust

extension Agent {
    /// Asks the repository, and says what the host would take and why.
    public func check() throws(UpdateAgentFault) -> CheckResult {
        try job("check") { () throws(UpdateAgentFault) in
            let (choice, _) = try asking { () throws(UpdateAgentFault) in try choose(ignoresRollout: false) }
            let slots = live.withLock { $0.slots }
            try change { state in
                state.phase = settled(state)
                // A version that still has to prove itself is what matters until it has.
                if let release = choice.release, !isProving(state), state.pending == nil {
                    state.phase = .available(version: release.version.description)
                }
            }
            let available = choice.release?.version.description
            return CheckResult(
                running: running, available: available, reason: choice.reason, notes: choice.release?.notes,
                downloadSize: choice.release.map { $0.image.frames.size + $0.kernel.size },
                isInOtherSlot: available != nil && slots?.otherVersion == available)
        }
    }

    /// Does `body` in the state `checking`, and keeps its failure.
    func asking<Result>(_ body: () throws(UpdateAgentFault) -> Result) throws(UpdateAgentFault) -> (Result, AgentState)
    {
        let before = try change { state in
            let before = state
            state.phase = .checking
            return before
        }
        do throws(UpdateAgentFault) {
            let result = try body()
            let after = try state.change { state in
                state.phase = before.phase
                return state
            }
            return (result, after)
        } catch {
            try change { state in
                state.phase = before.phase
                state.phase = settled(state)
                fail(&state, error, version: "", doing: "the repository could not be asked")
            }
            throw error
        }
    }

    /// What is published and what of it is for this host.
    func choose(ignoresRollout: Bool) throws(UpdateAgentFault) -> ReleaseChoice {
        guard let source else {
            throw UpdateAgentFault(
                .unconfigured, "this host has no repository to ask",
                remedy: "set 'repository' in \(host.paths.overlay), or 'update.url' in the manifest")
        }
        let known = try state.read()
        let repository = try source.refresh()
        let agent: ImageVersion
        do throws(ReleaseFault) { agent = try ImageVersion(ProgramVersion.current) } catch {
            throw UpdateAgentFault(.invalid, "the agent's own version cannot be used", cause: error)
        }
        let conditions = ReleaseChoice.Conditions(
            product: settings.product, architecture: settings.architecture, channel: settings.channel,
            running: host.running, pinned: known.pinned, denied: known.denied, agent: agent, host: host.identifier,
            now: host.now(), ignoresRollout: ignoresRollout)
        let choice = try ReleaseChoice.make(
            among: ReleaseName.releases(in: repository.targets), conditions
        ) { name throws(UpdateAgentFault) in try source.release(name, in: repository) }
        try state.change { state in
            state.lastCheck = host.now()
            state.lastError = nil
            state.reason = choice.release.map { "\($0.version): \(choice.reason)" } ?? choice.reason
        }
        return choice
    }

    /// Whether what runs still has to pass its health checks. Until then the other slot is the way back.
    func isProving(_ state: AgentState) -> Bool {
        state.pending?.version == running || (host.isBootCounted() && !state.good.contains(running))
    }

    /// Where the host is when no job runs.
    func settled(_ state: AgentState) -> AgentPhase {
        if isProving(state) { return .proving(version: running) }
        if let pending = state.pending {
            if case .rebooting = state.phase { return state.phase }
            return .waiting(version: pending.version, reason: "it starts with the next reboot")
        }
        switch state.phase {
        case .good(let version) where version == running: return state.phase
        case .rolledBack: return state.phase
        case .waiting, .rebooting: return state.phase
        case .idle, .checking, .available, .planning, .staging, .staged, .proving, .good:
            return state.good.contains(running) ? .good(version: running) : .idle
        }
    }

    /// Notes a failure; the same one again and again fills no history.
    func fail(_ state: inout AgentState, _ fault: UpdateAgentFault, version: String, doing: String) {
        let text = fault.description
        if state.lastError != text {
            var event = HistoryEvent(.failed, version: version, detail: doing, at: host.now())
            event.cause = text
            state.record(event)
        }
        state.lastError = text
    }
}
