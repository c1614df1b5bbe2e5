import BootControl
import BootLoader
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
            ("box_1_1.0.conf", BootEntryName.Standing.good), ("box_2_1.0+3.conf", .trying(left: 3, done: 0)),
            ("box_10_1.0+2-1.conf", .trying(left: 2, done: 1)), ("box_3_1.0+0.conf", .bad(done: 0)),
            ("box_4_1.0+0-3.conf", .bad(done: 3)), ("my-box_999999999_1.0~rc1-2^a+9.conf", .trying(left: 9, done: 0)),
        ] as [(String, BootEntryName.Standing)])
    func roundTrip(_ fileName: String, _ standing: BootEntryName.Standing) throws {
        let name = try #require(BootEntryName(fileName: fileName))
        #expect(name.standing == standing)
        #expect(name.description == fileName)
    }

    @Test(
        "what is not ours is no entry, whatever its name",
        arguments: [
            "", ".conf", "box.conf", "box_1.conf", "box_1.0.conf", "box_1_.conf", "_1_1.0.conf", "box__1.0.conf",
            "box_0_1.0.conf", "box_a_1.0.conf", "box_-1_1.0.conf", "box_1_1.0", "box_1_1.0.CONF.bak",
            ".box_1_1.0.conf", "box_1_1.0+.conf", "box_1_1.0+a.conf", "box_1_1.0+3-.conf", "box_1_1.0+3-x.conf",
            "box_1_1.0+-1.conf", "box_1_1.0+3+2.conf", "box_1_1.0+99999999999999999999.conf", "box_1_1.0+3--1.conf",
            "box_9999999999_1.0.conf", "debian.conf", "+3.conf",
        ])
    func strangers(_ fileName: String) { #expect(BootEntryName(fileName: fileName) == nil) }

    @Test("every generated name comes back as what it was made of")
    func law() {
        for version in ["1", "1.2.3", "2~rc1", "3-4", "5^6", "7_8"] {
            for left in 0...9 {
                for done in 0...9 {
                    for standing in [
                        left == 0 ? BootEntryName.Standing.bad(done: done) : .trying(left: left, done: done), .good,
                    ] {
                        let name = BootEntryName(
                            product: "box", sequence: left * 10 + done + 1, version: version, standing: standing)
                        #expect(BootEntryName(fileName: name.description) == name)
                    }
                }
            }
        }
    }

    private static let kernel = KernelName(product: "box", version: "1.0", digest: SHA256Digest(of: "kernel".utf8))

    private func name(
        _ sequence: Int, _ standing: BootEntryName.Standing, version: String = "1.0"
    ) -> BootEntryName {
        BootEntryName(product: "box", sequence: sequence, version: version, standing: standing)
    }

    /// A boot partition with the kernel image of 1.0, and its entries.
    private func partition(in directory: borrowing TemporaryDirectory) throws -> (FilePath, BootEntries) {
        let root = directory.path.appending("efi")
        for path in [BootEntryName.directory, KernelName.directory(product: "box")] {
            try root.pushing(FilePath(path)).makeDirectories()
        }
        try root.pushing(FilePath(Self.kernel.description)).replaceContents(with: "kernel")
        return (root, BootEntries(BootDirectory(root), product: "box"))
    }

    private func files(_ root: FilePath) throws -> [String] {
        try root.pushing(FilePath(BootEntryName.directory)).directoryEntries()
    }

    @Test("what was activated last is tried first, what has no tries left comes last, as systemd-boot sorts")
    func order() throws {
        let directory = try TemporaryDirectory()
        let (_, entries) = try partition(in: directory)
        let names = [
            name(9, .good), name(10, .trying(left: 1, done: 2)), name(11, .bad(done: 3)), name(2, .good),
            name(10, .trying(left: 2, done: 1)), name(12, .bad(done: 0)),
        ]
        for name in names { try entries.add(name, kernel: Self.kernel) }
        #expect(
            try entries.list().map(\.fileName) == [
                "box_10_1.0+2-1.conf", "box_10_1.0+1-2.conf", "box_9_1.0.conf", "box_2_1.0.conf", "box_12_1.0+0.conf",
                "box_11_1.0+0-3.conf",
            ])
    }

    @Test("an entry says what the Boot Loader Specification wants, in less than a sector")
    func text() throws {
        let directory = try TemporaryDirectory()
        let (root, entries) = try partition(in: directory)
        try entries.add(name(1, .trying(left: 3, done: 0)), kernel: Self.kernel)
        let text = try root.pushing(FilePath("\(BootEntryName.directory)/box_1_1.0+3.conf")).text()
        let digest = SHA256Digest(of: "kernel".utf8).description.prefix(12)
        #expect(text == "title box 1.0\nsort-key box\nefi /EFI/ballast/box/1.0_\(digest).efi\n")
        #expect(BootEntryText.kernel(text, of: name(1, .good)) == Self.kernel)
        #expect(BootEntryText.kernel(text, of: name(1, .good, version: "1.1")) == nil)
        let long = String(repeating: "v", count: 64)
        let kernel = KernelName(product: long, version: long, digest: SHA256Digest(of: []))
        let entry = BootEntryName(product: long, sequence: 1, version: long, standing: .good)
        #expect(BootEntryText.make(entry, kernel: kernel).utf8.count <= BootEntryText.limit)
    }

    @Test("what a power cut left under an entry's name is no entry, and is told apart from other products' files")
    func strays() throws {
        let directory = try TemporaryDirectory()
        let (root, entries) = try partition(in: directory)
        try entries.add(name(1, .good), kernel: Self.kernel)
        let good = try root.pushing(FilePath("\(BootEntryName.directory)/box_1_1.0.conf")).text()
        for (file, text) in [
            // Nothing, half of it, what another entry says, a kernel image that is not there, and rubbish.
            ("box_2_1.0.conf", ""), ("box_3_1.0.conf", String(good.dropLast(8))), ("box_4_1.1+3.conf", good),
            ("box_7_1.0.conf", good + good),
            ("box_5_1.0.conf", good.replacing(".efi", with: "0.efi")),
            ("box_6_1.0.conf", String(repeating: "\u{0}", count: 5000)), ("other_7_1.0.conf", "title other\n"),
            ("debian.conf", "title Debian\n"),
        ] {
            try root.pushing(FilePath("\(BootEntryName.directory)/\(file)")).replaceContents(with: text)
        }
        let survey = try entries.survey()
        #expect(survey.entries.map(\.fileName) == ["box_1_1.0.conf"])
        #expect(survey.strays == (2...7).map { $0 == 4 ? "box_4_1.1+3.conf" : "box_\($0)_1.0.conf" })
        #expect(survey.kernels == [Self.kernel])
        try entries.remove(survey.strays)
        #expect(try files(root) == ["box_1_1.0.conf", "debian.conf", "other_7_1.0.conf"])
    }

    @Test(
        "an entry that somebody has edited starts what it did, and one that cannot be read keeps nobody from the others"
    )
    func edited() throws {
        let directory = try TemporaryDirectory()
        let (root, entries) = try partition(in: directory)
        let text = BootEntryText.make(name(1, .good), kernel: Self.kernel)
        for edited in [
            text.replacing("\n", with: "\r\n"), String(text.dropLast()), text + "options quiet\n", "# mine\n\n" + text,
            text.replacing("efi ", with: "efi\t  "),
        ] {
            try root.pushing(FilePath("\(BootEntryName.directory)/box_1_1.0.conf")).replaceContents(with: edited)
            #expect(try entries.list().map(\.kernel) == [Self.kernel])
        }
        try root.pushing(FilePath("\(BootEntryName.directory)/box_2_1.0.conf")).makeDirectories()
        let survey = try entries.survey()
        #expect(survey.entries.map(\.fileName) == ["box_1_1.0.conf"])
        #expect(survey.strays == [])
    }

    @Test("kernel images that no entry names are removed, and what they would leave is known before")
    func kernels() throws {
        let directory = try TemporaryDirectory()
        let (root, entries) = try partition(in: directory)
        try entries.add(name(1, .good), kernel: Self.kernel)
        let bytes = [UInt8](repeating: 7, count: 300_000)
        let kernel = KernelName(product: "box", version: "1.1", digest: SHA256Digest(of: bytes))
        #expect(try entries.digest(of: kernel) == nil)
        let writer = try entries.create(kernel)
        try bytes.withUnsafeBytes { buffer in
            let result = Result { () throws(BootControlFault) in try writer.append(buffer) }
            try result.get()
        }
        try writer.flush()
        #expect(try entries.digest(of: kernel) == SHA256Digest(of: bytes))
        #expect(try entries.list().count == 1)
        let full = BootEntries(FullPartition(files: BootDirectory(root)), product: "box")
        try root.appending("FSCK0000.REC").replaceContents(with: [UInt8](repeating: 0, count: 1000))
        #expect(try full.space(keeping: "1.0") == 301_007)
        try entries.removeUnused(keeping: "1.0")
        #expect(!root.appending("FSCK0000.REC").exists)
        #expect(
            try root.pushing(FilePath(KernelName.directory(product: "box"))).directoryEntries() == [
                Self.kernel.fileName
            ])
    }

    /// A partition with seven bytes left.
    private struct FullPartition: BootFiles {
        let files: BootDirectory

        func names(in directory: String) throws(BootControlFault) -> [String] { try files.names(in: directory) }
        func size(of path: String) throws(BootControlFault) -> Int64 { try files.size(of: path) }
        func read(_ path: String, _ body: (UnsafeRawBufferPointer) -> Void) throws(BootControlFault) {
            try files.read(path, body)
        }
        func availableSpace() throws(BootControlFault) -> Int64 { 7 }
        func create(_ path: String) throws(BootControlFault) -> any BootFileWriter { try files.create(path) }
        func remove(_ path: String) throws(BootControlFault) { try files.remove(path) }
        func flush() throws(BootControlFault) { try files.flush() }
    }

    @Test("names that lead out of the partition are no files", arguments: ["", "/etc/passwd", "../x", "a/../../b"])
    func escaping(_ path: String) throws {
        let directory = try TemporaryDirectory()
        let fault = #expect(throws: BootControlFault.self) { try BootDirectory(directory.path).remove(path) }
        #expect(fault?.code == .notFound)
    }
}
