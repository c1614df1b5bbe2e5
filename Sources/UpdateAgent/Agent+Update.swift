import BootControl
import BootLoader
public import Fault
import FileIO
import Release
import Synchronization
import Trust

extension Agent {
    /// Seconds after which what the repository said is asked for again before a version becomes bootable.
    private static let patience: Int64 = 60
    /// How much longer than its time a version may be on probation, in seconds: checks that take their time, an agent that is slow.
    private static let probationGrace: Int64 = 1800

    /// Brings the newest version that this host may take into the other slot and makes the next boot try it.
    public func update(
        hasLeft: @escaping @Sendable () -> Bool = { false }, progress: @escaping @Sendable (UpdateProgress) -> Void
    ) throws(UpdateAgentFault) -> UpdateResult {
        try update(isOperator: true, hasLeft: hasLeft, progress: progress)
    }

    /// - Parameter isOperator: whether a person asked, who does not wait for the ramp of a release.
    package func update(
        isOperator: Bool, hasLeft: @escaping @Sendable () -> Bool = { false },
        progress: @escaping @Sendable (UpdateProgress) -> Void
    ) throws(UpdateAgentFault) -> UpdateResult {
        let outcome = try job(.update, isOperators: isOperator, waits: isOperator, hasLeft: hasLeft, progress: progress)
        {
            job throws(UpdateAgentFault) in .update(try prepare(job))
        }
        guard case .update(var result) = outcome else { throw Self.busy("a check runs already") }
        if settings.reboot == .immediate, let version = result.version, try store.read().pending?.version == version {
            if isOperator || isRestartDue {
                try restart(into: version, &result)
            } else if let hold = live.withLock({ $0.restart.hold }) {
                result.detail += "; the restart is held back by \(hold.text)"
            }
        }
        return result
    }

    /// The host restarts at once where nothing holds that back, and otherwise by itself later.
    private func restart(into version: String, _ result: inout UpdateResult) throws(UpdateAgentFault) {
        do throws(UpdateAgentFault) {
            // Unless it was denied, or the host pinned to another one, in this very moment.
            result.isRebooting = try restart(RestartOrder(wanted: version)).isRebooting
        } catch {
            switch error.code {
            case .held, .busy: result.detail += "; \(error.message)"
            default: throw error
            }
        }
    }

    private func prepare(_ job: JobBoard.Job) throws(UpdateAgentFault) -> UpdateResult {
        let isOperator = job.isOperators
        try judge()
        try noteBlessing()
        try refuseInBetween(isOperator: isOperator)
        let (choice, known) = try asking { () throws(UpdateAgentFault) in
            try choose(ignoresRollout: isOperator)
        }
        // Only now: the version that the host goes back to may have been revoked.
        if let rollback = known.rollback, rollback.from == running {
            let text = "the host goes back to \(rollback.target) with the next reboot"
            if isOperator {
                throw UpdateAgentFault(
                    .denied, text,
                    remedy:
                        "'ballastctl reboot' does that now, 'ballastctl allow \(rollback.from)' takes it back")
            }
            return UpdateResult(
                outcome: .nothing, version: nil, detail: text, bytesFetched: 0, seconds: 0, isRebooting: false)
        }
        guard let release = choice.release else {
            try change { $0.phase = settled($0) }
            return UpdateResult(
                outcome: .nothing, version: nil, detail: choice.reason, bytesFetched: 0, seconds: 0,
                isRebooting: false)
        }
        if known.pending?.version == release.version.description, known.pending?.previous == running,
            try isReady(known.pending)
        {
            try change { $0.phase = settled($0) }
            return UpdateResult(
                outcome: .nothing, version: release.version.description,
                detail: "\(release.version) is ready and starts with the next reboot", bytesFetched: 0, seconds: 0,
                isRebooting: false)
        }
        if !isOperator, settings.reboot == .immediate, let hold = contract.hold(.download, now: host.now) {
            let detail = "\(release.version) is not fetched yet: \(hold.text)"
            try change { state in
                state.phase = settled(state)
                state.reason = detail
            }
            return UpdateResult(
                outcome: .nothing, version: nil, detail: detail, bytesFetched: 0, seconds: 0, isRebooting: false)
        }
        return try bring(release, job)
    }

