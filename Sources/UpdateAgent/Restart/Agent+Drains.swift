import Fault
import FileIO
import Synchronization
import SystemPackage
import Trust

// What is done before a restart, and undone after it.
extension Agent {
    /// Seconds until it undoes again what could not be undone.
    private static let undoPauses: [Int64] = [30, 60, 120, 300]

    /// Runs a drain. What it does has to be undone from now on, also where it fails.
    func prepare(_ preparation: Preparation) throws(UpdateAgentFault) {
        live.withLock { live in
            live.restart.doing = RestartHold.label(.drain, preparation.name)
            live.restart.hasDrained = true
        }
        let start = ContinuousClock.now
        // First, for a power cut in the midst of it leaves something to be undone, too.
        try change { state in
            state.prepared.removeAll { $0 == preparation }
            state.prepared.append(preparation)
            state.noteSuccess(.undrain, step: preparation.name)
        }
        do throws(UpdateAgentFault) { try host.startUnit(preparation.unit, preparation.timeout) } catch {
            let fault = UpdateAgentFault(
                .held, "the restart is held back by drain '\(preparation.name)': \(error.message)",
                remedy: error.remedy ?? "'ballastctl reboot --force' passes over it")
            live.withLock {
                $0.restart.hold = RestartHold(kind: .drain, name: preparation.name, reason: error.message)
            }
            try change { state in fail(&state, fault, version: next(state), .drain, step: preparation.name) }
            throw fault
        }
        try change { state in
            state.noteSuccess(.drain, step: preparation.name)
            var event = HostEvent(.drained, version: next(state), at: host.now())
            event.step = preparation.name
            event.seconds = (ContinuousClock.now - start).components.seconds
            state.record(event)
        }
    }

    /// Undoes what was done before a restart, in the other order. What cannot be undone is tried again.
    ///
    /// - Parameter isAbandoned: whether there is no restart after all.
    func undoPreparations(isAbandoned: Bool) throws(UpdateAgentFault) {
        guard rebootTarget == nil else { return }
        let known = try store.read()
        if isAbandoned, known.outage != nil { try store.change { $0.outage = nil } }
        guard !known.prepared.isEmpty, isAbandoned || hasProved(known) else { return }
        for preparation in known.prepared.reversed() {
            var isUndone = false
            do throws(UpdateAgentFault) { isUndone = try undo(preparation) } catch {
                try change { state in fail(&state, error, version: running, .undrain, step: preparation.name) }
                // Nothing will ever undo it where nobody knows how.
                guard error.code == .notFound else { continue }
            }
            let isEvent = isUndone
            try change { state in
                state.prepared.removeAll { $0 == preparation }
                state.noteSuccess(.undrain, step: preparation.name)
                guard isEvent else { return }
                var event = HostEvent(.undrained, version: running, at: host.now())
                event.step = preparation.name
                state.record(event)
            }
        }
    }

    /// Whether the health checks have passed in this boot.
    private func hasProved(_ state: AgentState) -> Bool {
        state.provedBoot == host.bootIdentifier && !host.bootIdentifier.isEmpty && !isProving(state)
    }

    /// - Returns: whether there was something to undo.
    /// - Throws: `notFound` where the image has no unit for it, and nobody knows what that ran.
    private func undo(_ preparation: Preparation) throws(UpdateAgentFault) -> Bool {
        live.withLock { $0.restart.doing = "\(RestartHold.label(.drain, preparation.name)) is undone" }
        defer { live.withLock { $0.restart.doing = nil } }
        // A drain that is still at it, for its time was over or the agent was stopped, must not end after it was undone.
        try host.stopUnit(preparation.unit)
        guard let undo = preparation.undo else { return false }
        do throws(UpdateAgentFault) { try host.startUnit(undo, preparation.timeout) } catch {
            guard error.code == .notFound, let command = preparation.undoCommand else { throw error }
            // This image's maker has taken the drain out, or an older image has not had it.
            try host.runCommand(command, preparation.timeout)
        }
        return true
    }

    /// Undoes what an earlier restart has left.
    func tidyUp(_ known: AgentState) throws(UpdateAgentFault) {
        // A restart that did not come.
        if let outage = known.outage, outage.bootIdentifier == host.bootIdentifier, !isAnotherPreparing,
            host.now().seconds - outage.since.seconds > Self.startPause
        {
            try store.change { state in
                if state.outage == outage { state.outage = nil }
            }
        }
        let isDue = live.withLock { $0.restart.nextUndo.map { .now >= $0 } ?? true }
        // Another process may be at it.
        guard !known.prepared.isEmpty, isDue else { return }
        if !hasProved(known) {
            guard known.hasFailed(in: host.bootIdentifier) else { return }
            // Its checks did not hold, and it stays: they may hold by now.
            live.withLock { $0.restart.nextUndo = .now + .seconds(Self.undoPauses[Self.undoPauses.count - 1]) }
            look()
            guard hasProved(try store.read()) else { return }
        }
        guard let lock = try restartLock() else { return }
        defer { withExtendedLifetime(lock) {} }
        try undoPreparations(isAbandoned: false)
        let isDone = try store.read().prepared.isEmpty
        live.withLock { live in
            live.restart.undoFailures = isDone ? 0 : min(live.restart.undoFailures + 1, Self.undoPauses.count)
            live.restart.nextUndo = isDone ? nil : .now + .seconds(Self.undoPauses[live.restart.undoFailures - 1])
        }
    }

    /// The lock of whoever drains or undoes it, or nil where another process has it.
    func restartLock() throws(UpdateAgentFault) -> FileLock? {
        do throws(FileIOFault) {
            try host.paths.state.makeDirectories()
            return try FileLock.ifFree(host.paths.state.appending("restart.lock"))
        } catch {
            throw UpdateAgentFault(.state, "the agent's state cannot be kept", cause: error)
        }
    }

    /// Whether another process of the agent drains.
    var isAnotherPreparing: Bool { (try? FileLock.isHeld(host.paths.state.appending("restart.lock"))) ?? false }
}
