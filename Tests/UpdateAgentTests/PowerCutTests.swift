import BootControl
import BootLoader
import Cryptography
import Dispatch
import Fault
import FileIO
import PartitionTable
import Publishing
import Release
import Synchronization
import SystemPackage
import TestSupport
import Testing
import Trust
import UpdateAgent
import Verity

/// The partitions' GUIDs that a root hash gives.
struct DerivedHalves {
    let root: String
    let verity: String

    init(_ hash: SHA256Digest) { (root, verity) = DerivedUUID.halves(of: hash) }
}

@Suite("A power cut")
struct PowerCutTests {
    private static let guesses: UInt64 = 32

    /// What must hold whenever power comes back, or what does not. Whole media are compared in here: a failed expectation of
    /// arrays of this size spends minutes on describing how they differ.
    func flaw(of media: SimulatedMachine.Media, _ before: SimulatedMachine.Media, new: TestImage) -> String? {
        guard media.slots[0] == before.slots[0], media.roots[0] == before.roots[0],
            media.verities[0] == before.verities[0]
        else { return "the running slot was touched" }
        let entries = media.bootOrder
        guard let running = entries.first(where: { $0.name.version == "1.0" }), running.name.standing == .good else {
            return "the running version has no good entry"
        }
        let kernel = running.kernel.description
        guard media.files[kernel] == before.files[kernel] else { return "the running kernel was touched" }
        let isUntouched =
            media.slots == before.slots && media.roots == before.roots && media.verities == before.verities
        if entries.contains(where: { $0.name.version == "1.1" }), !isUntouched {
            return "the slot changed, and the entry of what it held is still there"
        }
        let ofNew = entries.filter { $0.name.version == new.version }
        guard let entry = ofNew.first else { return nil }
        guard ofNew.count == 1 else { return "the new version has two entries" }
        guard media.files[entry.kernel.description] == new.kernel else {
            return "the new entry is not the whole kernel"
        }
        let halves = DerivedHalves(new.tree.rootHash)
        guard media.slots[1].label == "box_\(new.version)", media.slots[1].rootUUID == halves.root,
            media.slots[1].verityUUID == halves.verity
        else { return "the new entry is there, and the slot's identity is not" }
        guard media.roots[1].starts(with: new.bytes), media.verities[1].starts(with: new.tree.hashDevice()) else {
            return "the new entry is there, and the slot is not whole"
        }
        return nil
    }

    @Test(
        "after any write or flush leaves the old version or the whole new one, and the next update succeeds",
        arguments: SimulatedMachine.Loss.allCases)
    func everywhere(_ loss: SimulatedMachine.Loss) async throws {
        let old = try TestImage(version: "1.0", blocks: 200)
        let previous = try TestImage(version: "1.1", blocks: 200)
        let new = try TestImage(version: "1.2", blocks: 220)
        let all = try TemporaryDirectory()
        let repository = try TestRepository(in: all.path)
        for image in [previous, new] { try await repository.publish(image) { $0.frameSize = 1 << 17 } }
        let (positions, boots) = try await onOwnThread {
            try self.cutEverywhere(loss, repository, old: old, previous: previous, new: new)
        }
        #expect(positions > 20)
        #expect(boots.isSuperset(of: ["1.0", "1.2"]))
    }

    @Test(
        "while a version that the slot still holds is made bootable again denies nothing that was never started",
        arguments: SimulatedMachine.Loss.allCases)
    func reactivation(_ loss: SimulatedMachine.Loss) async throws {
        let old = try TestImage(version: "1.0", blocks: 200)
        let new = try TestImage(version: "1.1", blocks: 200)
        let all = try TemporaryDirectory()
        let repository = try TestRepository(in: all.path)
        try await repository.publish(new) { $0.frameSize = 1 << 17 }
        let boots = try await onOwnThread {
            try self.cutReactivation(loss, repository, old: old, new: new)
        }
        #expect(boots == ["1.0", "1.1"])
    }

    /// Which way a rollback goes, and what its target is worth by then.
    struct Rollback: Sendable, CustomTestStringConvertible {
        let loss: SimulatedMachine.Loss
        let isForward: Bool
        let isSound: Bool

        static var all: [Rollback] {
            SimulatedMachine.Loss.allCases.flatMap { loss in
                [false, true].flatMap { isForward in
                    [false, true].map { Rollback(loss: loss, isForward: isForward, isSound: $0) }
                }
            }
        }

