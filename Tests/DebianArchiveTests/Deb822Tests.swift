import DebianArchive
import Fault
import FileIO
import SystemPackage
import Testing

@Suite("Files of the archive")
struct Deb822Tests {
    private func parse(_ text: String, comments: Bool = false) throws -> [Deb822Paragraph] {
        var parser = Deb822Parser(Array(text.utf8), source: "f", allowsComments: comments)
        var paragraphs: [Deb822Paragraph] = []
        while let paragraph = try parser.next() { paragraphs.append(paragraph) }
        return paragraphs
    }

    @Test("paragraphs, continuation lines and the case of names are read as Debian policy 5.1 says")
    func paragraphs() throws {
        let found = try parse("\n\nA: 1\nb-C:2 \n\n \t\nSHA256:\n x 1\n\ty 2\nLast: z")
        #expect(found.count == 2)
        #expect(found[0]["a"] == "1" && found[0]["B-c"] == "2" && found[0]["x"] == nil)
        #expect(found[1]["SHA256"] == "x 1\n\ty 2" && found[1]["Last"] == "z")
        #expect(found[1].line == 7)
    }

    @Test(
        "what breaks the grammar is refused with its line",
        arguments: [
            (" x\n", "f:1:1: a continuation line stands before the first field"),
            ("A: 1\nnothing\n", "f:2:1: expected 'Field: value'"), (": x\n", "f:1:1: expected 'Field: value'"),
            ("A b: x\n", "f:1:1: expected 'Field: value'"), ("A: 1\nB: 2\na: 3\n", "f:1:1: the field 'a' stands twice"),
            ("A: 1\n# no\n", "f:2:1: expected 'Field: value'"),
            (String(repeating: "x", count: 10_000), "f:1:1: expected 'Field: value'"),
            ((0..<300).map { "F\($0): 1\n" }.joined(), "f:257:1: more than 256 fields"),
        ])
    func refused(text: String, message: String) throws {
        let fault = try #require(throws: DebianArchiveFault.self) { try parse(text) }
        #expect("\(fault)" == message)
    }

    @Test("any text ends in paragraphs or an error, cut anywhere", arguments: 0..<60)
    func cut(length: Int) {
        let text = "Package: a\nVersion: 1\nDescription: x\n y\n .\n\nPackage: b\n#\u{0}:\n"
        _ = try? parse(String(text.prefix(length)), comments: length % 2 == 0)
    }

    @Test(
        "dates of Release files are read to the second",
        arguments: [
            ("Thu, 01 Jan 1970 00:00:00 UTC", 0), ("Sat, 21 Nov 2026 00:53:03 UTC", 1_795_222_383),
            ("Tue, 29 Feb 2028 23:59:59 UTC", 1_835_481_599), ("Sat, 12 Sep 2026 07:55:41 UTC", 1_789_199_741),
        ])
    func dates(text: String, seconds: Int64) {
        #expect(ArchiveDate.seconds(text) == seconds)
        #expect(LocalArchive.text(seconds) == text)
    }

    @Test(
        "dates are written so that another reader agrees",
        arguments: Array(stride(from: Int64(0), to: 4_000_000_000, by: 86_399_999)))
    func datesBack(seconds: Int64) { #expect(ArchiveDate.seconds(LocalArchive.text(seconds)) == seconds) }

    @Test(
        "what is no date is refused",
        arguments: [
            "", "Sat, 21 Nov 2026 00:53:03", "Sat, 21 Foo 2026 00:53:03 UTC", "Sat, 21 Nov 2026 24:53:03 UTC",
            "Sat, 21 Nov 2026 00:53:03 CET",
        ])
    func noDates(text: String) { #expect(ArchiveDate.seconds(text) == nil) }

    @Test("the mirror is found in both formats of apt's sources, and the security archive beside it")
    func sources() throws {
        let files = try DirectoryBox()
        let apt = files.path.appending("etc/apt")
        try apt.appending("sources.list.d").makeDirectories()
        try files.path.appending("etc/os-release").replaceContents(with: "ID=debian\nVERSION_CODENAME=bookworm\n")
        let list = apt.appending("sources.list")
        try list.replaceContents(
            with: """
                deb-src http://a.example/debian bookworm main
                # deb http://b.example/debian bookworm main
                deb [arch=amd64 signed-by=/x] http://c.example/other stable extra
                deb [ arch=amd64 ] http://d.example/debian/ bookworm main contrib
                """)
        #expect(try Mirror.ofMachine(root: files.path) == Mirror(main: "http://d.example/debian"))
        #expect(
            try Mirror.ofMachine(root: files.path).base(ofSuite: "trixie-security")
                == "http://d.example/debian-security")
        try list.removeTree()
        try apt.appending("sources.list.d/debian.sources").replaceContents(
            with: """
                # Comment
                Types: deb deb-src
                URIs: http://e.example/debian
                Suites: bookworm bookworm-updates
                Components: main

                Types: deb
                URIs: https://f.example/sec
                # Comment inside
                Suites: bookworm-security
                Components: main

                Enabled: no
                Types: deb
                URIs: https://g.example/debian
                Suites: bookworm
                Components: main
                """)
        let mirror = try Mirror.ofMachine(root: files.path)
        #expect(mirror == Mirror(main: "http://e.example/debian", security: "https://f.example/sec"))
        #expect(mirror.base(ofSuite: "trixie-updates") == "http://e.example/debian")
    }

    @Test("a machine without a Debian source says how to name one")
    func noSources() throws {
        let files = try DirectoryBox()
        let fault = try #require(throws: DebianArchiveFault.self) { try Mirror.ofMachine(root: files.path) }
        #expect(fault.code == .noMirror && fault.remedy == "give one with --mirror")
    }
}
