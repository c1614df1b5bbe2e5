import Cryptography
import Fault
import FileIO
import JSON
import Publishing
import Release
import SystemPackage
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
        var decoder = try FrameDecoder()
        var hasher = SHA256Hasher()
        for frame in index.frames {
            var raw = [UInt8](repeating: 0, count: frame.rawLength)
            let piece = Array(blob[Int(frame.range.lowerBound)..<Int(frame.range.upperBound)])
            let result = raw.withUnsafeMutableBytes { raw in
                piece.withUnsafeBytes { piece in
                    Result { () throws(ReleaseFault) in try decoder.decode(piece, of: frame, into: raw) }
                }
            }
            try result.get()
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
