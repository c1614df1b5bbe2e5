import DebianArchive
import Fault
import FileIO
import SystemPackage
import Testing

@Suite("Fetching a suite")
struct ArchiveClientTests {
    private func archive() async throws -> LocalArchive {
        let archive = try await LocalArchive()
        try await archive.publish([.init(name: "a"), .init(name: "b", fields: ["Depends": "a"])])
        return archive
    }

    /// The fault of fetching the suite and its index, without the server's address.
    private func message(
        _ archive: LocalArchive, _ client: ArchiveClient? = nil, suite: String = "trixie", component: String = "main"
    ) async throws -> String {
        let client = client ?? archive.client()
        do {
            _ = try await client.index(
                of: client.release(of: client.source(debianSuite: suite)), component: component, architecture: "amd64")
            return "no fault"
        } catch {
            return "\(error.code.rawValue) \(error)".replacing(archive.mirror.main, with: "M")
        }
    }

    @Test("a signed suite is read, and an index that is in the cache is not fetched again")
    func good() async throws {
        let archive = try await archive()
        let client = archive.client()
        for _ in 0..<2 {
            let release = try await client.release(of: client.source(debianSuite: "trixie"))
            let index = try await client.index(of: release, component: "main", architecture: "amd64")
            #expect(index.entries.map(\.name) == ["a", "b"])
            #expect(release.date == LocalArchive.now - 3600)
        }
        #expect(archive.requests.filter { $0.hasSuffix("Packages.xz") }.count == 1)
    }

    @Test("a Release file that was changed after it was signed is refused")
    func tampered() async throws {
        let archive = try await archive()
        let file = archive.directory(ofSuite: "trixie").appending("InRelease")
        try file.replaceContents(with: try file.text().replacing("Origin: Test", with: "Origin: Evil"))
        #expect(
            try await message(archive)
                == "signature M/dists/trixie/InRelease: the signature is wrong: the file was changed after it was signed; do "
                + "not use this mirror until it is known why; nothing was written")
    }

    @Test("a Release file signed by another key, or by none, is refused")
    func stranger() async throws {
        let archive = try await archive()
        let stranger = try await Signer.stranger.value
        let unknown = try await message(archive, archive.client(keyring: stranger.keyring))
        #expect(
            unknown.wholeMatch(
                of:
                    /signature M\/dists\/trixie\/InRelease: signed only by keys that the keyring does not have \([0-9A-F]{40}\); .*/
            )
                != nil, "\(unknown)")
        let file = archive.directory(ofSuite: "trixie").appending("InRelease")
        try file.replaceContents(with: "Suite: stable\nCodename: trixie\n")
        #expect(try await message(archive).hasPrefix("signature M/dists/trixie/InRelease: not signed;"))
        #expect(
            try await message(archive, archive.client(keyring: "/nonexistent.gpg"))
                == "signature /nonexistent.gpg: the keyring is not there")
    }

    @Test("text around the signed part is not taken for signed")
    func around() async throws {
        let archive = try await archive()
        let file = archive.directory(ofSuite: "trixie").appending("InRelease")
        let signed = try file.text()
        try file.replaceContents(with: "Suite: stable\nCodename: evil\n\n" + signed + "\nCodename: evil\n")
        // Whether gpgv refuses it or reads only the signed part: nothing of the rest is believed.
        let release = try? await archive.client().release(of: archive.client().source(debianSuite: "trixie"))
        #expect(release == nil || release?.suite == "trixie")
        #expect(throws: Never.self) { try file.replaceContents(with: signed) }
        await #expect(throws: DebianArchiveFault.self) {
            try await archive.client().release(of: archive.client().source(debianSuite: "evil"))
        }
    }

    @Test("a Release file past its Valid-Until, or from the future, is refused")
    func dates() async throws {
        let archive = try await archive()
        let until = LocalArchive.now + 86_400
        #expect(try await message(archive, archive.client(at: until)) == "no fault")
        #expect(
            try await message(archive, archive.client(at: until + 1))
                == "expired M/dists/trixie/InRelease: the Release file was valid until \(ArchiveDate.text(until)), and it is "
                + "\(ArchiveDate.text(until + 1)) now; use a mirror that is up to date, or set this machine's clock")
        #expect(
            try await message(archive, archive.client(at: LocalArchive.now - 90_000))
                .hasPrefix(
                    "not-yet-valid M/dists/trixie/InRelease: the Release file is dated"))
    }

    @Test("a mirror that answers with another suite is refused")
    func otherSuite() async throws {
        let archive = try await LocalArchive()
        try await archive.publish([.init(name: "a")], suite: "trixie", codename: "bookworm")
        #expect(
            try await message(archive)
                == "wrong-suite M/dists/trixie/InRelease: the Release file is for bookworm / stable, and 'trixie' was asked "
                + "for; check the suite's name and the mirror")
    }

    @Test("an index that is not the signed one is refused, and not kept")
    func tamperedIndex() async throws {
        let archive = try await archive()
        let file = archive.directory(ofSuite: "trixie").appending("main/binary-amd64/Packages.xz")
        var bytes = try file.contents()
        bytes[bytes.count / 2] ^= 1
        try file.replaceContents(with: bytes)
        let text = try await message(archive)
        #expect(
            text.hasPrefix(
                "digest-mismatch M/dists/trixie/main/binary-amd64/Packages.xz: the index is not the one that the signed "
                    + "Release file names"))
        #expect(try archive.cache.appending("indices").directoryEntries().filter { $0.count == 64 } == [])
        try file.replaceContents(with: "<html>Please log in</html>")
        #expect(try await message(archive).hasPrefix("digest-mismatch"))
    }

    @Test("a suite or component that is not there is said")
    func notThere() async throws {
        let archive = try await archive()
        #expect(
            try await message(archive, suite: "trixy")
                .hasPrefix(
                    "transfer the suite 'trixy' cannot be fetched: M/dists/trixy/Release: the server has nothing here"
                ))
        #expect(
            try await message(archive, component: "contrib")
                == "wrong-suite M/dists/trixie/InRelease: the suite 'trixie' has no component 'contrib', only main; correct "
                + "distribution.components")
    }
}
