import Cryptography
import Fault
import JSON
import Release
import Testing
import Trust

@Suite("Release document")
struct ReleaseDocumentTests {
    static func sample() throws -> ReleaseDocument {
        let digest = SHA256Digest(of: [1])
        var release = ReleaseDocument(
            product: "containerd", version: try ImageVersion("1.1.0~rc1"), architecture: "amd64",
            channels: ["stable", "beta"], epoch: 1_750_000_000,
            verity: VerityParameters(
                rootHash: digest, salt: [1, 2], uuid: "0c1ee8e1-2a1f-4f5e-9a67-0a0b0c0d0e0f", dataBlockCount: 3,
                blockSize: 4096, hashSize: 8192),
            image: .init(
                size: 12288, index: Blob(digest: digest, size: 120), frames: Blob(digest: digest, size: 4000)),
            kernel: Blob(digest: digest, size: 30_000_000))
        release.minimumAgent = try ImageVersion("0.1.0")
        release.floors = [try ImageVersion("1.0.5")]
        release.revokes = [try ImageVersion("1.0.9")]
        release.rollout = Rollout(
            start: UTCTime(seconds: 1_800_000_000),
            ramp: [.init(delay: 0, percent: 1), .init(delay: 3600, percent: 50), .init(delay: 7200, percent: 100)])
        release.notes = "Fixes “everything”.\n"
        return release
    }

    @Test("a release reads back as it was written, in the same bytes")
    func roundTrip() throws {
        let release = try Self.sample()
        let read = try ReleaseDocument(parsing: release.bytes, source: "release")
        #expect(read == release)
        #expect(read.bytes == release.bytes)
    }

    @Test("members that a reader does not know are passed over, a higher format is not")
    func future() throws {
        let text = String(decoding: try Self.sample().bytes, as: UTF8.self)
        let more = text.replacing("{\n  \"arch", with: "{\n  \"unknown\": [],\n  \"arch")
        #expect(try ReleaseDocument(parsing: Array(more.utf8), source: "release") == Self.sample())
        let newer = text.replacing("\"format\": 1", with: "\"format\": 2")
        let fault = try #require(throws: ReleaseFault.self) {
            try ReleaseDocument(parsing: Array(newer.utf8), source: "release")
        }
        #expect(fault.code == .unsupported)
        #expect("\(fault)" == "release: format 2 is not understood; update the agent first")
    }

    @Test(
        "what contradicts itself or leads elsewhere is refused",
        arguments: [
            ("\"containerd\"", "\"../containerd\""), ("\"1.1.0~rc1\"", "\"1.1.0_1\""),
            ("\"size\": 12288", "\"size\": 12289"),
            ("\"size\": 12288", "\"size\": 16384"), ("\"block_size\": 4096", "\"block_size\": 512"),
            ("\"size\": 120", "\"size\": 99999999"), ("\"percent\": 50", "\"percent\": 101"),
            ("\"after\": 3600", "\"after\": 9600"), ("\"root_hash\": \"", "\"root_hash\": \"0"),
            ("\"amd64\"", "\"amd_64\""), ("\"size\": 30000000", "\"size\": -1"),
        ])
    func refused(old: String, new: String) throws {
        let text = String(decoding: try Self.sample().bytes, as: UTF8.self)
        #expect(text.contains(old))
        let fault = try #require(throws: ReleaseFault.self) {
            try ReleaseDocument(parsing: Array(text.replacing(old, with: new).utf8), source: "release")
        }
        #expect(fault.code == .malformed)
    }

    @Test("a ramp lets a share of the hosts go at each step")
    func ramp() throws {
        let rollout = try #require(try Self.sample().rollout)
        let start = rollout.start
        #expect(rollout.percent(at: start.adding(seconds: -1)) == 0)
        #expect(rollout.percent(at: start) == 1)
        #expect(rollout.percent(at: start.adding(seconds: 3599)) == 1)
        #expect(rollout.percent(at: start.adding(seconds: 3600)) == 50)
        #expect(rollout.percent(at: start.adding(days: 100)) == 100)
        #expect(rollout.time(forPlace: 0) == start)
        #expect(rollout.time(forPlace: 1) == start.adding(seconds: 3600))
        #expect(rollout.time(forPlace: 99) == start.adding(seconds: 7200))
        for place in 0..<100 {
            let time = try #require(rollout.time(forPlace: place))
            #expect(rollout.percent(at: time) > place)
            #expect(rollout.percent(at: time.adding(seconds: -1)) <= place)
        }
    }

    @Test("releases are listed oldest first; entries that contradict their name are passed over")
    func listing() throws {
        var targets: [String: TargetsDocument.Target] = [:]
        for text in ["1.0", "1.10", "1.9", "1.0~rc1"] {
            var release = try Self.sample()
            release.version = try ImageVersion(text)
            release.channels = ["stable"]
            let name = ReleaseName(release)
            targets[name.description] = .init(bytes: release.bytes, custom: ReleaseEntry(release).custom)
        }
        let lie = try #require(targets["containerd_1.0_amd64.release.json"])
        targets["containerd_9.0_amd64.release.json"] = lie
        targets["other"] = .init(bytes: [], custom: .null)
        let listed = ReleaseEntry.all(
            in: TargetsDocument(version: 1, expires: UTCTime(seconds: 0), targets: targets))
        #expect(listed.map(\.name.version.description) == ["1.0~rc1", "1.0", "1.9", "1.10"])
        #expect(listed.allSatisfy { $0.channels == ["stable"] })
    }
}
