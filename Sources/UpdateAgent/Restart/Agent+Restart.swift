import BootControl
import BootLoader
public import Fault
import FileIO
public import JSON
import Synchronization
import SystemPackage
import Trust

/// Who wants a restart, and of what.
struct RestartOrder {
    /// The version without which the host need not restart; nil where it does in any case.
    var wanted: String?
    /// Whether nothing is asked and done before.
    var isForced = false
    /// Whether a person asked.
    var isOperators = false
}

/// How far a restart is, as long as this process is there.
struct LiveRestart {
    /// What held the last attempt back.
    var hold: RestartHold?
    /// Whether one is being got ready for.
    var isPreparing = false
    /// What is being done for it.
    var doing: String?
    /// Whether the last attempt has drained.
    var hasDrained = false
    /// When the next attempt is made.
    var nextAttempt: ContinuousClock.Instant?
    /// When what could not be undone is tried again.
    var nextUndo: ContinuousClock.Instant?
    /// What was said in the log the last time.
    var lastLogged = ""
    /// When the agent itself was asked to start anew.
    var agentStarted: ContinuousClock.Instant?
    /// How often in a row something held the restart back.
    var holds = 0
    /// How often in a row a drain did not succeed.
    var drainFailures = 0
    /// How often in a row something could not be undone.
    var undoFailures = 0
}

/// What waits for a restart, and what holds that back.
public struct RestartStatus: Sendable, Hashable {
    /// What has to be started anew.
    public var plan: RestartPlan
    /// What held the last attempt back.
    public var hold: RestartHold?
    /// What is being done for it now.
    public var doing: String?
    /// What was done for it and has not been undone yet.
    public var drained: [String]

    /// `{"kind", "version", "units", "held_by", "doing", "drained"}`.
    public var json: JSONValue {
        var version = JSONValue.null
        var units: [JSONValue] = []
        switch plan {
        case .none: break
        case .units(let names): units = names.map { .string($0) }
        case .full(let next): version = .string(next)
        }
        return [
            "kind": .string(plan.name), "version": version, "units": .array(units), "held_by": hold?.json ?? .null,
            "doing": doing.map { .string($0) } ?? .null, "drained": .array(drained.map { .string($0) }),
        ]
    }
}

extension Agent {
    /// Seconds until the host asks again by itself whether something still holds a restart back, the first time and later.
    private static let askPauses: [Int64] = [60, 60, 60, 120, 120, 300]
    /// Seconds until it drains again.
    private static let drainPauses: [Int64] = [300, 900, 1800, 3600]
    /// How long one look at all checks may take, in seconds.
    private static let lookSeconds = 60
    /// Seconds until the agent asks again to be started anew.
    static let startPause: Int64 = 900
    private static let lookUnit = "ballast-look.service"
    private static let ownUnit = "ballastd.service"

    /// Reboots the host, when it has got ready for that.
    public func reboot(force: Bool) throws(UpdateAgentFault) -> ActionResult {
        try restart(RestartOrder(isForced: force, isOperators: true))
    }

    /// The version that the next boot brings.
    func next(_ state: AgentState) -> String {
        state.rollback.flatMap { $0.from == running ? $0.target : nil } ?? state.pending?.version ?? running
    }

    func restartStatus(_ state: AgentState) -> RestartStatus {
        let live = live.withLock { $0.restart }
        let plan = RestartPlan.cheapest(
            running: running, next: next(state), changedUnits: haveSettingsChanged() ? [Self.ownUnit] : [])
        return RestartStatus(plan: plan, hold: live.hold, doing: live.doing, drained: state.prepared.map(\.name))
    }

    // MARK: The way down

    /// Restarts the host: asks all that may hold it back, does what is to be done before, and asks systemd. Holds neither the lock of the
    /// state nor that of jobs meanwhile.
    func restart(_ order: RestartOrder) throws(UpdateAgentFault) -> ActionResult {
        if order.isForced {
            // Nobody looks since when nothing answers: that takes its time where checks hang. Nor does it depend on what can be kept.
            if order.isOperators { try? store.change { $0.outage = nil } }
            return try shutDown(order)
        }
        let lock = try begin()
        defer { end(lock) }
        do throws(UpdateAgentFault) {
            let result = try attempt(order)
            scheduleAttempt(after: nil)
            return result
        } catch {
            scheduleAttempt(after: error)
            throw error
        }
    }

    private func attempt(_ order: RestartOrder) throws(UpdateAgentFault) -> ActionResult {
        live.withLock { $0.restart.hasDrained = false }
        try store.change { $0.outage = nil }
        if let hold = contract.hold(.restart, now: host.now) { throw try noteHold(hold, order) }
        live.withLock { $0.restart.hold = nil }
        let preparations = contract.preparations
        // What is drained does not answer any more.
        if !preparations.isEmpty { look() }
        for preparation in preparations {
            guard isStillWanted(order) else { break }
            do throws(UpdateAgentFault) { try prepare(preparation) } catch {
                try? undoPreparations(isAbandoned: true)
                throw error
            }
        }
        if isStopping { throw Self.stopping }
        if let target = rebootTarget {
            // Somebody did not wait for the drains.
            return ActionResult("rebooting into \(target)", version: target, isRebooting: true)
        }
        if !preparations.isEmpty, let hold = contract.hold(.restart, isAgain: true, now: host.now) {
            try? undoPreparations(isAbandoned: true)
            throw try noteHold(hold, order)
        }
        look()
        do throws(UpdateAgentFault) {
            let result = try shutDown(order)
            if !result.isRebooting { try undoPreparations(isAbandoned: true) }
            return result
        } catch {
            try? undoPreparations(isAbandoned: true)
            throw error
        }
    }