    /// The entry of what runs loses its counter when the boot is complete. Where that could not be noted then, as on a full
    /// disk, it is now, for else the host would be on trial until it is booted again.
    private func noteBlessing() throws(UpdateAgentFault) {
        let known = try store.read()
        guard isProving(known), known.rollback == nil, known.denial(of: running) == nil else { return }
        if try store.facts().current == .good { _ = try recordGood() }
    }

    /// Whether the loader has tries for what waits.
    func isReady(_ pending: PendingActivation?) throws(UpdateAgentFault) -> Bool {
        guard let pending, case .trying? = try store.facts().entry(pending.sequence)?.name.standing else {
            return false
        }
        return true
    }

    /// An update writes the other slot, so it must be sure which one that is after the next boot, and that nobody needs it.
    private func refuseInBetween(isOperator: Bool) throws(UpdateAgentFault) {
        let known = try store.read()
        if let target = rebootTarget {
            throw UpdateAgentFault(.busy, "the host is rebooting into \(target)", remedy: "wait until it has")
        }
        if !isOperator, live.withLock({ $0.restart.isPreparing }) || isAnotherPreparing {
            throw Self.busy("the host gets ready for a restart", remedy: "wait for its end")
        }
        if isProving(known) {
            throw UpdateAgentFault(
                .busy, "\(running) is still proving itself, and the other slot is the way back",
                remedy: "wait until its health checks have passed")
        }
        // Where nobody watches it, that must not keep the host from a better version for ever.
        if !isOperator, known.probation?.version == running, settings.probation > 0, !settings.health.isEmpty,
            ContinuousClock.now - startTime < .seconds(settings.probation + Self.probationGrace)
        {
            throw UpdateAgentFault(
                .busy, "\(running) is on probation, and the other slot is the way back",
                remedy: "wait for its end, or 'ballastctl update' goes on all the same")
        }
    }

    private func bring(_ release: ReleaseDocument, _ job: JobBoard.Job) throws(UpdateAgentFault) -> UpdateResult {
        let version = release.version.description
        // What waits is what the host gets ready for.
        if live.withLock({ $0.restart.isPreparing }) || isAnotherPreparing {
            throw Self.busy("the host gets ready for a restart", remedy: "wait for its end")
        }
        guard let source else { throw UpdateAgentFault(.unconfigured, "this host has no repository to ask") }
        let asked = (host.now(), ContinuousClock.now)
        job.bring(version)
        defer {
            job.bring(nil)
            live.withLock { $0.isUnwanted = false }
        }
        // What came between the choice and this.
        if let refusal = refusal(of: version, try store.read()) { throw refusal }
        let meter = ProgressMeter(total: release.image.frames.size + release.kernel.size) { [weak self] value in
            job.tell(value)
            self?.notify()
        }
        do throws(UpdateAgentFault) {
            let (slots, entries) = try UpdateAgentFault.booting { () throws(BootControlFault) in
                (try host.slots(), try store.entries())
            }
            var outcome: HostEvent?
            try SlotUpdate(
                release: release, source: source, slots: slots, entries: entries, running: running,
                stagingPath: host.paths.staging, checkpoint: checkpoint,
                observer: SlotUpdate.Observer(
                    enter: { phase throws(UpdateAgentFault) in
                        try self.enter(phase)
                        meter.enter(phase)
                    },
                    clear: { () throws(UpdateAgentFault) in try self.clear(for: version) },
                    isCancelled: { self.isGivenUp },
                    advance: { meter.advance(done: $0, fetched: $1) },
                    activate: { kernel, hasFetched throws(UpdateAgentFault) in
                        try self.askAgain(since: asked)
                        var event = HostEvent(hasFetched ? .staged : .activated, version: version, at: self.host.now())
                        event.bytes = meter.fetched
                        event.seconds = meter.seconds
                        outcome = event
                        try self.activate(version, kernel, event)
                    })
            ).run()
            guard let outcome else {
                throw UpdateAgentFault(.system, "\(version) was not activated", remedy: "report this")
            }
            return try finish(outcome)
        } catch let failure {
            let error = (try? store.read()).flatMap { refusal(of: version, $0) } ?? failure
            // Where the failure came after the last step, the version may still boot, and what it comes to must be known.
            let mayBoot = (try? isReady(store.read().pending)) ?? true
            try change { state in
                if state.pending?.version == version, !mayBoot { state.pending = nil }
                if interruption == nil { fail(&state, error, version: version, .update) }
                state.phase = settled(state)
            }
            throw interruption ?? error
        }
    }

