import BootControl
import Cryptography
import Fault
import FileIO
import SystemPackage
import Testing

@Suite("Boot entries")
struct BootEntryTests {
    @Test(
        "a name is read as systemd-boot reads it, and written as it was",
        arguments: [
            ("box_1.0.efi", BootEntryName.Standing.good), ("box_1.0+3.efi", .trying(left: 3, done: 0)),
            ("box_1.0+2-1.efi", .trying(left: 2, done: 1)), ("box_1.0+0.efi", .bad(done: 0)),
            ("box_1.0+0-3.efi", .bad(done: 3)), ("my-box_1.0~rc1-2^a+9.efi", .trying(left: 9, done: 0)),
        ] as [(String, BootEntryName.Standing)])
    func roundTrip(_ fileName: String, _ standing: BootEntryName.Standing) throws {
        let name = try #require(BootEntryName(fileName: fileName))
        #expect(name.standing == standing)
        #expect(name.description == fileName)
    }

    @Test(
        "what is not ours is no entry, whatever its name",
        arguments: [
            "", ".efi", "box.efi", "box_.efi", "_1.0.efi", "box_1.0", "box_1.0.EFI.bak", ".box_1.0.efi", "box_1.0+.efi",
            "box_1.0+a.efi", "box_1.0+3-.efi", "box_1.0+3-x.efi", "box_1.0+-1.efi", "box_1.0+3+2.efi",
            "box_1.0+99999999999999999999.efi", "box_1.0+3--1.efi", "debian.efi", "+3.efi",
        ])
    func strangers(_ fileName: String) { #expect(BootEntryName(fileName: fileName) == nil) }

    @Test("every generated name comes back as what it was made of")
    func law() {
        for version in ["1", "1.2.3", "2~rc1", "3-4", "5^6"] {
            for left in 0...9 {
                for done in 0...9 {
                    for standing in [
                        left == 0 ? BootEntryName.Standing.bad(done: done) : .trying(left: left, done: done), .good,
                    ] {
                        let name = BootEntryName(product: "box", version: version, standing: standing)
                        #expect(BootEntryName(fileName: name.description) == name)
                    }
                }
            }
        }
    }

    /// A directory with these files, and the entries in it.
    func entries(_ names: [String], in directory: borrowing TemporaryDirectory) throws -> BootEntries {
        for name in names { try directory.path.appending(name).replaceContents(with: name) }
        return BootEntries(BootDirectory(directory.path), product: "box")
    }

    @Test("a version never has two entries, however it got them")
    func oneEntry() throws {
        let directory = try TemporaryDirectory()
        let entries = try entries(["box_1.0.efi", "box_1.0+3.efi", "box_1.0+0-3.efi", "box_2.0.efi"], in: directory)
        try entries.setStanding(.trying(left: 3, done: 0), of: "1.0")
        #expect(try directory.path.directoryEntries() == ["box_1.0+3.efi", "box_2.0.efi"])
        let writer = try entries.create(version: "1.0")
        try writer.flush()
        try entries.activate(version: "1.0", standing: .trying(left: 2, done: 0))
        #expect(try directory.path.directoryEntries() == ["box_1.0+2.efi", "box_2.0.efi"])
    }

    @Test("only the product's entries and what an update left behind are removed")
    func removal() throws {
        let directory = try TemporaryDirectory()
        let entries = try entries(
            ["box_1.0.efi", "box_2.0+3.efi", "other_1.0.efi", "debian.efi", ".ballast-box_2.0.part", "readme.txt"],
            in: directory)
        #expect(try entries.list().map(\.name.version) == ["1.0", "2.0"])
        try entries.removeAll(except: ["1.0"])
        #expect(try directory.path.directoryEntries() == ["box_1.0.efi", "debian.efi", "other_1.0.efi", "readme.txt"])
    }

    @Test("a kernel under its temporary name is none of systemd-boot's, and the whole one after it has its name")
    func activation() throws {
        let directory = try TemporaryDirectory()
        let entries = try entries(["box_1.0.efi"], in: directory)
        let bytes = [UInt8](repeating: 7, count: 300_000)
        let writer = try entries.create(version: "1.1")
        try bytes.withUnsafeBytes { buffer in
            let result = Result { () throws(BootControlFault) in try writer.append(buffer) }
            try result.get()
        }
        #expect(try directory.path.directoryEntries().allSatisfy { !$0.hasSuffix("1.1.efi") })
        try writer.flush()
        try entries.activate(version: "1.1", standing: .trying(left: 3, done: 0))
        #expect(try directory.path.directoryEntries() == ["box_1.0.efi", "box_1.1+3.efi"])
        let digest = try #require(try entries.digest(of: "1.1"))
        #expect(digest.digest == SHA256Digest(of: bytes))
        #expect(digest.size == 300_000)
    }

    @Test("a version without an entry cannot be given a counter")
    func missing() throws {
        let directory = try TemporaryDirectory()
        let entries = try entries(["box_1.0.efi"], in: directory)
        let fault = #expect(throws: BootControlFault.self) { try entries.setStanding(.good, of: "2.0") }
        #expect(fault?.code == .notFound)
    }
}