    /// Makes this the one restart that is being got ready for, in this process and in all of the agent.
    private func begin() throws(UpdateAgentFault) -> FileLock {
        let doing = live.withLock { live -> String? in
            guard !live.restart.isPreparing else { return live.restart.doing ?? "its gates are asked" }
            live.restart.isPreparing = true
            return nil
        }
        let remedy = "wait for its end, or pass over it with 'ballastctl reboot --force'"
        if let doing { throw Self.busy("a restart is being got ready for: \(doing)", remedy: remedy) }
        do throws(UpdateAgentFault) {
            guard let lock = try restartLock() else {
                throw Self.busy("another process of the agent gets ready for a restart", remedy: remedy)
            }
            return lock
        } catch {
            live.withLock { $0.restart.isPreparing = false }
            throw error
        }
    }

    private func end(_ lock: FileLock) {
        withExtendedLifetime(lock) {}
        live.withLock { live in
            live.restart.isPreparing = false
            live.restart.doing = nil
        }
        notify()
    }

    private func isStillWanted(_ order: RestartOrder) -> Bool {
        guard rebootTarget == nil, !isStopping else { return false }
        guard let wanted = order.wanted, let state = try? store.read() else { return true }
        return next(state) == wanted
    }

    /// Keeps what holds a restart back; the same again and again is one event.
    private func noteHold(_ hold: RestartHold, _ order: RestartOrder) throws(UpdateAgentFault) -> UpdateAgentFault {
        let before = live.withLock { live in
            defer { live.restart.hold = hold }
            return live.restart.hold
        }
        try change { state in
            if before?.kind != hold.kind || before?.name != hold.name {
                var event = HostEvent(.held, version: next(state), cause: hold.reason, at: host.now())
                event.step = hold.label
                state.record(event)
            }
            if jobs.current == nil { state.phase = settled(state) }
        }
        return UpdateAgentFault(
            .held, "the restart is held back by \(hold.text)",
            remedy: order.isOperators
                ? "try again when it is over, or pass over it with 'ballastctl reboot --force'"
                : "the host tries again by itself")
    }

    /// Notes since when the host does not answer, where all its health checks hold now.
    func look() { try? host.startUnit(Self.lookUnit, Self.lookSeconds) }

    /// Asks for the reboot. What boots next may have been decided anew while the host got ready.
    private func shutDown(_ order: RestartOrder) throws(UpdateAgentFault) -> ActionResult {
        let passed = order.isForced ? passedOver(order) : nil
        do throws(UpdateAgentFault) {
            guard let target = try noteReboot(order, passed) else {
                return ActionResult(
                    "\(order.wanted ?? running) is not wanted any more, so there is no reboot", version: nil)
            }
            try host.reboot()
            let addition = passed.map { "; \($0)" } ?? ""
            return ActionResult("rebooting into \(target)\(addition)", version: target, isRebooting: true)
        } catch {
            live.withLock { $0.rebootAsked = nil }
            try? change { state in
                state.outage = nil
                state.askedReboot = nil
                state.phase = settled(state)
                fail(&state, error, version: running, .reboot)
            }
            throw error
        }
    }

    /// Keeps that the host is about to reboot.
    ///
    /// - Returns: the version that boots next, or nil where that is not what `order` wants.
    private func noteReboot(_ order: RestartOrder, _ passed: String?) throws(UpdateAgentFault) -> String? {
        do throws(UpdateAgentFault) {
            return try decide(.whatIsPossible) { state, _ in
                let target = next(state)
                guard order.wanted == nil || order.wanted == target else { return nil }
                live.withLock { $0.rebootAsked = (target, .now) }
                state.askedReboot = AskedReboot(time: host.now(), bootIdentifier: host.bootIdentifier)
                state.phase = settled(state)
                var event = HostEvent(.restarting, version: target, at: host.now())
                event.restart = RestartPlan.full(version: target).name
                event.cause = passed
                state.record(event)
                return target
            }
        } catch {
            // A host that can keep nothing may need nothing so much as this; but none does it by itself again and again.
            let known = try? store.read()
            let isDeciding = known?.rollback?.decidingBoot == host.bootIdentifier && !host.bootIdentifier.isEmpty
            guard order.isForced, order.isOperators || isDeciding else { throw error }
            let target = known.map { next($0) } ?? running
            live.withLock { $0.rebootAsked = (target, .now) }
            return target
        }
    }

