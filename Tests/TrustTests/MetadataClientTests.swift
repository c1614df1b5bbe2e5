import Cryptography
import Fault
import FileIO
import JSON
import SystemPackage
import Testing
import Trust

@Suite("TUF client")
struct MetadataClientTests {
    let repository: FakeRepository
    let store = MemoryStore()
    let trustedRoot: [UInt8]
    let now = FakeRepository.start

    init() throws {
        repository = try FakeRepository()
        trustedRoot = try #require(repository.files["metadata/1.root.json"])
    }

    @discardableResult
    func refresh(at time: UTCTime? = nil) throws -> TrustedRepository {
        try MetadataClient(trustedRoot: trustedRoot, source: repository, store: store).refresh(now: time ?? now)
    }

    /// The fault of a refresh, which must leave what was kept as it was.
    func refused(at time: UTCTime? = nil, leaving unchanged: Bool = true) throws -> TrustFault {
        let before = store.documents.filter { $0.key != .onlineKeys }
        let fault = try #require(throws: TrustFault.self) { try refresh(at: time) }
        if unchanged { #expect(store.documents.filter { $0.key != .onlineKeys } == before) }
        return fault
    }

    /// Takes a document apart and signs it again with the role's keys after `change`.
    func resign(_ path: String, _ role: MetadataRole, _ change: (inout [String: JSONValue]) -> Void) throws {
        let envelope = try SignedEnvelope(parsing: #require(repository.files[path]), source: path)
        guard case .object(var members) = envelope.signed else { return }
        change(&members)
        repository.files[path] = try repository.sign(.object(members), role)
    }

    @Test("a good repository is accepted, its target fetched, and the second time only the timestamp is asked for")
    func good() throws {
        let trusted = try refresh()
        #expect(trusted.targets.targets.keys.sorted() == [repository.targetName])
        #expect(try trusted.fetch(repository.targetName, limit: 100) == repository.release)
        repository.fetched = []
        try refresh()
        #expect(repository.fetched == ["metadata/2.root.json", "metadata/timestamp.json"])
        try repository.publish(2)
        #expect(try refresh().timestamp.version == 2)
    }

    @Test("a repository signed by other keys is refused")
    func otherKeys() throws {
        for role in MetadataRole.allCases { repository.keys[role] = [try FakeRepository.key(99)] }
        try repository.publish(2)
        let fault = try refused()
        #expect(fault.code == .unsigned)
        #expect(
            "\(fault)"
                == "metadata/timestamp.json: signed by 0 of the 1 keys that version 1 of the trusted root requires; "
                + "do not use this repository until who runs it explains why; it may be another one, or tampered with")
    }

    @Test(
        "each document signed by another role's key is refused",
        arguments: [MetadataRole.timestamp, .snapshot, .targets])
    func otherRole(role: MetadataRole) throws {
        repository.keys[role] = try #require(repository.keys[role == .timestamp ? .targets : .timestamp])
        try repository.publish(2)
        #expect(try refused(leaving: false).code == .unsigned)
    }

    @Test("each role's expiry counts, at the very second", arguments: MetadataRole.allCases)
    func expired(role: MetadataRole) throws {
        if role == .root {
            try repository.publishRoot(expires: now.adding(days: 1))
        } else {
            try repository.publish(2, days: [role: 1])
        }
        let late = now.adding(days: 1)
        try refresh(at: late.adding(seconds: -1))
        let fault = try refused(at: late)
        #expect(fault.code == .expired)
        #expect(fault.message == "expired at \(late), and it is \(late) now")
    }

    @Test("an expired document that is new is not kept")
    func expiredIsNotKept() throws {
        try refresh()
        try repository.publish(2, days: [.timestamp: -1])
        #expect(try refused().code == .expired)
        try repository.publish(3)
        #expect(try refresh().timestamp.version == 3)
    }

    @Test("going back to an older timestamp, snapshot or targets is refused, also when all of it had expired")
    func rollback() throws {
        try repository.publish(5)
        try refresh()
        for time in [now, now.adding(days: 100)] {
            let days: [MetadataRole: Int64] = [.timestamp: 200, .snapshot: 200, .targets: 200]
            try repository.publish(4, days: days)
            let timestamp = try refused(at: time)
            #expect(timestamp.code == .rolledBack)
            #expect(timestamp.message == "goes back to version 4, and this host has seen version 5")
            try repository.publish(6, snapshotVersion: 4, days: days)
            #expect(try refused(at: time).message == "goes back to snapshot 4, and this host has seen snapshot 5")
        }
        try repository.publish(6, targetsVersion: 4)
        let fault = try refused(leaving: false)
        #expect(fault.code == .rolledBack)
        #expect(fault.message == "goes back to version 4 of targets.json, and this host has seen version 5")
    }

    @Test("a targets file that vanishes from the snapshot is a rollback")
    func vanished() throws {
        let path = "metadata/2.snapshot.json"
        try repository.publish(2)
        let extra: JSONValue = ["version": 1]
        try resign(path, .snapshot) { members in
            if case .object(var meta) = members["meta"] {
                meta["extra.json"] = extra
                members["meta"] = .object(meta)
            }
        }
        try pointTimestamp(at: path, version: 2, timestampVersion: 2)
        try refresh()
        try repository.publish(3)
        let fault = try refused(leaving: false)
        #expect(fault.message == "goes back to no extra.json, and this host has seen version 1 of it")
    }

    func pointTimestamp(at path: String, version: Int, timestampVersion: Int) throws {
        let snapshot = MetadataFile(version: version, bytes: try #require(repository.files[path]))
        let timestamp = TimestampDocument(version: timestampVersion, expires: now.adding(days: 30), snapshot: snapshot)
        repository.files["metadata/timestamp.json"] = try repository.sign(timestamp.value, .timestamp)
    }

    @Test("documents of two moments do not mix: the snapshot must be the very one the timestamp names")
    func mixAndMatch() throws {
        try repository.publish(2)
        let old = try #require(repository.files["metadata/2.snapshot.json"])
        try repository.publish(3)
        repository.files["metadata/3.snapshot.json"] = old
        let fault = try refused(leaving: false)
        #expect(fault.code == .mismatch)
        #expect("\(fault)".hasPrefix("metadata/3.snapshot.json: is not the document that the signed metadata names"))
    }

    @Test("a version inside that differs from the one named is refused, where no digest would show it")
    func versionMismatch() throws {
        for (path, role) in [
            ("metadata/timestamp.json", MetadataRole.timestamp), ("metadata/2.snapshot.json", .snapshot),
        ] {
            try repository.publish(2)
            try resign(path, role) { members in
                let name = role == .timestamp ? "snapshot.json" : "targets.json"
                members["meta"] = [:]
                members["meta"] = .object([name: ["version": 3]])
            }
            let named = role == .timestamp ? "snapshot" : "targets"
            repository.files["metadata/3.\(named).json"] = repository.files["metadata/2.\(named).json"]
            if role == .snapshot { try pointTimestamp(at: path, version: 2, timestampVersion: 2) }
            let fault = try refused(leaving: false)
            #expect(fault.code == .wrongVersion)
            #expect(fault.message == "says it is version 2 where the signed metadata names 3")
        }
    }

    @Test("every cut of every document is refused", arguments: ["timestamp.json", "1.snapshot.json", "1.targets.json"])
    func truncated(name: String) throws {
        let path = "metadata/\(name)"
        let whole = try #require(repository.files[path])
        for length in stride(from: 0, to: whole.count - 1, by: 13) {
            repository.files[path] = Array(whole[..<length])
            let fault = try #require(throws: TrustFault.self) { try refresh() }
            #expect([.foreign, .mismatch].contains(fault.code))
        }
    }

    @Test("any flipped bit of a signed value is refused, and no damage traps")
    func flipped() throws {
        for path in repository.files.keys where path.hasPrefix("metadata/") && !path.contains("root") {
            let whole = try #require(repository.files[path])
            for index in stride(from: 0, to: whole.count, by: 7) {
                var bytes = whole
                bytes[index] ^= 1 << (index % 7)
                guard
                    (try? SignedEnvelope(parsing: bytes, source: path).signed)
                        != (try SignedEnvelope(parsing: whole, source: path).signed)
                else { continue }
                repository.files[path] = bytes
                let client = MetadataClient(trustedRoot: trustedRoot, source: repository, store: MemoryStore())
                #expect(throws: TrustFault.self) { try client.refresh(now: now) }
            }
            repository.files[path] = whole
        }
    }

    @Test("a web page with status 200 is called one")
    func webPage() throws {
        for path in ["metadata/2.root.json", "metadata/timestamp.json"] {
            let before = repository.files[path]
            repository.files[path] = Array("\n<!DOCTYPE html><html>log in</html>".utf8)
            let fault = try refused()
            #expect(
                "\(fault)"
                    == "\(path): a web page where signed metadata is expected; check the repository's address, "
                    + "and whether a proxy or a login page answers in its place")
            repository.files[path] = before
        }
    }

    @Test("what is missing or too large is said by name")
    func missing() throws {
        repository.files["metadata/1.snapshot.json"] = nil
        let fault = try refused(leaving: false)
        #expect(fault.code == .missing)
        #expect(fault.place == .path("metadata/1.snapshot.json"))
        repository.files["metadata/timestamp.json"] = [UInt8](repeating: 0x20, count: 70_000)
        #expect(try refused().message == "more than the 65536 bytes that are allowed")
    }

    @Test("a target that is not what was signed, or whose name leads elsewhere, is refused")
    func badTarget() throws {
        let trusted = try refresh()
        let path = try #require(repository.files.keys.first { $0.hasPrefix("targets/") })
        repository.files[path] = Array("a releasf".utf8)
        #expect(throws: TrustFault.self) { try trusted.fetch(repository.targetName, limit: 100) }
        let target = TargetsDocument.Target(bytes: [], custom: .null)
        for name in [
            "../x", "/etc/passwd", "a/b", "", ".hidden", "a b", "a%2e", "ä", "a?b", String(repeating: "a", count: 200),
        ] {
            #expect(throws: TrustFault.self) { try TrustedRepository.path(of: name, target) }
        }
    }

    @Test("the store is in a directory, and what was damaged there is fetched anew")
    func directory() throws {
        let directory = try TemporaryDirectory()
        let store = DirectoryStore(directory.path.appending("trust"))
        try repository.publishRoot()
        let client = MetadataClient(trustedRoot: trustedRoot, source: repository, store: store)
        #expect(try client.refresh(now: now).root.version == 2)
        for name in try directory.path.appending("trust").directoryEntries() {
            try directory.path.appending("trust").appending(name).replaceContents(with: "{")
        }
        #expect(try client.refresh(now: now).root.version == 2)
    }
}
