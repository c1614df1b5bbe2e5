import BootControl
import Cryptography
import Fault
import FileIO
import PartitionTable
import Publishing
import Release
import SystemPackage
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
    /// What must hold whenever power comes back.
    func check(_ media: SimulatedMachine.Media, _ before: SimulatedMachine.Media, new: TestImage) {
        #expect(media.slots[0] == before.slots[0])
        #expect(media.roots[0] == before.roots[0])
        #expect(media.verities[0] == before.verities[0])
        let entries = media.files.keys.compactMap { BootEntryName(fileName: $0) }
        #expect(media.files["box_1.0.efi"] == before.files["box_1.0.efi"])
        #expect(entries.filter { $0.version == "1.0" }.count == 1)
        #expect(entries.filter { $0.version == new.version }.count <= 1)
        guard let entry = entries.first(where: { $0.version == new.version }) else { return }
        #expect(media.files[entry.description] == new.kernel)
        let halves = DerivedHalves(new.tree.rootHash)
        #expect(media.slots[1].label == "box_\(new.version)")
        #expect(media.slots[1].rootUUID == halves.root)
        #expect(media.slots[1].verityUUID == halves.verity)
        #expect(Array(media.roots[1].prefix(new.bytes.count)) == new.bytes)
        #expect(Array(media.verities[1].prefix(new.tree.hashDeviceSize)) == new.tree.hashDevice())
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

    /// - Returns: how many cuts there were, and what booted after them.
    private func cutEverywhere(
        _ loss: SimulatedMachine.Loss, _ repository: TestRepository, old: TestImage, previous: TestImage, new: TestImage
    ) throws -> (Int, Set<String>) {
        var position = 0
        var boots: Set<String> = []
        while true {
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
            machine.powerCycle(loss, seed: UInt64(position))
            let hasNew = machine.media.files.keys.contains { $0.hasPrefix("box_1.2") }
            if hasNew || !machine.media.files.keys.contains(where: { $0.hasPrefix("box_1.1") }) {
                check(machine.media, before, new: new)
            } else {
                // Not even the first step is done: the slot is as it was.
                #expect(machine.media.slots == before.slots)
                #expect(machine.media.roots == before.roots)
            }
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
                check(machine.media, before, new: new)
                #expect(try host.boot() == "1.2")
                #expect(try host.prove().status().phase == .good(version: "1.2"))
            }
            if !wasCut { return (position, boots) }
            position += 1
        }
    }
}