    /// What a forced restart passes over, in words. Nobody is asked: an inhibitor is named where it has held the last attempt back.
    private func passedOver(_ order: RestartOrder) -> String? {
        let isInhibited = live.withLock { $0.restart.hold?.kind == .inhibitor }
        let labels = contract.steps.filter { $0.kind != .inhibitor || isInhibited }.map {
            RestartHold.label($0.kind, $0.name)
        }
        guard !labels.isEmpty else { return nil }
        return "\(order.isOperators ? "an operator" : "the agent") passed over \(labels.joined(separator: ", "))"
    }

    // MARK: By itself

    /// Whether the operator's settings are not those that this process has begun with.
    func haveSettingsChanged() -> Bool { host.overlay() != overlay }

    /// Whether the agent may ask to be started anew.
    var isStartDue: Bool {
        live.withLock { $0.restart.agentStarted.map { .now - $0 > .seconds(Self.startPause) } ?? true }
    }

    /// Starts the agent anew where the operator's settings have changed, so that they count. A job that nobody asked for goes on
    /// afterwards, where it ended, with them.
    private func takeSettings() throws(UpdateAgentFault) -> Bool {
        guard haveSettingsChanged(), jobs.current?.isOperators != true else { return false }
        guard isStartDue else { return false }
        let isFirst = live.withLock { live in
            defer { live.restart.agentStarted = .now }
            return live.restart.agentStarted == nil
        }
        // Before it is asked for, since this process ends by it; and once, where systemd refuses.
        if isFirst {
            try change { state in
                var event = HostEvent(.restarting, version: running, cause: "its settings have changed", at: host.now())
                event.restart = RestartPlan.units([Self.ownUnit]).name
                state.record(event)
            }
        }
        try host.restartAgent()
        return true
    }

    /// Whether the host tries again by itself now.
    var isRestartDue: Bool { live.withLock { $0.restart.nextAttempt.map { .now >= $0 } ?? true } }

    /// Makes the restart that waits, if the policy is to do so, and undoes what an earlier one has left. Called again and again.
    ///
    /// - Parameter log: told what came of it.
    package func tendRestart(log: (String) -> Void) {
        guard !live.withLock({ $0.restart.isPreparing }), rebootTarget == nil, let known = try? store.read(),
            known.askedReboot?.isComing(on: host) != true
        else { return }
        do throws(UpdateAgentFault) { if try takeSettings() { return } } catch { log("\(error)") }
        do throws(UpdateAgentFault) {
            try leaveAgain(known, log: log)
            try tidyUp(known)
            guard settings.reboot == .immediate, jobs.current == nil, let pending = known.pending,
                pending.version != running, pending.previous == running, !isProving(known), known.rollback == nil
            else {
                if next(known) == running { live.withLock { $0.restart.hold = nil } }
                return
            }
            // What this boot could not judge, or the loader would not take, is no reason to reboot again and again.
            guard pending.bootIdentifier == host.bootIdentifier, !host.bootIdentifier.isEmpty, try isReady(pending)
            else { return }
            if isRestartDue { log(try restart(RestartOrder(wanted: pending.version)).detail) }
        } catch {
            guard error.code != .busy else { return }
            let isNew = live.withLock { live in
                defer { live.restart.lastLogged = "\(error)" }
                return live.restart.lastLogged != "\(error)"
            }
            if isNew { log("\(error)") }
        }
    }

    /// Goes on where the agent has decided to go back and the reboot has not come, or was not that of the version to go back to: power may
    /// have been cut before that had its entry. Such a boot has to be counted, and the entry to be there: a host that can write neither
    /// would reboot for ever.
    private func leaveAgain(_ known: AgentState, log: (String) -> Void) throws(UpdateAgentFault) {
        guard let rollback = known.rollback, rollback.from == running, let boot = rollback.decidingBoot, !boot.isEmpty,
            isRestartDue
        else { return }
        if boot != host.bootIdentifier {
            let standing = try store.facts().entry(rollback.sequence)?.name.standing
            guard rollback.bootIdentifier == host.bootIdentifier, case .trying? = standing else { return }
        }
        do throws(UpdateAgentFault) { log(try restart(RestartOrder(isForced: true)).detail) } catch {
            scheduleAttempt(after: error)
            throw error
        }
    }

    /// When the host tries again by itself: when what holds the restart back says, or after a pause. What is drained is not drained and
    /// undone again every few minutes.
    private func scheduleAttempt(after fault: UpdateAgentFault?) {
        live.withLock { live in
            guard fault != nil else {
                (live.restart.holds, live.restart.drainFailures, live.restart.nextAttempt) = (0, 0, nil)
                return
            }
            let pause: Int64
            if let hold = live.restart.hold, !live.restart.hasDrained {
                live.restart.holds = min(live.restart.holds + 1, Self.askPauses.count)
                let longest = Self.askPauses[live.restart.holds - 1]
                // Not later than it opens; a clock that is set must not make a host wait for days.
                pause = hold.until.map { min(max($0.seconds - host.now().seconds, 1), longest) } ?? longest
            } else {
                live.restart.drainFailures = min(live.restart.drainFailures + 1, Self.drainPauses.count)
                pause = Self.drainPauses[live.restart.drainFailures - 1]
            }
            live.restart.nextAttempt = .now + .seconds(pause)
        }
    }
}
