import BlockDevice
import BootControl
import BootLoader
import Cryptography
import Fault
import FileIO
import Glibc
import PartitionTable
import SystemPackage
import Testing

@Suite("The host's disk")
struct HostDiskTests {
    static let rootHash = SHA256Digest(of: "running".utf8)

    /// A disk whose first slot runs; its partitions are 1 MiB each.
    static func make(at path: FilePath, sectorSize: Int = 512, runningHash: SHA256Digest = rootHash) throws {
        let mebibyte: Int64 = 1 << 20
        let file = try OpenFile(path, .readWrite, options: [.create])
        try file.resize(to: 8 * mebibyte)
        let halves = DerivedUUID.halves(of: runningHash)
        try PartitionTable.create(
            on: path, identifier: DerivedUUID.text("disk"), sectorSize: sectorSize,
            partitions: [
                Partition(
                    type: .efiSystem, uuid: DerivedUUID.text("esp"), label: "esp", offset: mebibyte, size: mebibyte),
                Partition(type: .rootX64, uuid: halves.root, label: "box_1.0", offset: 2 * mebibyte, size: mebibyte),
                Partition(
                    type: .rootVerityX64, uuid: halves.verity, label: "box_1.0", offset: 3 * mebibyte, size: mebibyte),
                Partition(
                    type: .rootX64, uuid: DerivedUUID.text("b"), label: "_empty", offset: 4 * mebibyte, size: mebibyte),
                Partition(
                    type: .rootVerityX64, uuid: DerivedUUID.text("bv"), label: "_empty", offset: 5 * mebibyte,
                    size: mebibyte),
            ])
    }

    @Test("slots are pairs in their order, and the one with the booted root hash runs")
    func slots() throws {
        let directory = try TemporaryDirectory()
        let path = directory.path.appending("disk")
        try Self.make(at: path)
        let disk = try HostDisk(path, rootHash: Self.rootHash, architecture: "amd64")
        let slots = try disk.slots()
        #expect(slots.map(\.name) == ["a", "b"])
        #expect(slots.map(\.isRunning) == [true, false])
        #expect(slots.map { $0.version(of: "box") } == ["1.0", nil])
        #expect(slots.map { $0.version(of: "bo") } == [nil, nil])
    }

    @Test("the running slot can be read and by no way written")
    func runningSlot() throws {
        let directory = try TemporaryDirectory()
        let path = directory.path.appending("disk")
        try Self.make(at: path)
        let before = try SHA256Digest.ofFile(path).digest
        let disk = try HostDisk(path, rootHash: Self.rootHash, architecture: "amd64")
        var running = try #require(try disk.slots().first)
        #expect(try disk.root(of: running, writable: false).size == 1 << 20)
        // Also when whoever asks believes that it does not run.
        for claim in [true, false] {
            running.isRunning = claim
            #expect(throws: BootControlFault.self) { _ = try disk.root(of: running, writable: true) }
            #expect(throws: BootControlFault.self) { _ = try disk.verity(of: running, writable: true) }
            #expect(throws: BootControlFault.self) { try disk.setIdentity(of: running, label: "_empty", uuids: nil) }
        }
        #expect(try SHA256Digest.ofFile(path).digest == before)
    }

    @Test("a disk without the booted root hash has no slot that may be written")
    func strangeDisk() throws {
        let directory = try TemporaryDirectory()
        let path = directory.path.appending("disk")
        try Self.make(at: path, runningHash: SHA256Digest(of: "another".utf8))
        let disk = try HostDisk(path, rootHash: Self.rootHash, architecture: "amd64")
        let fault = #expect(throws: BootControlFault.self) { _ = try disk.slots() }
        #expect(fault?.code == .notOurs)
        #expect(throws: BootControlFault.self) {
            _ = try HostDisk(path, rootHash: Self.rootHash, architecture: "s390x")
        }
    }

    @Test("label and GUIDs change together, and nothing else does")
    func identity() throws {
        let directory = try TemporaryDirectory()
        let path = directory.path.appending("disk")
        try Self.make(at: path)
        let disk = try HostDisk(path, rootHash: Self.rootHash, architecture: "amd64")
        let before = try PartitionTable.open(path).partitions()
        let halves = DerivedUUID.halves(of: SHA256Digest(of: "new".utf8))
        try disk.setIdentity(of: try disk.slots()[1], label: "box_1.1", uuids: halves)
        let after = try PartitionTable.open(path).partitions()
        #expect(after[3]?.label == "box_1.1")
        #expect(after[4]?.label == "box_1.1")
        #expect(after[3]?.uuid == halves.root)
        #expect(after[4]?.uuid == halves.verity)
        #expect([0, 1, 2].allSatisfy { after[$0] == before[$0] })
        #expect([3, 4].allSatisfy { after[$0]?.offset == before[$0]?.offset && after[$0]?.size == before[$0]?.size })
        try disk.setIdentity(of: try disk.slots()[1], label: Slot.emptyLabel, uuids: nil)
        #expect(try disk.slots()[1].label == "_empty")
    }

    @Test("nothing outside a slice is reached through it, whatever the offset")
    func slice() throws {
        let directory = try TemporaryDirectory()
        let path = directory.path.appending("disk")
        try path.replaceContents(with: [UInt8](repeating: 1, count: 100))
        let device = try BlockDevice(path, writable: true)
        let slice = try BlockSlice(of: device, start: 40, size: 20)
        let bytes = [UInt8](repeating: 9, count: 10)
        for offset in [-1, 11, 20, 60, Int64.max, Int64.min] {
            #expect(throws: BlockDeviceFault.self) {
                try bytes.withUnsafeBytes { buffer in
                    try Result { () throws(BlockDeviceFault) in try slice.write(buffer, at: offset) }.get()
                }
            }
        }
        for (start, size) in [(90, 20), (-1, 5), (Int64.max, 1), (0, -1), (101, 0)] as [(Int64, Int64)] {
            #expect(throws: BlockDeviceFault.self) { _ = try BlockSlice(of: device, start: start, size: size) }
        }
        #expect(try path.contents() == [UInt8](repeating: 1, count: 100))
        try bytes.withUnsafeBytes { buffer in
            try Result { () throws(BlockDeviceFault) in try slice.write(buffer, at: 10) }.get()
        }
        #expect(try Array(path.contents()[50..<60]) == bytes)
    }
}

