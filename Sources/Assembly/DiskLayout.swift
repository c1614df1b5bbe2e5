import Cryptography
import Fault
import Manifest
import PartitionTable
import Terminal
import Verity

/// Where the partitions of the disk are, and how much of each is used. Settled and printed before anything is written.
struct DiskLayout: Sendable {
    static let mebibyte: Int64 = 1 << 20

    /// One line of the size budget.
    struct Line: Sendable {
        let name: String
        let size: Int64
        let used: Int64
    }

    let disk: Manifest.Disk
    let espOffset: Int64
    let slotOffsets: [Int64]
    let veritySize: Int64
    let verityOffsets: [Int64]
    /// The size of the image file: everything but /var, and the second table.
    let diskSize: Int64

    init(_ disk: Manifest.Disk) {
        self.disk = disk
        let blocks = Int(disk.slot / Int64(VerityParameters.blockSize))
        let hashes = Int64(VerityParameters.hashDeviceSize(dataBlocks: blocks))
        veritySize = (hashes + Self.mebibyte - 1) / Self.mebibyte * Self.mebibyte
        espOffset = Self.mebibyte
        var next = espOffset + disk.esp
        var slots: [Int64] = []
        var verities: [Int64] = []
        for _ in 0..<2 {
            slots.append(next)
            next += disk.slot
            verities.append(next)
            next += veritySize
        }
        slotOffsets = slots
        verityOffsets = verities
        diskSize = next + Self.mebibyte
    }

    /// Refuses what does not fit, naming the partition and what is missing.
    ///
    /// - Parameter place: where the manifest sets the size of a partition, by its key.
    func check(_ lines: [Line], place: (_ key: String) -> Place?) throws(AssemblyFault) {
        for line in lines where line.used > line.size {
            let key = "disk.\(line.name == "ESP" ? "esp" : "slot")"
            let missing = (line.used - line.size + Self.mebibyte - 1) / Self.mebibyte
            throw AssemblyFault(
                .noRoom,
                "the \(line.name) partition has \(Progress.bytes(line.size)) and \(Progress.bytes(line.used)) are needed: "
                    + "\(missing) MiB are missing",
                at: place(key) ?? .named(line.name),
                remedy: "raise '\(key)' in the manifest, or leave packages or paths out"
            )
        }
    }

    /// The budget as a table for a person.
    static func table(_ lines: [Line]) -> [String] {
        func column(_ text: String, _ width: Int) -> String {
            String(repeating: " ", count: max(0, width - text.count)) + text
        }
        return ["partition          size          used      headroom"]
            + lines.map { line in
                let share = line.size > 0 ? Int(100 * Double(line.size - line.used) / Double(line.size)) : 0
                let name = line.name + String(repeating: " ", count: max(0, 9 - line.name.count))
                return name + column(Progress.bytes(line.size), 14) + column(Progress.bytes(line.used), 14)
                    + column("\(share) %", 14)
            }
    }

    /// The partitions of a disk whose slot A holds the image with `rootHash`.
    func partitions(_ identity: ImageIdentity, rootHash: SHA256Digest) throws(AssemblyFault) -> [Partition] {
        guard let root = PartitionType.root(architecture: identity.architecture),
            let verity = PartitionType.rootVerity(architecture: identity.architecture)
        else {
            throw AssemblyFault(
                .invalidRequest, "there are no partition types for this architecture", at: .named(identity.architecture)
            )
        }
        let halves = DerivedUUID.halves(of: rootHash)
        let product = identity.product
        return [
            Partition(
                type: .efiSystem, uuid: DerivedUUID.text("\(product) esp"), label: "esp", offset: espOffset,
                size: disk.esp),
            Partition(type: root, uuid: halves.root, label: identity.label, offset: slotOffsets[0], size: disk.slot),
            Partition(
                type: verity, uuid: halves.verity, label: identity.label, offset: verityOffsets[0], size: veritySize),
            Partition(
                type: root, uuid: DerivedUUID.text("\(product) empty root"), label: "_empty", offset: slotOffsets[1],
                size: disk.slot),
            Partition(
                type: verity, uuid: DerivedUUID.text("\(product) empty verity"), label: "_empty",
                offset: verityOffsets[1],
                size: veritySize),
        ]
    }
}
