import BootControl
public import Fault
import FileIO
import Release
import Synchronization
import Trust

extension Agent {
    /// Makes the next boot that of the other slot's version, and denies the one that runs.
    public func rollback(reboot: Bool) throws(UpdateAgentFault) -> ActionResult {
        var result = try job("rollback") { () throws(UpdateAgentFault) in
            let target = try rollbackTarget()
            let cause = "an operator went back from it to \(target)"
            let rollback = PendingRollback(target: target, from: running)
            try? host.paths.healthReport(of: target).removeTree()
            // Tries that it used up some other time are not those of this rollback.
            if case .bad(let done)? = live.withLock({ $0.slots?.otherEntry }), done > 0 { try retire(target) }
            let denial = try change { state -> DeniedVersion? in
                if let denial = state.denial(of: target) { return denial }
                state.pending = nil
                if state.rollback != rollback {
                    state.rollback = rollback
                    state.deny(running, cause: cause, at: host.now())
                    state.record(
                        HistoryEvent(
                            .rollback, version: running, detail: "back to \(target); \(running) is denied",
                            at: host.now()))
                }
                state.phase = settled(state)
                return nil
            }
            if let denial { throw Self.denied(denial) }
            try setEntries(for: rollback)
            return ActionResult(
                "the next boot is that of \(target); \(running) is denied here until 'ballastctl allow \(running)'",
                version: target)
        }
        if reboot {
            _ = try self.reboot()
            result.isRebooting = true
        }
        return result
    }

    /// Makes the next boot that of the rollback's target.
    func setEntries(for rollback: PendingRollback) throws(UpdateAgentFault) {
        try UpdateAgentFault.booting { () throws(BootControlFault) in
            let entries = try bootEntries()
            // The target first, so that at no moment there is nothing to boot but what is left. It gets tries, as an update
            // does: where it has decayed since it was good, the host comes back.
            switch try entries.entry(of: rollback.target)?.name.standing {
            case .trying: break
            case .good, .bad, nil:
                try entries.setStanding(.trying(left: settings.tries, done: 0), of: rollback.target)
            }
            // Of two entries without tries the loader takes the newer version's. So one that is newer than its target goes to
            // the end, and comes back from there; an older one comes after its target as it is, and before it once that has
            // no tries left.
            let left: BootEntryName.Standing = rollback.isForward ? .good : .bad(done: 0)
            if try entries.entry(of: rollback.from) != nil { try entries.setStanding(left, of: rollback.from) }
        }
    }

    /// The other slot's version, if it was good here.
    private func rollbackTarget() throws(UpdateAgentFault) -> String {
        let slots = try slotView()
        let known = try state.read()
        func refuse(_ what: String) -> UpdateAgentFault {
            UpdateAgentFault(.nothingGood, "there is nothing good to go back to: slot \(slots.other) \(what)")
        }
        guard let version = slots.otherVersion else { throw refuse("is empty") }
        if let denial = known.denial(of: version) { throw refuse("holds \(version), denied here: \(denial.cause)") }
        if let revoker = known.revoker(of: version) { throw refuse("holds \(version), which \(revoker) revokes") }
        guard let entry = slots.otherEntry else { throw refuse("holds \(version), which has no boot entry") }
        guard known.isProved(version, entry: entry) else {
            throw refuse("holds \(version), which has not proved itself here")
        }
        guard known.pending?.version != version else { throw refuse("holds \(version), which waits for its own trial") }
        return version
    }

    private func validated(_ version: String) throws(UpdateAgentFault) -> String {
        do throws(ReleaseFault) { return try ImageVersion(version).description } catch {
            throw UpdateAgentFault(.invalid, error.message, remedy: error.remedy)
        }
    }