        var testDescription: String {
            "\(loss), to the \(isForward ? "newer" : "older") version, which is \(isSound ? "sound" : "decayed")"
        }
    }

    @Test("during a rollback leaves a host that carries it out, or comes back from it", arguments: Rollback.all)
    func rollback(_ way: Rollback) async throws {
        let old = try TestImage(version: "1.0", blocks: 8)
        let new = try TestImage(version: "1.1", blocks: 8)
        let all = try TemporaryDirectory()
        let repository = try TestRepository(in: all.path)
        try await repository.publish(new) { $0.frameSize = 1 << 17 }
        let positions = try await onOwnThread { try self.cutRollback(way, repository, old: old, new: new) }
        #expect(positions >= 2)
    }

    /// How an operator says that a version must not boot.
    enum Refusal: CaseIterable { case denial, pin }

    @Test(
        "after a version was denied or passed over by a pin, at any moment of its update, leaves nothing of it that boots",
        arguments: Refusal.allCases)
    func refusal(_ refusal: Refusal) async throws {
        let old = try TestImage(version: "1.0", blocks: 16)
        let new = try TestImage(version: "1.1", blocks: 16)
        let all = try TemporaryDirectory()
        let repository = try TestRepository(in: all.path)
        try await repository.publish(new) { $0.frameSize = 1 << 17 }
        let (flaws, steps) = try await onOwnThread {
            try self.refuseEverywhere(refusal, repository, old: old, new: new)
        }
        #expect(flaws == [])
        #expect(steps > 15)
    }

    @Test("and an update that was not wanted for a moment says of what boots next what is so")
    func regretted() async throws {
        let old = try TestImage(version: "1.0", blocks: 16)
        let new = try TestImage(version: "1.1", blocks: 16)
        let all = try TemporaryDirectory()
        let repository = try TestRepository(in: all.path)
        try await repository.publish(new) { $0.frameSize = 1 << 17 }
        let outcomes = try await onOwnThread { try self.regretEverywhere(repository, old: old, new: new) }
        #expect(outcomes.contains("1.0") && outcomes.contains("1.1"))
    }

    /// Whether the update, which stands still at the moment, holds the lock of the state: an operator's decision then comes after it goes
    /// on, and is made at once otherwise.
    private static func hasState(_ host: TestHost) -> Bool {
        (try? FileLock.isHeld(host.directory.appending("var/lib/ballast/state.lock"))) ?? false
    }

