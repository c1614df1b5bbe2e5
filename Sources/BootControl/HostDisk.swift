public import BlockDevice
public import Cryptography
public import Fault
import PartitionTable
public import SystemPackage

/// The disk that the host runs from.
public struct HostDisk: SlotStore {
    /// The whole disk's device, or a file that stands for one.
    public let path: FilePath
    private let rootHash: SHA256Digest
    private let types: (root: String, verity: String)

    /// The disk at `path`, of which the slot with `rootHash` runs.
    ///
    /// - Parameter architecture: Debian's name; the slots are the partitions of the types that belong to it.
    public init(_ path: FilePath, rootHash: SHA256Digest, architecture: String) throws(BootControlFault) {
        guard let root = PartitionType.root(architecture: architecture),
            let verity = PartitionType.rootVerity(architecture: architecture)
        else {
            throw BootControlFault(.notOurs, "no partition types are known for '\(architecture)'")
        }
        self.path = path
        self.rootHash = rootHash
        types = (root.rawValue, verity.rawValue)
    }

    private struct Pair {
        let rootNumber: Int
        let root: Partition
        let verityNumber: Int
        let verity: Partition
    }

    private func attempt<Result>(
        _ body: () throws(PartitionTableFault) -> Result
    ) throws(BootControlFault) -> Result {
        do throws(PartitionTableFault) { return try body() } catch {
            throw BootControlFault(.inputOutput, "the partition table cannot be used", cause: error)
        }
    }

    /// The first root partition belongs to the first verity partition, the second to the second.
    private func pairs() throws(BootControlFault) -> [Pair] {
        let partitions = try attempt { () throws(PartitionTableFault) in
            try PartitionTable.open(path).partitions()
        }
        func ofType(_ type: String) -> [(Int, Partition)] {
            partitions.filter { $0.value.type == type }.sorted { $0.value.offset < $1.value.offset }.map {
                ($0.key, $0.value)
            }
        }
        return zip(ofType(types.root), ofType(types.verity)).map { root, verity in
            Pair(rootNumber: root.0, root: root.1, verityNumber: verity.0, verity: verity.1)
        }
    }

    /// All slots in their order, exactly one of which runs.
    ///
    /// - Throws: `notOurs` where there are not at least two, or not exactly one runs.
    public func slots() throws(BootControlFault) -> [Slot] {
        let halves = DerivedUUID.halves(of: rootHash)
        let slots = try pairs().enumerated().map { index, pair in
            Slot(
                index: index, label: pair.root.label == pair.verity.label ? pair.root.label : Slot.emptyLabel,
                rootSize: pair.root.size, veritySize: pair.verity.size, rootUUID: pair.root.uuid,
                verityUUID: pair.verity.uuid,
                isRunning: pair.root.uuid == halves.root && pair.verity.uuid == halves.verity)
        }
        guard slots.count >= 2 else {
            throw BootControlFault(
                .notOurs, "the disk has \(slots.count) slots where 2 are needed", at: .path(path.string),
                remedy: "install the host from a Ballast image")
        }
        // With none or several, "the other one" might be the one that runs.
        guard slots.filter(\.isRunning).count == 1 else {
            throw BootControlFault(
                .notOurs, "no single slot has the root hash that the host was booted with", at: .path(path.string),
                remedy: "boot the host from one of its slots")
        }
        return slots
    }

    /// The slot's partitions as they are now: what was read before may be out of date.
    private func pair(of slot: Slot, writable: Bool) throws(BootControlFault) -> Pair {
        let now = try slots()
        let pairs = try pairs()
        guard now.indices.contains(slot.index), pairs.indices.contains(slot.index) else {
            throw BootControlFault(.notFound, "there is no slot \(slot.name)", at: .path(path.string))
        }
        guard !writable || !now[slot.index].isRunning else {
            throw BootControlFault(.notOurs, "slot \(slot.name) runs and is never written", at: .path(path.string))
        }
        return pairs[slot.index]
    }

    private func storage(_ partition: Partition, writable: Bool) throws(BootControlFault) -> any BlockStorage {
        do throws(BlockDeviceFault) {
            return try BlockSlice(
                of: BlockDevice(path, writable: writable), start: partition.offset, size: partition.size)
        } catch {
            throw BootControlFault(.inputOutput, "the slot cannot be opened", cause: error)
        }
    }

    /// The root partition of a slot.
    public func root(of slot: Slot, writable: Bool) throws(BootControlFault) -> any BlockStorage {
        try storage(pair(of: slot, writable: writable).root, writable: writable)
    }

    /// The hash tree's partition of a slot.
    public func verity(of slot: Slot, writable: Bool) throws(BootControlFault) -> any BlockStorage {
        try storage(pair(of: slot, writable: writable).verity, writable: writable)
    }

    /// Changes label and GUIDs of both partitions at once, on the medium.
    public func setIdentity(
        of slot: Slot, label: String, uuids: (root: String, verity: String)?
    ) throws(BootControlFault) {
        let pair = try pair(of: slot, writable: true)
        try attempt { () throws(PartitionTableFault) in
            let table = try PartitionTable.open(path, writable: true)
            try table.setIdentity(ofPartition: pair.rootNumber, label: label, uuid: uuids?.root ?? pair.root.uuid)
            try table.setIdentity(
                ofPartition: pair.verityNumber, label: label, uuid: uuids?.verity ?? pair.verity.uuid)
            try table.write()
        }
    }
}