    /// Takes no other version than `version` from now on.
    public func pin(_ version: String) throws(UpdateAgentFault) -> ActionResult {
        let version = try validated(version)
        try change { known throws(UpdateAgentFault) in
            if let pending = passedOver(by: version, known) { try retire(pending) }
        } _: { state in
            if let pending = passedOver(by: version, state) {
                state.pending = nil
                state.record(
                    HistoryEvent(
                        .noted, version: pending, detail: "this host is pinned to \(version), so it does not boot",
                        at: host.now()))
                state.phase = settled(state)
            }
            guard state.pinned != version else { return }
            state.pinned = version
            state.record(
                HistoryEvent(
                    .pinned, version: version, detail: "this host takes \(version) and no other", at: host.now()))
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
            state.record(
                HistoryEvent(.unpinned, version: pinned, detail: "this host takes the newest again", at: host.now()))
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
        let standing = try change { known throws(UpdateAgentFault) in
            // Before the state forgets it: a power cut in between must not leave an entry that boots.
            if let pending = known.pending?.version, ImageVersion.areEqual(pending, version) {
                return try retire(pending)
            }
            guard known.rollback == nil, !isProving(known) else { return }
            // Before any answer, whatever job runs. Where it cannot be done, the denial counts all the same, and what comes
            // below says so.
            try? retireAll { ImageVersion.areEqual($0, version) }
        } _: { state -> PendingRollback? in
            if let rollback = state.rollback, ImageVersion.areEqual(rollback.target, version) { return rollback }
            state.deny(version, cause: cause, at: host.now())
            if let pending = state.pending?.version, ImageVersion.areEqual(pending, version) {
                state.pending = nil
                state.phase = settled(state)
            }
            var event = HistoryEvent(.denied, version: version, detail: "it is not taken from now on", at: host.now())
            event.cause = cause
            state.record(event)
            return nil
        }
        if let rollback = standing {
            throw UpdateAgentFault(
                .invalid, "\(version) is what this host goes back to with the next reboot",
                remedy: "'ballastctl allow \(rollback.from)' takes that back")
        }
        try reviewDownload()
        let isBusy = live.withLock { live in
            live.denials += 1
            return live.job != nil
        }
        // A running job sees at its end that it is denied.
        if !isBusy { try retireUnwanted() }
        return ActionResult("\(version) is denied here: \(cause)", version: version)
    }

    /// Ends the download of what is not wanted any more, or lets it go on where it has not ended yet.
    private func reviewDownload() throws(UpdateAgentFault) {
        guard let version = live.withLock({ $0.bringing }) else { return }
        let isUnwanted = refusal(of: version, try state.read()) != nil
        live.withLock { live in
            if live.bringing == version { live.isUnwanted = isUnwanted }
        }
    }

    /// Makes the entries of what is denied or revoked here the last that are ever booted, that of the running version
    /// excepted. While that still has to prove itself nothing is done: the other one is the way back, whatever it is.
    func retireUnwanted() throws(UpdateAgentFault) {
        try state.change { known throws(UpdateAgentFault) in
            guard !known.denied.isEmpty || !known.revoked.isEmpty, known.rollback == nil, !isProving(known) else {
                return
            }
            try retireAll { known.denial(of: $0) != nil || known.revoker(of: $0) != nil }
        } _: { _ in
        } after: { _ in
        }
    }

    private func retireAll(where isUnwanted: (String) -> Bool) throws(UpdateAgentFault) {
        try UpdateAgentFault.booting { () throws(BootControlFault) in
            let entries = try bootEntries()
            for entry in try entries.list() where entry.name.version != running && isUnwanted(entry.name.version) {
                if case .bad = entry.name.standing { continue }
                try entries.setStanding(.bad(done: 0), of: entry.name.version)
            }
        }
    }

    /// Makes the entry of `version` the last that is ever booted, and one that was never started.
    func retire(_ version: String) throws(UpdateAgentFault) {
        try UpdateAgentFault.booting { () throws(BootControlFault) in
            let entries = try bootEntries()
            if try entries.entry(of: version) != nil { try entries.setStanding(.bad(done: 0), of: version) }
        }
    }

    /// Does so, and where it fails puts it where an operator sees it.
    func retireUnwantedOrTell() {
        do throws(UpdateAgentFault) { try retireUnwanted() } catch {
            let text = "what is denied may still boot: \(error)"
            _ = try? change { $0.lastError = text }
        }
    }

    /// Takes back that `version` is denied.
    public func allow(_ version: String) throws(UpdateAgentFault) -> ActionResult {
        let version = try validated(version)
        if let rollback = try state.read().rollback, rollback.from == running, ImageVersion.areEqual(running, version) {
            return try job("allow") { () throws(UpdateAgentFault) in try takeBack(rollback) }
        }
        let wasDenied = try change { state -> Bool in
            guard state.denial(of: version) != nil else { return false }
            allow(version, in: &state)
            return true
        }
        try reviewDownload()
        guard wasDenied else { throw UpdateAgentFault(.notFound, "\(version) is not denied here") }
        return ActionResult("\(version) may be taken again", version: version)
    }

    private func allow(_ version: String, in state: inout AgentState) {
        state.denied.removeAll { ImageVersion.areEqual($0.version, version) }
        state.record(HistoryEvent(.allowed, version: version, detail: "it may be taken again", at: host.now()))
        if let failed = state.failed?.version, ImageVersion.areEqual(failed, version) { state.failed = nil }
        switch state.phase {
        case .rolledBack, .waiting: state.phase = settled(state)
        case .idle, .checking, .available, .planning, .staging, .staged, .rebooting, .proving, .good: break
        }
    }

    /// A rollback before its reboot: the version that runs stays.
    private func takeBack(_ rollback: PendingRollback) throws(UpdateAgentFault) -> ActionResult {
        guard try state.read().good.contains(rollback.from) else {
            throw UpdateAgentFault(
                .denied, "the host goes back to \(rollback.target), and \(rollback.from) has not proved itself here",
                remedy: "allow it after the reboot")
        }
        try UpdateAgentFault.booting { () throws(BootControlFault) in
            let entries = try bootEntries()
            try entries.setStanding(.good, of: rollback.from)
            // A newer one would boot if it were good.
            let standing: BootEntryName.Standing = rollback.isForward ? .bad(done: 0) : .good
            if try entries.entry(of: rollback.target) != nil { try entries.setStanding(standing, of: rollback.target) }
        }
        try change { state in
            state.rollback = nil
            allow(rollback.from, in: &state)
        }
        return ActionResult(
            "\(rollback.from) may be taken again and stays; the rollback to \(rollback.target) is taken back",
            version: rollback.from)
    }
}
