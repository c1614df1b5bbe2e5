import BootControl
public import Fault
import Release
import Synchronization
import Trust

extension Agent {
    /// Makes the next boot that of the other slot's version, and denies the one that runs.
    public func rollback(reboot: Bool) throws(UpdateAgentFault) -> ActionResult {
        var result = try job("rollback") { () throws(UpdateAgentFault) in
            let target = try rollbackTarget()
            let cause = "an operator went back from it to \(target)"
            try change { state in
                state.deny(running, cause: cause, at: host.now())
                state.pending = nil
                state.record(
                    HistoryEvent(
                        .rollback, version: running, detail: "back to \(target); \(running) is denied", at: host.now()))
                state.phase = .waiting(version: target, reason: "rolled back; it starts with the next reboot")
            }
            // The target first, so that at no moment there is nothing good to boot.
            try UpdateAgentFault.booting { () throws(BootControlFault) in
                let entries = try bootEntries()
                try entries.setStanding(.good, of: target)
                if try entries.entry(of: running) != nil { try entries.setStanding(.bad(done: 0), of: running) }
            }
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

    /// The other slot's version, if it was good here.
    private func rollbackTarget() throws(UpdateAgentFault) -> String {
        let slots = try slotView()
        let known = try state.read()
        func refuse(_ what: String) -> UpdateAgentFault {
            UpdateAgentFault(.nothingGood, "there is nothing good to go back to: slot \(slots.other) \(what)")
        }
        guard let version = slots.otherVersion else { throw refuse("is empty") }
        if let denial = known.denial(of: version) { throw refuse("holds \(version), denied here: \(denial.cause)") }
        guard let entry = slots.otherEntry else { throw refuse("holds \(version), which has no boot entry") }
        guard known.good.contains(version) || entry == .good else {
            throw refuse("holds \(version), which has not proved itself here")
        }
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
        try change { state in
            guard state.pinned != version else { return }
            state.pinned = version
            state.record(
                HistoryEvent(
                    .pinned, version: version, detail: "this host takes \(version) and no other", at: host.now()))
        }
        return ActionResult("pinned to \(version)", version: version)
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
        return ActionResult(pinned.map { "no longer pinned to \($0)" } ?? "this host was not pinned", version: pinned)
    }

    /// Never takes `version` until it is allowed again.
    public func deny(_ version: String, reason: String?) throws(UpdateAgentFault) -> ActionResult {
        let version = try validated(version)
        guard version != running else {
            throw UpdateAgentFault(
                .invalid, "\(version) is what runs here",
                remedy: "'ballastctl rollback' goes back from it and denies it")
        }
        let cause = reason.flatMap { $0.isEmpty ? nil : String($0.prefix(400)) } ?? "an operator denied it"
        let isBusy = live.withLock { $0.job != nil }
        try change { state in
            state.deny(version, cause: cause, at: host.now())
            if state.pending?.version == version {
                state.pending = nil
                state.phase = .idle
                state.phase = settled(state)
            }
            var event = HistoryEvent(.denied, version: version, detail: "it is not taken from now on", at: host.now())
            event.cause = cause
            state.record(event)
        }
        // A running update sees that it is denied before it makes it bootable, and after.
        if !isBusy { try retire(version) }
        return ActionResult("\(version) is denied here: \(cause)", version: version)
    }

    /// Makes the entries of all denied versions but the one that runs the last that are ever booted.
    func retireDenied() throws(UpdateAgentFault) {
        let denied = Set(try state.read().denied.map(\.version)).subtracting([running])
        guard !denied.isEmpty else { return }
        try UpdateAgentFault.booting { () throws(BootControlFault) in
            let entries = try bootEntries()
            for entry in try entries.list() where denied.contains(entry.name.version) {
                if case .bad = entry.name.standing { continue }
                try entries.setStanding(.bad(done: 0), of: entry.name.version)
            }
        }
    }

    /// Makes the entry of `version`, if there is one, the last that is ever booted.
    func retire(_ version: String) throws(UpdateAgentFault) {
        try UpdateAgentFault.booting { () throws(BootControlFault) in
            let entries = try bootEntries()
            guard try entries.entry(of: version) != nil else { return }
            try entries.setStanding(.bad(done: 0), of: version)
        }
    }

    /// Takes back that `version` is denied.
    public func allow(_ version: String) throws(UpdateAgentFault) -> ActionResult {
        let version = try validated(version)
        let wasDenied = try change { state -> Bool in
            guard state.denial(of: version) != nil else { return false }
            state.denied.removeAll { $0.version == version }
            state.record(HistoryEvent(.allowed, version: version, detail: "it may be taken again", at: host.now()))
            if case .rolledBack(version, _) = state.phase {
                state.phase = .idle
                state.phase = settled(state)
            }
            return true
        }
        guard wasDenied else { throw UpdateAgentFault(.notFound, "\(version) is not denied here") }
        return ActionResult("\(version) may be taken again", version: version)
    }
}
