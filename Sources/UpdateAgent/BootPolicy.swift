package import BootControl
package import BootLoader
import Fault
import Trust

/// What becomes of each version's boot entries. Nothing in here touches a disk.
///
/// Entries are tried in the order of their sequences, the highest first; one without tries comes after all others. So what shall be
/// booted first gets a new entry with a higher sequence, and the entry of what runs need not be touched.
package enum BootPolicy {
    /// How the entries of one version shall be.
    package enum Wish: Sendable, Hashable {
        /// As they are.
        case asIs
        /// The loader starts with it, and counts its tries: the entry of this activation.
        case first(sequence: Int)
        /// It has one entry, without a counter.
        case good
        /// It has one entry, without tries: the last that is ever booted.
        case last
        /// It has none.
        case none
    }

    /// The table.
    ///
    /// - Parameters:
    ///   - before: the state as it was: what it waited for and what `state` does not wait for any more is given up.
    ///   - clearing: whether the other slot is about to be written.
    package static func wish(
        for version: String, before: AgentState, _ state: AgentState, _ facts: BootFacts, clearing: Bool = false
    ) -> Wish {
        let pending = pending(state, facts)
        if version == facts.running {
            // It is the way back.
            if clearing || pending != nil { return .good }
            if state.rollback?.from == version || isProving(state, facts) || state.hasFailed(in: facts.bootIdentifier) {
                return .asIs
            }
            return state.good.contains(version) && state.denial(of: version) == nil ? .good : .asIs
        }
        if clearing { return .none }
        switch facts.other {
        case .unknown, .version(version): break
        case .empty, .version: return .none
        }
        if let pending, pending.version == version {
            return pending.bootIdentifier == facts.bootIdentifier ? .first(sequence: pending.sequence) : .asIs
        }
        if let rollback = state.rollback {
            if rollback.target == version, rollback.from == facts.running { return .first(sequence: rollback.sequence) }
            // The way back from a rollback's target.
            return .asIs
        }
        guard state.isUnwanted(version) else { return .asIs }
        // The target of a rollback that failed has had its chance.
        if before.rollback?.target == version { return .last }
        // While what runs has to prove itself, the other one is the way back, whatever it is.
        return isProving(state, facts) ? .asIs : .last
    }

    /// What waits for its first boot.
    private static func pending(_ state: AgentState, _ facts: BootFacts) -> PendingActivation? {
        state.pending.flatMap { $0.version == facts.running ? nil : $0 }
    }

    /// Whether what runs still has to pass its health checks. Until then the other slot is the way back, if there is one.
    package static func isProving(_ state: AgentState, _ facts: BootFacts) -> Bool {
        isProving(state, running: facts.running, bootIdentifier: facts.bootIdentifier, isCounted: facts.counted != nil)
    }

    static func isProving(
        _ state: AgentState, running: String, bootIdentifier: String, isCounted: Bool
    ) -> Bool {
        if state.pending?.version == running { return true }
        guard isCounted else { return false }
        // It has failed them, and stays: nothing but another version helps.
        if state.hasFailed(in: bootIdentifier) { return false }
        return !state.good.contains(running) || state.rollback?.target == running
    }

    // MARK: Edits

    /// A change of the boot partition.
    package enum Edit: Sendable, Hashable {
        /// A new entry.
        case add(BootEntryName, KernelName)
        /// One entry less.
        case remove(BootEntry)
    }

    /// What leads from the entries that there are to those that shall be: what has to be on the medium before the state says so, and
    /// what may be there only after it.
    package struct Edits: Sendable, Hashable {
        /// What keeps something from booting, and what makes the way back sound.
        package var before: [Edit] = []
        /// What makes something boot.
        package var after: [Edit] = []

        /// These edits.
        package init(before: [Edit] = [], after: [Edit] = []) {
            self.before = before
            self.after = after
        }
    }

    /// - Parameters:
    ///   - kernel: the kernel image of what waits for its first boot.
    ///   - clearing: whether the other slot is about to be written.
    /// - Throws: where what runs has no entry and would have to be the way back.
    package static func edits(
        from before: AgentState, to state: AgentState, _ facts: BootFacts, product: String, kernel: KernelName? = nil,
        clearing: Bool = false
    ) throws(UpdateAgentFault) -> Edits {
        var edits = Edits()
        let wanted = [state.pending?.version, state.rollback?.target].compactMap { $0 }
        var versions: [String] = []
        for version in [facts.running] + facts.entries.map(\.name.version) + wanted
        where !versions.contains(version) { versions.append(version) }
        for version in versions {
            let entries = facts.entries(of: version)
            switch wish(for: version, before: before, state, facts, clearing: clearing) {
            case .asIs:
                guard version != facts.running else { continue }
                for sequence in abandoned(before, state) { edits.before += giveUp(sequence, entries) }
            case .first(let sequence):
                guard facts.entry(sequence) == nil, let kernel = kernel ?? facts.kernel(of: version) else { continue }
                let name = BootEntryName(
                    product: product, sequence: sequence, version: version,
                    standing: .trying(left: facts.tries, done: 0))
                // What earlier activations have left would be tried after this one, and before what runs.
                let wayBack = facts.entries(of: facts.running).first?.name.sequence ?? 0
                edits.after += [.add(name, kernel)]
                edits.after += entries.filter { $0.name.standing != .good || $0.name.sequence > wayBack }
                    .map { .remove($0) }
            case .good:
                guard let kernel = facts.kernel(of: version) else {
                    if clearing || state.pending != nil { throw noWayBack(version) }
                    continue
                }
                // Below that of what shall boot first, which left room for it.
                let next = pending(state, facts)?.sequence ?? nextSequence(state, facts)
                let name = BootEntryName(product: product, sequence: next - 1, version: version, standing: .good)
                edits.before += settle(entries, orAdd: .add(name, kernel))
            case .last:
                let (before, after) = retire(entries)
                edits.before += before
                edits.after += after
            case .none: edits.before += entries.map { .remove($0) }
            }
        }
        return edits
    }

    private static func noWayBack(_ version: String) -> UpdateAgentFault {
        UpdateAgentFault(
            .storage, "\(version) runs and has no boot entry, so nothing would be left if power were cut",
            remedy: "put its kernel image and its entry back on the boot partition")
    }

    /// Whether a version that waited for its boot does not any more: that must be so on the boot partition too.
    static func isGivenUp(_ before: AgentState, _ state: AgentState, running: String) -> Bool {
        let update = before.pending.map { $0.version != running && state.pending?.sequence != $0.sequence }
        let rollback = before.rollback.map { $0.from == running && state.rollback?.sequence != $0.sequence }
        return update ?? false || rollback ?? false
    }

    /// The activations that are not waited for any more.
    private static func abandoned(_ before: AgentState, _ state: AgentState) -> [Int] {
        let now = [state.pending?.sequence, state.rollback?.sequence]
        return [before.pending?.sequence, before.rollback?.sequence].compactMap { $0 }.filter { !now.contains($0) }
    }

    /// An activation loses the tries that it has left. Where its version has another entry, that is enough.
    private static func giveUp(_ sequence: Int, _ entries: [BootEntry]) -> [Edit] {
        let ofIt = entries.filter { $0.name.sequence == sequence }
        guard let entry = ofIt.first, case .trying = entry.name.standing else { return [] }
        return ofIt.count < entries.count ? ofIt.map { .remove($0) } : retire(ofIt).before
    }

    /// One entry without tries, of the lowest sequence that there is. What says that an activation has had its tries goes only when the
    /// state says so too: where power is cut before, it is judged the same again.
    private static func retire(_ entries: [BootEntry]) -> (before: [Edit], after: [Edit]) {
        guard let lowest = entries.map(\.name.sequence).min() else { return ([], []) }
        var before: [Edit] = []
        var bad = entries.filter(\.isBad)
        for entry in entries where !entry.isBad {
            let done: Int? =
                switch entry.name.standing {
                case .trying(_, let done): done
                case .good, .bad: nil
                }
            let name = entry.name.with(.bad(done: done ?? 0))
            let isThere = bad.contains { $0.name.sequence == name.sequence }
            if !isThere, done != nil || name.sequence == lowest {
                before.append(.add(name, entry.kernel))
                bad.append(BootEntry(name: name, fileName: name.description, kernel: entry.kernel))
            }
            before.append(.remove(entry))
        }
        let kept = bad.last { $0.name.sequence == lowest } ?? bad.last
        return (before, bad.filter { $0 != kept }.map { .remove($0) })
    }

    /// One entry without a counter.
    private static func settle(_ entries: [BootEntry], orAdd new: Edit) -> [Edit] {
        guard let first = entries.first else { return [new] }
        // The latest activation: an older one may come after another version's.
        guard first.name.standing == .good else {
            return [.add(first.name.with(.good), first.kernel)] + entries.map { .remove($0) }
        }
        guard entries.contains(where: { $0 != first && $0.name.sequence == first.name.sequence }) else {
            return entries.filter { $0 != first }.map { .remove($0) }
        }
        // Two names of one activation are what a torn rename leaves: they may share their clusters, so that none is sound once
        // the other one is gone.
        return [new] + entries.map { .remove($0) }
    }

    private static func highestSequence(_ facts: BootFacts) -> Int { facts.entries.map(\.name.sequence).max() ?? 0 }

    /// A sequence for a new activation. The one below it is left for an entry of what runs.
    package static func nextSequence(_ state: AgentState, _ facts: BootFacts) -> Int {
        let known = [highestSequence(facts), state.pending?.sequence ?? 0, state.rollback?.sequence ?? 0].max() ?? 0
        return min(known + 2, BootEntryName.sequenceLimit - 1)
    }

    // MARK: What a boot says

    /// What a boot says of the version that was to be tried.
    package enum Trial: Sendable, Hashable {
        /// Nothing was to be tried.
        case nothing
        /// The version was made ready in this very boot and waits for a reboot.
        case waiting
        /// The version runs; whether it is good is not known yet.
        case proving
        /// The version was tried, and the host came back without it.
        case failed
        /// Another version runs, and the new one has tries left: somebody chose at the boot menu, or the host was reset before
        /// the loader counted.
        case untried
        /// Power was cut before the version became bootable.
        case interrupted
        /// The version has proved itself, and somebody booted the other one.
        case superseded
    }

    /// The decision table.
    ///
    /// - Parameter hasFailureReport: whether the version's own health checks said why they failed.
    package static func trial(_ state: AgentState, _ facts: BootFacts, hasFailureReport: Bool) -> Trial {
        guard let pending = state.pending else { return .nothing }
        if pending.version == facts.running { return .proving }
        if pending.bootIdentifier == facts.bootIdentifier { return .waiting }
        switch facts.entry(pending.sequence)?.name.standing {
        // The loader counts each try, so what it never counted it never started.
        case nil, .bad(done: 0): return .interrupted
        case .good: return .superseded
        case .bad: return .failed
        case .trying: return hasFailureReport ? .failed : .untried
        }
    }

    /// What a boot says of a rollback.
    package enum Rollback: Sendable, Hashable {
        /// There is none.
        case nothing
        /// It waits for its reboot.
        case waiting
        /// It still waits, and there was a boot that was not that of its target: power was cut before that had its entry, or somebody chose
        /// at the boot menu.
        case missed
        /// Its target runs and has to prove itself.
        case onTrial
        /// Its target has had its tries, and the host came back.
        case failed
        /// Its target has no entry to be started from.
        case lost
        /// Its target is there to stay, or something else runs.
        case over
    }

    /// The decision table.
    package static func rollback(_ state: AgentState, _ facts: BootFacts) -> Rollback {
        guard let rollback = state.rollback else { return .nothing }
        if rollback.target == facts.running { return facts.counted == nil ? .over : .onTrial }
        guard rollback.from == facts.running else { return .over }
        switch facts.entry(rollback.sequence)?.name.standing {
        case .bad: return .failed
        // A power cut came before its entry, or it cannot be written.
        case nil where facts.kernel(of: rollback.target) == nil: return .lost
        // The loader has passed over nothing; but one that is gone after each reboot for its sake would mean reboots for ever.
        case nil where state.askedReboot?.bootIdentifier != rollback.bootIdentifier: return .waiting
        case .good, .trying, nil:
            let isOfThisBoot = rollback.bootIdentifier.isEmpty || rollback.bootIdentifier == facts.bootIdentifier
            return isOfThisBoot ? .waiting : .missed
        }
    }

    /// After how many boots that were not those of a rollback's target it is given up.
    package static let missedLimit = 3

    /// Whether the version that the loader takes again and again, for want of a better one, has used its tries up without ever
    /// saying that it failed.
    package static func isLastResort(_ state: AgentState, _ facts: BootFacts) -> Bool {
        guard case .bad(let done)? = facts.counted?.standing, done > facts.tries else { return false }
        // Where somebody has given it tries again, it has them.
        if case .trying? = facts.current { return false }
        return state.pending?.version != facts.running && state.rollback?.target != facts.running
            && !state.good.contains(facts.running) && !state.hasFailed(in: facts.bootIdentifier)
            && !hasBetter(facts)
    }

    /// Whether the loader takes another version than that which runs and has no tries left, the next time.
    package static func hasBetter(_ facts: BootFacts) -> Bool {
        facts.entries.contains { !$0.isBad && $0.name.version != facts.running }
    }

    /// Whether another try, or the other version, may be better than this boot. The loader's word that it counts this boot
    /// stays until the next one, so that it says nothing after the entry has lost its counter.
    ///
    /// - Parameters:
    ///   - state: nil where it cannot be read.
    package static func isOnTrial(_ state: AgentState?, _ facts: BootFacts, canSeeEntries: Bool) -> Bool {
        guard let counted = facts.counted else { return false }
        // What was said of this boot holds, whatever became of the entries since.
        if let state, state.hasFailed(in: facts.bootIdentifier) { return false }
        // Nothing has so many tries: somebody has told the loader to take this one, whatever it comes to.
        if case .bad(let done) = counted.standing, done > AgentSettings.triesLimit { return false }
        switch facts.current {
        case .good: return false
        case .trying: return true
        // Its last try; or the last resort of a loader that has no other entry, which it counts too; or it cannot be seen.
        case .bad, nil:
            if let state {
                if state.pending?.version == facts.running || state.rollback?.target == facts.running { return true }
                if state.good.contains(facts.running) { return false }
            }
            // Where the loader takes this one again and again, the host would reboot for ever.
            guard canSeeEntries else {
                if case .bad(let done) = counted.standing { return done <= facts.tries }
                return true
            }
            return hasBetter(facts)
        }
    }
}