    private func enter(_ phase: AgentPhase) throws(UpdateAgentFault) {
        try change { $0.phase = phase }
    }

    /// From now on nothing but the version that runs can boot, and the other slot may be written with `version`.
    private func clear(for version: String) throws(UpdateAgentFault) {
        try decide(clearing: true) { state, _ throws(UpdateAgentFault) in
            try refuseActivation(of: version, state)
            state.pending = nil
        }
    }

    /// Makes `version` what the next boot tries. Who denies it comes before this, and it does not boot, or after it, and takes its
    /// entry back.
    private func activate(
        _ version: String, _ kernel: KernelName, _ event: HostEvent
    ) throws(UpdateAgentFault) {
        // What earlier attempts of the same version left would be taken for this one's.
        try? host.paths.healthReport(of: version).removeTree()
        try? host.paths.journal(of: version).removeTree()
        try? host.paths.leaving(of: version).removeTree()
        try decide(kernel: kernel) { state, facts throws(UpdateAgentFault) in
            try refuseActivation(of: version, state)
            state.pending = PendingActivation(
                version: version, sequence: facts.map { BootPolicy.nextSequence(state, $0) } ?? 1, previous: running,
                tries: settings.tries, bootIdentifier: host.bootIdentifier)
            // With it, for this process may be killed after it.
            state.pending?.event = event
            state.phase = settled(state)
        }
    }

    /// What an operator may have decided since the update began.
    private func refuseActivation(of version: String, _ state: AgentState) throws(UpdateAgentFault) {
        if let refusal = refusal(of: version, state) { throw refusal }
        guard let rollback = state.rollback else { return }
        throw UpdateAgentFault(
            .denied, "\(version) is not taken: the host goes back to \(rollback.target) with the next reboot",
            remedy: "'ballastctl allow \(rollback.from)' takes that back")
    }

    /// After a download that took long the repository is asked once more: what it revokes meanwhile does not boot.
    private func askAgain(
        since asked: (time: UTCTime, instant: ContinuousClock.Instant)
    ) throws(UpdateAgentFault) {
        // By either clock: one may have been set meanwhile.
        let seconds = max(
            abs(host.now().seconds - asked.time.seconds), (ContinuousClock.now - asked.instant).components.seconds)
        guard seconds >= Self.patience, let source else { return }
        let repository: TrustedRepository
        do throws(UpdateAgentFault) { repository = try source.refresh(isCancelled: { self.isGivenUp }) } catch {
            // A server that has just given the image away and is silent now says nothing against it.
            if error.code == .transfer { return }
            throw error
        }
        _ = try noteRevocations(among: ReleaseEntry.all(in: repository.targets))
    }

    /// Why `version` must not become bootable here, or nil.
    func refusal(of version: String, _ state: AgentState) -> UpdateAgentFault? {
        if let denial = state.denial(of: version) { return Self.denied(denial) }
        if let revoker = state.revoker(of: version) {
            return UpdateAgentFault(.denied, "\(version) is revoked by \(revoker)")
        }
        guard let pinned = state.pinned, !ImageVersion.areEqual(pinned, version) else { return nil }
        return UpdateAgentFault(
            .pinned, "\(version) is not taken: this host is pinned to \(pinned)",
            remedy: "'ballastctl unpin' takes that back")
    }

    static func denied(_ denial: DeniedVersion) -> UpdateAgentFault {
        UpdateAgentFault(
            .denied, "\(denial.version) is denied here: \(denial.cause)",
            remedy: "'ballastctl allow \(denial.version)' takes that back")
    }

    private func finish(_ event: HostEvent) throws(UpdateAgentFault) -> UpdateResult {
        try change { state in
            guard state.pending?.version == event.version else { return }
            state.recordActivation()
            state.lastError = nil
            state.phase = settled(state)
        }
        // An operator may not have wanted it any more since its entry is there, and has taken that back then.
        let known = try store.read()
        if let refusal = refusal(of: event.version, known) { throw refusal }
        guard known.pending?.version == event.version else {
            throw UpdateAgentFault(
                .denied,
                "\(event.version) does not start with the next reboot: for a moment it was not wanted here",
                remedy: "'ballastctl update' makes it start")
        }
        return UpdateResult(
            outcome: event.kind == .staged ? .staged : .activated, version: event.version, detail: event.detail,
            bytesFetched: event.bytes ?? 0, seconds: event.seconds ?? 0, isRebooting: false)
    }
}