    /// - Returns: what booted after a denial, and its end, at each moment of an update.
    private func regretEverywhere(
        _ repository: TestRepository, old: TestImage, new: TestImage
    ) throws -> Set<String> {
        var booted: Set<String> = []
        for position in 1..<200 {
            let directory = try TemporaryDirectory()
            let machine = SimulatedMachine(running: old, slotSize: 1 << 20, veritySize: 1 << 16)
            let host = try TestHost(
                in: directory.path, machine: machine, source: TestSource(repository), images: [old, new])
            let agent = try host.agent()
            let isOver = DispatchSemaphore(value: 0)
            machine.observe { step in
                guard step == position else { return }
                let mustWait = Self.hasState(host)
                DispatchQueue(label: "operator").async {
                    _ = try? agent.deny("1.1", reason: nil)
                    _ = try? agent.allow("1.1")
                    isOver.signal()
                }
                if !mustWait {
                    isOver.wait()
                    isOver.signal()
                }
            }
            let outcome = Result { try agent.update { _ in }.outcome }
            let steps = machine.count
            machine.observe(nil)
            if position <= steps { isOver.wait() }
            let isPromised = try agent.history().last?.kind == .staged
            let isStaged = (try? outcome.get()) == .staged
            let isPending = if case .waiting = try agent.status().phase { true } else { false }
            let next = try host.boot()
            // A denial may also come when the update has ended.
            if isPromised || isPending { #expect(isStaged && next == "1.1", "at \(position)") }
            if !isStaged { #expect(next == "1.0", "at \(position)") }
            booted.insert(next)
            if position > steps { return booted }
        }
        throw UpdateAgentFault(.invalid, "no update came to its end")
    }

    /// - Returns: what was wrong, and how many writes and flushes an update has.
    private func refuseEverywhere(
        _ refusal: Refusal, _ repository: TestRepository, old: TestImage, new: TestImage
    ) throws -> (flaws: [String], steps: Int) {
        let flaws = Mutex<[String]>([])
        for position in 1..<200 {
            let directory = try TemporaryDirectory()
            let machine = SimulatedMachine(running: old, slotSize: 1 << 20, veritySize: 1 << 16)
            let host = try TestHost(
                in: directory.path, machine: machine, source: TestSource(repository), images: [old, new])
            let agent = try host.agent()
            let isDenied = Atomic(false)
            let isOver = DispatchSemaphore(value: 0)
            machine.observe { step in
                if step == position {
                    let mustWait = Self.hasState(host)
                    DispatchQueue(label: "operator").async {
                        let result = Result {
                            switch refusal {
                            case .denial: try agent.deny("1.1", reason: "it is bad")
                            case .pin: try agent.pin("1.0")
                            }
                        }
                        if (try? result.get()) != nil { isDenied.store(true, ordering: .releasing) }
                        isOver.signal()
                    }
                    if !mustWait {
                        isOver.wait()
                        isOver.signal()
                    }
                }
                guard isDenied.load(ordering: .acquiring) else { return }
                let media = [(SimulatedMachine.Loss.all, UInt64(0)), (.none, 0)] + (0..<8).map { (.some, $0) }
                for (loss, seed) in media {
                    let boots = machine.bootOrderAfterCut(loss, seed: seed).filter { entry in
                        !entry.isBad && entry.name.version == "1.1"
                    }
                    guard !boots.isEmpty else { continue }
                    flaws.withLock { $0.append("\(refusal) at \(position), and a cut after \(step) boots \(boots)") }
                }
            }
            let outcome = Result { try agent.update { _ in } }
            let steps = machine.count
            machine.observe(nil)
            guard position <= steps else {
                #expect(try outcome.get().outcome == .staged)
                return (flaws.withLock { $0 }, steps)
            }
            isOver.wait()
            let wasDenied = isDenied.load(ordering: .acquiring)
            #expect(wasDenied)
            #expect(try host.boot() == "1.0", "\(refusal) at \(position)")
            let status = try host.agent().status()
            #expect(status.denied.map(\.version) == (refusal == .denial ? ["1.1"] : []))
            #expect(status.pinned == (refusal == .pin ? "1.0" : nil))
            #expect(status.phase == .idle)
        }
        throw UpdateAgentFault(.invalid, "no update came to its end")
    }

    /// - Returns: how many cuts there were.
    private func cutRollback(
        _ way: Rollback, _ repository: TestRepository, old: TestImage, new: TestImage
    ) throws -> Int {
        for position in 0..<100 {
            let directory = try TemporaryDirectory()
            let machine = SimulatedMachine(running: old, slotSize: 1 << 20, veritySize: 1 << 16)
            let source = TestSource(repository)
            let host = try TestHost(in: directory.path, machine: machine, source: source, images: [old, new])
            _ = try host.prove().update { _ in }
            try host.boot()
            var agent = try host.prove()
            if way.isForward {
                _ = try agent.rollback(reboot: false, force: false)
                try host.boot()
                agent = try host.prove()
                _ = try agent.allow("1.1")
            }
            let (from, target) = way.isForward ? ("1.0", "1.1") : ("1.1", "1.0")
            // The loader took it once as the last resort: the hard case.
            try host.set(.bad(done: 2), of: target)
            machine.cut(at: position)
            let wasCut = (try? agent.rollback(reboot: false, force: false)) == nil
            machine.powerCycle(way.loss, seed: UInt64(position))
            let cut = "cut at \(position)"
            guard try host.agent().status().denied.map(\.version) == [from] else {
                // The order was not taken.
                #expect(wasCut)
                #expect(try host.boot() == from, "\(cut)")
                continue
            }
            // Three tries of the target, and two boots of the version that was left: before them, and after them.
            for _ in 0..<5 {
                let booted = try host.boot()
                if booted == target, way.isSound {
                    agent = try host.prove()
                    break
                }
                agent = try host.agent()
                try agent.reconcile()
                if booted == from, try agent.status().denied.map(\.version) == [target] { break }
            }
            #expect(host.running == (way.isSound ? target : from), "\(cut)")
            #expect(try agent.status().denied.map(\.version) == [way.isSound ? from : target], "\(cut)")
            // It stays there.
            #expect(try host.boot() == (way.isSound ? target : from), "\(cut)")
            if !wasCut { return position }
        }
        throw UpdateAgentFault(.invalid, "no rollback came to its end")
    }

    private func cutReactivation(
        _ loss: SimulatedMachine.Loss, _ repository: TestRepository, old: TestImage, new: TestImage
    ) throws -> Set<String> {
        var boots: Set<String> = []
        for position in 0..<100 {
            let directory = try TemporaryDirectory()
            let machine = SimulatedMachine(running: old, slotSize: 1 << 20, veritySize: 1 << 16)
            let source = TestSource(repository)
            let host = try TestHost(in: directory.path, machine: machine, source: source, images: [old, new])
            // It has used its tries up, and an operator gives it another chance.
            _ = try host.agent().update { _ in }
            for _ in 0..<4 { try host.boot() }
            let agent = try host.agent()
            try agent.reconcile()
            #expect(try agent.status().setbacks.map(\.version) == ["1.1"])
            #expect(try host.order() == ["1.0", "1.1+0-3"])
            _ = try agent.allow("1.1")
            machine.cut(at: position)
            let outcome = try? agent.update { _ in }.outcome
            machine.powerCycle(loss, seed: UInt64(position))
            let booted = try host.boot()
            boots.insert(booted)
            let after = try host.agent()
            try after.reconcile()
            #expect(try after.status().denied.isEmpty, "cut at \(position), \(loss)")
            #expect(try after.status().setbacks.isEmpty, "cut at \(position), \(loss)")
            if booted == "1.0" {
                #expect(try after.update { _ in }.outcome == .activated)
                #expect(try host.boot() == "1.1")
            }
            #expect(try host.prove().status().phase == .good(version: "1.1"))
            if let outcome {
                #expect(outcome == .activated)
                return boots
            }
        }
        throw UpdateAgentFault(.invalid, "no update came to its end")
    }

    /// - Returns: how many cuts there were, and what booted after them.
    private func cutEverywhere(
        _ loss: SimulatedMachine.Loss, _ repository: TestRepository, old: TestImage, previous: TestImage, new: TestImage
    ) throws -> (Int, Set<String>) {
        var boots: Set<String> = []
        // An update makes some fifty writes; one that never ends without a cut must not keep the test for ever.
        for position in 0..<500 {
            let directory = try TemporaryDirectory()
            let machine = SimulatedMachine(running: old, slotSize: 1 << 20, veritySize: 1 << 16)
            let source = TestSource(repository)
            let host = try TestHost(in: directory.path, machine: machine, source: source, images: [old, previous, new])
            // The slot holds an older version whose entry is there: the hard case.
            let agent = try host.agent()
            _ = try agent.pin("1.1")
            _ = try agent.update { _ in }
            _ = try agent.unpin()
            let before = machine.media
            machine.cut(at: position)
            let wasCut: Bool
            do {
                _ = try agent.update { _ in }
                wasCut = false
            } catch { wasCut = true }
            // Which of the unflushed writes survive is anybody's guess: many guesses are looked at, one is lived with.
            for seed in 0..<(loss == .some ? Self.guesses : 1) {
                let media = machine.mediaAfterCut(loss, seed: seed)
                let flaw = flaw(of: media, before, new: new)
                #expect(flaw == nil, "cut at \(position), \(loss), guess \(seed)")
            }
            machine.powerCycle(loss, seed: UInt64(position) % Self.guesses)
            let booted = try host.boot()
            boots.insert(booted)
            let after = try host.agent()
            try after.reconcile()
            #expect(try after.status().denied.isEmpty, "cut at \(position), \(loss)")
            if booted == "1.2" {
                #expect(try after.status().phase == .proving(version: "1.2"))
                _ = try host.prove()
            } else if booted == "1.0" {
                _ = try after.update { _ in }
                #expect(flaw(of: machine.media, before, new: new) == nil)
                #expect(try host.boot() == "1.2")
                #expect(try host.prove().status().phase == .good(version: "1.2"))
            }
            if !wasCut { return (position, boots) }
        }
        throw UpdateAgentFault(.invalid, "no update came to its end")
    }
}