@Suite("The running system")
struct RunningSystemTests {
    func link(_ path: FilePath, to target: String) throws {
        try path.removingLastComponent().makeDirectories()
        #expect(symlink(target, path.string) == 0)
    }

    @Test("the disk is found from dm-verity through a partition, and from a plain partition", arguments: [true, false])
    func disk(throughVerity: Bool) throws {
        let directory = try TemporaryDirectory()
        let sys = directory.path.appending("sys")
        let disk = sys.appending("devices/pci0/virtio1/block/vda")
        try disk.appending("vda2").makeDirectories()
        try disk.appending("uevent").replaceContents(with: "MAJOR=254\nMINOR=0\nDEVNAME=vda\nDEVTYPE=disk\n")
        try disk.appending("vda2/partition").replaceContents(with: "2\n")
        try disk.appending("vda2/slaves").makeDirectories()
        try link(sys.appending("dev/block/254:2"), to: "../../devices/pci0/virtio1/block/vda/vda2")
        let mapper = sys.appending("devices/virtual/block/dm-0")
        try link(mapper.appending("slaves/vda2"), to: "../../../../pci0/virtio1/block/vda/vda2")
        try link(sys.appending("dev/block/253:0"), to: "../../devices/virtual/block/dm-0")
        let device = DeviceNumber(throughVerity ? 253 << 8 : 254 << 8 | 2)
        #expect(try RunningSystem(prefix: directory.path).disk(device: device) == directory.path.appending("dev/vda"))
        #expect(throws: BootControlFault.self) {
            _ = try RunningSystem(prefix: directory.path).disk(device: DeviceNumber(7 << 8))
        }
    }

    @Test("the last root hash of the command line counts, and one that is none is refused")
    func rootHash() throws {
        let directory = try TemporaryDirectory()
        try directory.path.appending("proc").makeDirectories()
        let path = directory.path.appending("proc/cmdline")
        let hash = SHA256Digest(of: "x".utf8)
        try path.replaceContents(with: "roothash=\(SHA256Digest(of: "y".utf8)) quiet roothash=\(hash)\n")
        #expect(try RunningSystem(prefix: directory.path).rootHash() == hash)
        for text in ["", "quiet", "roothash=12", "usrhash=\(hash)"] {
            try path.replaceContents(with: text)
            let fault = #expect(throws: BootControlFault.self) {
                _ = try RunningSystem(prefix: directory.path).rootHash()
            }
            #expect(fault?.code == .notOurs)
        }
    }

    @Test("a boot is counted exactly when the loader says so")
    func counting() throws {
        let directory = try TemporaryDirectory()
        let variables = directory.path.appending("sys/firmware/efi/efivars")
        try variables.makeDirectories()
        let system = EfiVariables(prefix: directory.path)
        #expect(system.countedEntry == nil)
        #expect(system.selectedEntry == nil)
        func set(_ name: String, _ text: String) throws {
            let units = Array(text.utf16).flatMap { [UInt8($0 & 255), UInt8($0 >> 8)] }
            try variables.appending("\(name)-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f").replaceContents(
                with: [7, 0, 0, 0] + units + [0, 0])
        }
        for (path, sequence, counter) in [
            ("\\loader\\entries\\box_7_1.0+2-1.conf", 7, BootEntryName.Standing.trying(left: 2, done: 1)),
            ("\\loader\\entries\\box_7_1.0+0-4.conf", 7, .bad(done: 4)),
            ("\\loader\\entries\\box_7_1.0.conf", 7, .bad(done: 0)),
            ("\\EFI\\Linux\\other.efi", nil, .bad(done: 0)), ("", nil, .bad(done: 0)),
        ] as [(String, Int?, BootEntryName.Standing)] {
            try set("LoaderBootCountPath", path)
            let entry = try #require(system.countedEntry)
            #expect(entry.sequence == sequence, "\(path)")
            #expect(entry.standing == counter, "\(path)")
        }
        try set("LoaderEntrySelected", "box_7_1.0.conf")
        #expect(system.selectedEntry == "box_7_1.0.conf")
    }
}
