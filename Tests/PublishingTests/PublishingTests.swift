import Cryptography
import Fault
import FileIO
import JSON
import Publishing
import Release
import SystemPackage
import TestSupport
import Testing
import Trust

@Suite("Publishing")
struct PublishingTests {
    let now = FakeBuild.now

    /// The paths and digests of everything below `directory`.
    func files(_ directory: FilePath) throws -> [String: SHA256Digest] {
        var files: [String: SHA256Digest] = [:]
        for part in ["metadata", "targets", "blobs"] {
            for name in try directory.appending(part).directoryEntries() {
                files["\(part)/\(name)"] = try SHA256Digest.ofFile(directory.appending(part).appending(name)).digest
            }
        }
        return files
    }

    /// What a host sees of the repository in `directory`, which only has its first root.
    func host(_ directory: FilePath, at time: UTCTime) throws -> TrustedRepository {
        let root = try directory.appending("metadata/1.root.json").contents()
        return try MetadataClient(
            trustedRoot: root, source: DirectorySource(directory), store: DirectoryStore(directory.appending("../host"))
        ).refresh(now: time)
    }

    @Test("what is published is what a host accepts, and decompresses to the build's image")
    func published() async throws {
        let directory = try TemporaryDirectory()
        let path = directory.path.appending("repository")
        let repository = Repository(path)
        try repository.initialize(keys: try FakeBuild.keys(), now: now)
        #expect(ReleaseEntry.all(in: try host(path, at: now).targets).isEmpty)
        for version in ["1.0", "1.10", "1.9"] {
            let build = try FakeBuild.write(to: directory.path.appending("build"), version: version)
            var options = Repository.Options(channels: ["stable", "beta"])
            options.notes = "Notes of \(version)"
            _ = try await repository.publish(build, options: options, keys: try FakeBuild.keys(), now: now)
        }
        let trusted = try host(path, at: now)
        let releases = ReleaseEntry.all(in: trusted.targets)
        #expect(releases.map(\.name.version.description) == ["1.0", "1.9", "1.10"])
        let name = try #require(releases.last?.name.description)
        let release = try ReleaseDocument(
            parsing: trusted.fetch(name, limit: ReleaseDocument.byteLimit), source: name)
        #expect(release.notes == "Notes of 1.10")
        #expect(release.channels == ["stable", "beta"])
        #expect(try decompress(release, in: path) == SHA256Digest(of: FakeBuild.image(blocks: 700)))
    }

    /// The digest of the image that the repository's blobs make up.
    func decompress(_ release: ReleaseDocument, in path: FilePath) throws -> SHA256Digest {
        let index = try FrameIndex(
            parsing: path.appending(release.image.index.path).contents(), source: release.image.index.path)
        let blob = try path.appending(release.image.frames.path).contents()
        var hasher = SHA256Hasher()
        for frame in index.frames {
            let piece = Array(blob[Int(frame.range.lowerBound)..<Int(frame.range.upperBound)])
            #expect(SHA256Digest(of: piece) == frame.digest)
            let raw = try zstdContent(piece)
            #expect(SHA256Digest(of: raw) == frame.rawDigest)
            hasher.update(raw)
        }
        return hasher.finish()
    }

    @Test("publishing the same build twice, elsewhere, gives the same bytes")
    func deterministic() async throws {
        let directory = try TemporaryDirectory()
        let build = try FakeBuild.write(to: directory.path.appending("build"), version: "1.0")
        var results: [[String: SHA256Digest]] = []
        for name in ["one", "two"] {
            let repository = Repository(directory.path.appending(name))
            try repository.initialize(keys: try FakeBuild.keys(), now: now)
            _ = try await repository.publish(
                build, options: .init(channels: ["stable"]), keys: try FakeBuild.keys(), now: now)
            results.append(try files(directory.path.appending(name)))
        }
        #expect(results[0] == results[1])
    }

