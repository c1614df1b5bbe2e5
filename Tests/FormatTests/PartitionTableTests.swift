import Command
import Cryptography
import Fault
import FileIO
import PartitionTable
import SystemPackage
import Testing

@Suite("GPT")
struct PartitionTableTests {
    static let mebibyte: Int64 = 1 << 20

    static let partitions = [
        Partition(
            type: .efiSystem, uuid: DerivedUUID.text("esp"), label: "esp", offset: mebibyte, size: 64 * mebibyte),
        Partition(
            type: .rootX64, uuid: DerivedUUID.text("a"), label: "test_1.0.0", offset: 65 * mebibyte, size: 32 * mebibyte
        ),
        Partition(
            type: .rootVerityX64, uuid: DerivedUUID.text("b"), label: "_empty", offset: 97 * mebibyte, size: mebibyte),
    ]

    static func make(at path: FilePath, sectorSize: Int) throws {
        let file = try PendingFile(path)
        try file.file.resize(to: 128 * mebibyte)
        try file.commit()
        try PartitionTable.create(
            on: path, identifier: DerivedUUID.text("disk"), sectorSize: sectorSize, partitions: partitions)
    }

    @Test("sgdisk verifies the table and reads the same partitions")
    func foreignReader() async throws {
        let work = try TemporaryDirectory()
        let disk = work.path.appending("disk.raw")
        try Self.make(at: disk, sectorSize: 512)
        let verdict = try await Command("sgdisk", ["-v", disk.string]).run().outputText
        #expect(verdict.contains("No problems found"))
        let info = try await Command("sgdisk", ["-i", "2", disk.string]).run().outputText
        #expect(info.contains("'test_1.0.0'"))
        #expect(info.contains(DerivedUUID.text("a")))
        #expect(info.contains("First sector: 133120"))
    }

    @Test("the table reads back as written, also with sectors of 4096 bytes", arguments: [512, 4096])
    func roundTrip(sectorSize: Int) async throws {
        let work = try TemporaryDirectory()
        let disk = work.path.appending("disk.raw")
        try Self.make(at: disk, sectorSize: sectorSize)
        if sectorSize == 512 {
            let table = try PartitionTable.open(disk)
            let read = try table.partitions()
            #expect(read == [0: Self.partitions[0], 1: Self.partitions[1], 2: Self.partitions[2]])
            #expect(try table.diskIdentifier() == DerivedUUID.text("disk"))
        } else {
            // A file does not say its sector size, so a foreign reader is told.
            let listing = try await Command("fdisk", ["--sector-size", "4096", "-l", disk.string]).run().outputText
            #expect(listing.contains("EFI System"))
            #expect(listing.contains("Linux root verity (x86-64)"))
        }
    }

    @Test("a new identity changes nothing but the label and the GUID, in both tables")
    func identity() async throws {
        let work = try TemporaryDirectory()
        let disk = work.path.appending("disk.raw")
        try Self.make(at: disk, sectorSize: 512)
        do {
            let table = try PartitionTable.open(disk, writable: true)
            try table.setIdentity(ofPartition: 2, label: "test_1.1.0", uuid: DerivedUUID.text("c"))
            try table.write()
        }
        var expected = Self.partitions
        expected[2].label = "test_1.1.0"
        expected[2].uuid = DerivedUUID.text("c")
        #expect(try PartitionTable.open(disk).partitions() == [0: expected[0], 1: expected[1], 2: expected[2]])
        #expect(try await Command("sgdisk", ["-v", disk.string]).run().outputText.contains("No problems found"))
    }

    /// Flips a bit of the disk's sector `sector`, counted from the end where it is negative.
    private func damage(_ disk: FilePath, sector: Int64) throws {
        let file = try OpenFile(disk, .readWrite)
        let offset = (sector < 0 ? 128 * Self.mebibyte : 0) + sector * 512 + 16
        let byte = try file.bytes(at: offset, count: 1)[0] ^ 1
        try file.write([byte], at: offset)
    }

    @Test(
        "a table of which one copy is damaged is read by the other one, and a change repairs it",
        arguments: [1, 2, -1, -33])
    func damaged(sector: Int64) async throws {
        let work = try TemporaryDirectory()
        let disk = work.path.appending("disk.raw")
        try Self.make(at: disk, sectorSize: 512)
        try damage(disk, sector: sector)
        do {
            let table = try PartitionTable.open(disk, writable: true)
            try table.setIdentity(ofPartition: 2, label: "test_1.1.0", uuid: DerivedUUID.text("c"))
            try table.write()
        }
        #expect(try PartitionTable.open(disk).partitions()[2]?.label == "test_1.1.0")
        #expect(try await Command("sgdisk", ["-v", disk.string]).run().outputText.contains("No problems found"))
    }

    @Test("a disk without a GPT is refused")
    func noTable() throws {
        let work = try TemporaryDirectory()
        let disk = work.path.appending("disk.raw")
        try disk.replaceContents(with: [UInt8](repeating: 0, count: 1 << 20))
        let fault = try #require(throws: PartitionTableFault.self) { _ = try PartitionTable.open(disk) }
        #expect(fault.code == .invalid)
    }
}