    @Test("a directory that holds something else does not become a repository")
    func notEmpty() async throws {
        let directory = try TemporaryDirectory()
        _ = try FakeBuild.write(to: directory.path, version: "1.0")
        let before = try directory.path.directoryEntries().sorted()
        let fault = #expect(throws: PublishingFault.self) {
            try Repository(directory.path).initialize(keys: try FakeBuild.keys(), now: now)
        }
        #expect(fault?.message.contains("', which is not a repository's") == true)
        #expect(try directory.path.directoryEntries().sorted() == before)
    }

    @Test("a version is published once, and a second attempt changes nothing")
    func twice() async throws {
        let directory = try TemporaryDirectory()
        let path = directory.path.appending("repository")
        let build = try FakeBuild.write(to: directory.path.appending("build"), version: "1.0")
        let repository = Repository(path)
        try repository.initialize(keys: try FakeBuild.keys(), now: now)
        let keys = try FakeBuild.keys()
        _ = try await repository.publish(build, options: .init(channels: ["stable"]), keys: keys, now: now)
        let before = try files(path)
        let fault = await #expect(throws: PublishingFault.self) {
            try await repository.publish(build, options: .init(channels: ["beta"]), keys: keys, now: now)
        }
        #expect(fault?.code == .alreadyPublished)
        #expect(
            fault?.description
                == "\(path): box 1.0 for amd64 is published already; publish another build under another version; "
                + "what is published never changes")
        #expect(try files(path) == before)
        // Hosts compare versions and not their spellings.
        let other = try FakeBuild.write(to: directory.path.appending("other"), version: "1.00")
        let same = await #expect(throws: PublishingFault.self) {
            try await repository.publish(other, options: .init(channels: ["stable"]), keys: keys, now: now)
        }
        #expect(same?.message == "box 1.0 for amd64 is published already")
        #expect(try files(path) == before)
    }

    @Test("what hosts would not read for its length is not published, and leaves nothing")
    func tooLong() async throws {
        let directory = try TemporaryDirectory()
        let path = directory.path.appending("repository")
        let build = try FakeBuild.write(to: directory.path.appending("build"), version: "1.0")
        let repository = Repository(path)
        let keys = try FakeBuild.keys()
        try repository.initialize(keys: keys, now: now)
        let before = try files(path)
        var options = Repository.Options(channels: ["stable"])
        options.notes = String(repeating: "\u{1B}", count: 1 << 18)
        let fault = await #expect(throws: PublishingFault.self) {
            try await repository.publish(build, options: options, keys: keys, now: now)
        }
        #expect(fault?.message.hasSuffix("bytes, and hosts read at most 1048576") == true)
        #expect(fault?.place == .named("--notes"))
        #expect(try files(path) == before)
    }

    @Test("a release that no host could take is refused, and what its hosts would miss is warned of")
    func conditions() async throws {
        let directory = try TemporaryDirectory()
        let path = directory.path.appending("repository")
        let repository = Repository(path)
        let keys = try FakeBuild.keys()
        try repository.initialize(keys: keys, now: now)
        func publish(
            _ version: String, in channels: [String] = ["stable"], floors: [String] = [], revokes: [String] = [],
            _ change: (FilePath) throws -> Void = { _ in }
        ) async throws -> [String] {
            let built = directory.path.appending("build-\(version)")
            try FakeBuild.write(to: built, version: version, blocks: 8)
            try change(built.appending("build.json"))
            var options = Repository.Options(channels: channels)
            options.floors = try floors.map { try ImageVersion($0) }
            options.revokes = try revokes.map { try ImageVersion($0) }
            return try await repository.publish(
                try BuildDescription(built), options: options, keys: keys, now: now
            ).warnings
        }
        func refusal(
            _ version: String, in channels: [String] = ["stable"], floors: [String] = [], revokes: [String] = []
        ) async throws -> String {
            let before = try files(path)
            let fault = await #expect(throws: PublishingFault.self) {
                _ = try await publish(version, in: channels, floors: floors, revokes: revokes)
            }
            #expect(fault?.code == .badRequest)
            #expect(try files(path) == before)
            return fault?.description ?? ""
        }
        let plain = try await publish("1.0")
        #expect(plain.count == 2)
        #expect(
            plain.first?.hasPrefix("the image names no repository, so that hosts which run it find no update") == true)
        #expect(plain.last?.hasPrefix("the image trusts no root metadata") == true)
        func trusting(_ digest: SHA256Digest) -> (FilePath) throws -> Void {
            { report in
                guard case .object(var members) = try JSONValue(parsing: report.text(), source: "build.json") else {
                    return
                }
                members["repository"] = "https://updates.example.org"
                members["inputs"] = ["trusted_root": .string(digest.description)]
                try report.replaceContents(with: JSONValue.object(members).text())
            }
        }
        let own = try SHA256Digest.ofFile(path.appending("metadata/1.root.json")).digest
        #expect(try await publish("1.1", trusting(own)) == [])
        let foreign = try await publish("1.2", revokes: ["0.7"], trusting(SHA256Digest(of: "another".utf8)))
        // Whoever asks for it gets no such release.
        let regretted = directory.path.appending("build-1.2.5")
        try FakeBuild.write(to: regretted, version: "1.2.5", blocks: 8)
        var strict = Repository.Options(channels: ["stable"])
        strict.refusesWarnings = true
        let options = strict
        let before = try files(path)
        let refused = await #expect(throws: PublishingFault.self) {
            try await repository.publish(try BuildDescription(regretted), options: options, keys: keys, now: now)
        }
        #expect(refused?.code == .badRequest)
        #expect(refused?.message.hasPrefix(plain.joined(separator: "; ")) == true)
        #expect(refused?.remedy == "what is published never changes; '--accept-warnings' publishes it all the same")
        #expect(try files(path) == before)
        #expect(foreign.first == "0.7 is revoked and was never published here")
        #expect(foreign.last?.hasPrefix("the root metadata that the image trusts is not this repository's") == true)

        #expect(
            try await refusal("1.3", revokes: ["1.3"])
                == "--revoke: 1.3 would revoke itself; name the versions that it replaces")
        #expect(
            try await refusal("1.3", floors: ["1.3"])
                == "--floor: no host below 1.3 could run 1.3 before it; name a lower version")
        #expect(
            try await refusal("1.3", in: ["stable", "beta"], floors: ["1.1"])
                == "--floor: hosts in channel 'beta' that are below 1.1 would have to run it or one between it and 1.3 first, "
                + "and there is none that is not revoked; publish one in 'beta' before it")
        #expect(
            try await refusal("1.3", floors: ["1.1"], revokes: ["1.1", "1.2"])
                == "--floor: hosts in channel 'stable' that are below 1.1 would have to run it or one between it and 1.3 "
                + "first, and there is none that is not revoked; publish one in 'stable' before it"
        )
        #expect(
            try await refusal("0.7")
                == "1.2 revokes 0.7, so that no host would take it; publish it under another version")
        #expect(
            try await refusal("1.3", in: ["Stable!"])
                == "'Stable!' cannot be a channel's name; use 1 to 64 of a-z, A-Z, 0-9, '.' and '-', and no '.' at its "
                + "beginning")
        _ = try await publish("1.3", floors: ["1.1"], revokes: ["1.2"], trusting(own))
        let report = try RepositoryReport(repository)
        let text = report.text(now: now)
        #expect(text.contains("after 1.1; revokes 1.2"))
        #expect(text.contains("REVOKED by 1.3"))

        let deadEnd =
            "hosts in channel 'stable' that run an old version do not come to 1.3: what its floor asks for is revoked, or has "
            + "a floor that they do not come to"
        #expect(try await publish("1.4", in: ["beta"], revokes: ["1.1"], trusting(own)) == [deadEnd])
        // 1.3 has a floor of its own, so it is no step for those who need one, but for those who are there already.
        #expect(
            try await publish("1.5", floors: ["1.1"], trusting(own)) == [deadEnd.replacing("to 1.3:", with: "to 1.5:")])
    }

    @Test("a look at every file finds what is damaged, missing or left over")
    func inspection() async throws {
        let directory = try TemporaryDirectory()
        let path = directory.path.appending("repository")
        let repository = Repository(path)
        let keys = try FakeBuild.keys()
        try repository.initialize(keys: keys, now: now)
        for version in ["1.0", "1.1"] {
            let build = try FakeBuild.write(
                to: directory.path.appending("build-\(version)"), version: version, blocks: version == "1.0" ? 8 : 16)
            _ = try await repository.publish(build, options: .init(channels: ["stable"]), keys: keys, now: now)
        }
        let whole = try await repository.check()
        #expect(whole.releases == 2)
        // Both have one kernel.
        #expect(whole.blobs == 5)
        #expect(whole.problems.isEmpty)
        #expect(whole.strays.isEmpty)
        let blobs = path.appending("blobs")
        let names = try blobs.directoryEntries().sorted()
        var bytes = try blobs.appending(names[0]).contents()
        bytes[bytes.count / 2] ^= 1
        try blobs.appending(names[0]).replaceContents(with: bytes)
        try blobs.appending(names[1]).replaceContents(with: try blobs.appending(names[1]).contents().dropLast())
        try blobs.appending(names[2]).removeTree()
        try blobs.appending("left").replaceContents(with: "over")
        try blobs.appending(".being-written").replaceContents(with: "by another process")
        let found = try await repository.check()
        #expect(found.problems.map { $0.place?.description } == names.prefix(3).map { blobs.appending($0).string })
        #expect(found.problems[0].message == "is not the file that the release names: its SHA-256 differs")
        let left = try blobs.appending(names[1]).contents().count
        #expect(found.problems[1].message == "has \(left) bytes, and the release names \(left + 1)")
        #expect(found.problems[2].message == "is missing")
        #expect(found.strays == ["left"])
        // Somebody may be publishing it; where nobody is, looking leaves nothing either.
        let lock = path.appending(".lock")
        try await {
            let held = try FileLock.waiting(for: lock)
            defer { withExtendedLifetime(held) {} }
            #expect(try await repository.check().strays == [])
        }()
        try lock.removeTree()
        #expect(try await repository.check().strays == ["left"])
        #expect(!lock.exists)
        // A release document that cannot be read may name any blob.
        let documents = try path.appending("targets").directoryEntries().sorted()
        let document = path.appending("targets").appending(try #require(documents.first))
        let text = try document.contents()
        try document.replaceContents(with: "{}")
        let blind = try await repository.check()
        #expect(blind.problems.contains { $0.message == "the release document cannot be read" })
        #expect(blind.strays == [])
        try document.replaceContents(with: text)
        // Damaged metadata is told of with advice for whoever has the repository, and not for a host.
        try path.appending("metadata/3.targets.json").replaceContents(with: "{}")
        let fault = await #expect(throws: PublishingFault.self) { try await repository.check() }
        #expect(fault?.message.hasPrefix("the repository's metadata is damaged: ") == true)
        #expect(fault?.remedy == "put back what was there when it was last published, from a copy")
    }

    @Test("a build whose files changed, or that is not complete, leaves the repository as it was")
    func badBuild() async throws {
        let directory = try TemporaryDirectory()
        let path = directory.path.appending("repository")
        let repository = Repository(path)
        let keys = try FakeBuild.keys()
        try repository.initialize(keys: keys, now: now)
        let before = try files(path)
        for file in ["image", "kernel"] {
            let build = try FakeBuild.write(to: directory.path.appending("build"), version: "1.0")
            let changed = directory.path.appending("build").appending(file)
            let whole = try changed.contents()
            for bytes in [[whole[0] ^ 1] + whole.dropFirst(), Array(whole.dropLast())] {
                try changed.replaceContents(with: bytes)
                let fault = await #expect(throws: PublishingFault.self) {
                    try await repository.publish(build, options: .init(channels: ["stable"]), keys: keys, now: now)
                }
                #expect(fault?.code == .badBuild)
                #expect(try files(path).keys.filter { !$0.hasPrefix("blobs/") }.sorted() == before.keys.sorted())
                #expect(try path.appending("blobs").directoryEntries().allSatisfy { !$0.hasPrefix(".") })
            }
        }
        #expect(throws: PublishingFault.self) { try BuildDescription(directory.path.appending("nothing")) }
    }

    @Test("keys that are missing, or that the root does not name, sign nothing")
    func wrongKeys() async throws {
        let directory = try TemporaryDirectory()
        let path = directory.path.appending("repository")
        let build = try FakeBuild.write(to: directory.path.appending("build"), version: "1.0")
        let repository = Repository(path)
        try repository.initialize(keys: try FakeBuild.keys(), now: now)
        let before = try files(path)
        let some = KeySet(try FakeBuild.keys().keys.filter { $0.key != .snapshot })
        for (keys, message) in [
            (try FakeBuild.keys(50), "the repository's root names another targets key"),
            (some, "the snapshot key is missing"),
        ] {
            let fault = await #expect(throws: PublishingFault.self) {
                try await repository.publish(build, options: .init(channels: ["stable"]), keys: keys, now: now)
            }
            #expect(fault?.code == .key)
            #expect(fault?.message == message)
        }
        #expect(try files(path) == before)
        let again = #expect(throws: PublishingFault.self) {
            try repository.initialize(keys: try FakeBuild.keys(), now: now)
        }
        #expect(again?.code == .badRepository)
        // Also where the root's key is away.
        let away = #expect(throws: PublishingFault.self) {
            try repository.initialize(keys: KeySet(some.keys.filter { $0.key != .root }), now: now)
        }
        #expect(away?.message == "there is a repository already")
        // New keys are of use to a new repository alone.
        let other = directory.path.appending("other")
        let none = #expect(throws: PublishingFault.self) { try Repository(other).initialize(keys: some, now: now) }
        #expect(none?.remedy?.hasSuffix("or make new keys with 'ballast key generate'") == true)
        #expect(!other.exists)
        let lost = await #expect(throws: PublishingFault.self) {
            try await repository.publish(build, options: .init(channels: ["stable"]), keys: some, now: now)
        }
        #expect(lost?.remedy?.hasSuffix("or put it back from a copy") == true)
    }

    @Test("a refresh signs what is due, and a repository that has expired comes back")
    func refresh() async throws {
        let directory = try TemporaryDirectory()
        let path = directory.path.appending("repository")
        let repository = Repository(path)
        let keys = try FakeBuild.keys()
        let online = KeySet(keys.keys.filter { $0.key == .timestamp || $0.key == .snapshot })
        try repository.initialize(keys: keys, now: now)
        #expect(try repository.refresh(keys: online, now: now.adding(days: 1)).roles == [.timestamp])
        #expect(try host(path, at: now.adding(days: 30)).timestamp.version == 2)
        #expect(try repository.refresh(keys: online, now: now.adding(days: 50)).roles == [.snapshot, .timestamp])
        #expect(throws: TrustFault.self) { try host(path, at: now.adding(days: 90)) }
        let late = now.adding(days: 800)
        let fault = #expect(throws: PublishingFault.self) { try repository.refresh(keys: online, now: late) }
        #expect(fault?.message == "the targets key is missing")
        #expect(try repository.refresh(keys: keys, now: late).roles == [.root, .targets, .snapshot, .timestamp])
        #expect(try host(path, at: late.adding(days: 29)).root.version == 2)
        let soon = try repository.refresh(
            keys: KeySet(keys.keys.filter { $0.key != .root }), now: late.adding(days: 400))
        #expect(soon.rootExpiresSoon == late.adding(days: 730))
    }

    @Test("every moment of a publication is a repository that a host accepts")
    func consistent() async throws {
        let directory = try TemporaryDirectory()
        let path = directory.path.appending("repository")
        let build = try FakeBuild.write(to: directory.path.appending("build"), version: "1.0")
        let repository = Repository(path)
        let keys = try FakeBuild.keys()
        try repository.initialize(keys: keys, now: now)
        let old = try path.appending("metadata/timestamp.json").contents()
        _ = try await repository.publish(build, options: .init(channels: ["stable"]), keys: keys, now: now)
        // Everything but the timestamp in place: a host sees the repository as it was.
        let new = try path.appending("metadata/timestamp.json").contents()
        try path.appending("metadata/timestamp.json").replaceContents(with: old)
        #expect(try host(path, at: now).targets.targets.isEmpty)
        // Whoever publishes goes on from there.
        let next = try FakeBuild.write(to: directory.path.appending("build"), version: "1.1")
        _ = try await repository.publish(next, options: .init(channels: ["stable"]), keys: keys, now: now)
        #expect(ReleaseEntry.all(in: try host(path, at: now).targets).map(\.name.version.description) == ["1.1"])
        #expect(!new.isEmpty)
    }

    @Test("the report names versions, sizes and what has expired")
    func report() async throws {
        let directory = try TemporaryDirectory()
        let path = directory.path.appending("repository")
        let build = try FakeBuild.write(to: directory.path.appending("build"), version: "1.0")
        let repository = Repository(path)
        let keys = try FakeBuild.keys()
        try repository.initialize(keys: keys, now: now)
        #expect(try RepositoryReport(repository).text(now: now).hasSuffix("Nothing is published yet."))
        _ = try await repository.publish(build, options: .init(channels: ["stable"]), keys: keys, now: now)
        let report = try RepositoryReport(repository)
        let text = report.text(now: now.adding(days: 40))
        #expect(text.contains("timestamp  2        2027-02-14T08:00:00Z  EXPIRED"))
        #expect(text.contains("box      1.0      amd64         stable"))
        let cursor = JSONCursor(report.value, source: "report")
        #expect(try cursor.field("releases").elements().first?.field("image_size").integer() == 700 * 4096)
    }

    @Test("keys are made for all roles, once, and open with their passphrase")
    func keys() throws {
        let directory = try TemporaryDirectory()
        let path = directory.path.appending("keys")
        let passphrase = Passphrase("pass".utf8)
        let made = try KeySet.generate(in: path, passphrase: passphrase)
        #expect(try path.directoryEntries() == ["root.pem", "snapshot.pem", "targets.pem", "timestamp.pem"])
        #expect(try FileStatus(of: path).permissions == 0o700)
        let read = try KeySet(path) { () throws(CryptographyFault) in passphrase }
        #expect(read.keys.mapValues(\.publicKey) == made.keys.mapValues(\.publicKey))
        #expect(throws: PublishingFault.self) { try KeySet.generate(in: path, passphrase: passphrase) }
        let fault = #expect(throws: PublishingFault.self) {
            try KeySet(path) { () throws(CryptographyFault) in Passphrase("word".utf8) }
        }
        #expect((fault?.cause as? CryptographyFault)?.code == .wrongPassphrase)
    }
}

/// A repository's files, as a host gets them.
struct DirectorySource: MetadataSource {
    private let path: FilePath

    init(_ path: FilePath) { self.path = path }

    func fetch(_ path: String, limit: Int) throws -> [UInt8]? {
        let file = self.path.appending(path)
        return file.exists ? try file.contents(limit: limit) : nil
    }
}
