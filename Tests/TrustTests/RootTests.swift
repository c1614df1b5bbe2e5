import Cryptography
import Fault
import JSON
import Testing
import Trust

@Suite("TUF root and thresholds")
struct RootTests {
    let repository: FakeRepository
    let store = MemoryStore()
    let now = FakeRepository.start

    init() throws { repository = try FakeRepository() }

    func refresh(from root: Int = 1) throws -> TrustedRepository {
        let bytes = try #require(repository.files["metadata/\(root).root.json"])
        return try MetadataClient(trustedRoot: bytes, source: repository, store: store).refresh(now: now)
    }

    func refused(from root: Int = 1) throws -> TrustFault {
        try #require(throws: TrustFault.self) { try refresh(from: root) }
    }

    @Test("a chain of roots is walked, each signed by the old and the new keys, and kept")
    func chain() throws {
        for number in 2...5 {
            let old = try #require(repository.keys[.root])
            repository.keys[.root] = [try FakeRepository.key(UInt8(10 + number))]
            try repository.publishRoot(signers: old)
        }
        #expect(try refresh().root.version == 5)
        repository.fetched = []
        #expect(try refresh().root.version == 5)
        #expect(repository.fetched == ["metadata/6.root.json", "metadata/timestamp.json"])
        // An image that brings a later root along goes on from there.
        #expect(try refresh(from: 4).root.version == 5)
    }

    @Test("a root that only its own keys, or only the old ones, have signed is refused and not kept")
    func halfSigned() throws {
        let old = try #require(repository.keys[.root])
        let new = [try FakeRepository.key(20)]
        repository.keys[.root] = new
        try repository.publishRoot()
        #expect(try refused().code == .unsigned)
        let document = repository.root(version: 2)
        repository.files["metadata/2.root.json"] = try SignedEnvelope(
            signing: document.value, with: old, source: "root"
        ).bytes
        #expect(try refused().code == .unsigned)
        #expect(store.documents.isEmpty)
    }

    @Test("a root whose version does not follow is refused")
    func skipped() throws {
        for version in [1, 3, 1 << 53] {
            try repository.putRoot(repository.root(version: version), at: 2)
            let fault = try refused()
            #expect(fault.code == .wrongVersion)
            #expect(fault.message == "says it is version \(version) where 2 has to follow")
        }
    }

    @Test("a root on the way may have expired, the last one may not")
    func expiredOnTheWay() throws {
        try repository.publishRoot(expires: now.adding(days: -10))
        #expect(try refused().code == .expired)
        try repository.publishRoot()
        #expect(try refresh().root.version == 3)
    }

    @Test("a trusted root that its own keys did not sign is refused")
    func unsignedTrustedRoot() throws {
        let document = repository.root(version: 1)
        repository.keys[.root] = [try FakeRepository.key(30)]
        repository.files["metadata/1.root.json"] = try repository.sign(document.value, .root)
        #expect(try refused().code == .unsigned)
    }

    @Test("new online keys forget what a thief signed with the old ones, however the root arrived", arguments: [1, 2])
    func fastForward(image: Int) throws {
        try repository.publish(1_000_000)
        _ = try refresh()
        repository.keys[.timestamp] = [try FakeRepository.key(40)] + (repository.keys[.timestamp] ?? [])
        repository.keys[.snapshot] = [try FakeRepository.key(41)] + (repository.keys[.snapshot] ?? [])
        try repository.publishRoot()
        try repository.publish(2, targetsVersion: 2)
        #expect(try refresh(from: image).timestamp.version == 2)
    }

    @Test("two of three keys have to sign, and one key twice is not two")
    func thresholds() throws {
        let keys = try (50...52).map { try FakeRepository.key($0) }
        repository.keys[.timestamp] = keys
        repository.thresholds[.timestamp] = 2
        try repository.publishRoot()
        func sign(with signers: [Ed25519PrivateKey]) throws {
            repository.keys[.timestamp] = signers
            try repository.publish(2)
        }
        try sign(with: [keys[0]])
        #expect(try refused().message == "signed by 1 of the 2 keys that version 2 of the trusted root requires")
        let path = "metadata/timestamp.json"
        // The one signature once more under its own name, under the name of another key, and by a stranger.
        let text = String(decoding: try #require(repository.files[path]), as: UTF8.self)
        let cursor = try JSONCursor(parsing: Array(text.utf8), source: path)
        let signature = try #require(try cursor.field("signatures").elements().first?.value)
        let other: JSONValue = [
            "keyid": .string(TrustedKey(keys[1].publicKey).identifier), "sig": signature["sig"] ?? .null,
        ]
        let signed = try cursor.field("signed").value
        for list in [[signature, signature], [signature, other]] {
            repository.files[path] = Array((["signatures": .array(list), "signed": signed] as JSONValue).text().utf8)
            let fault = try refused()
            #expect(fault.code == (list[0] == list[1] ? .malformed : .unsigned))
            if fault.code == .malformed {
                #expect(fault.message == "is not valid metadata: signatures[1]: the same key signs twice")
            }
        }
        try sign(with: [keys[0], try FakeRepository.key(60)])
        #expect(try refused().code == .unsigned)
        try sign(with: [keys[2], keys[0]])
        #expect(try refresh().timestamp.version == 2)
    }

    static let wrongRoots: [(String, String)] = [
        (#""threshold":1"#, #""threshold":0"#), (#""threshold":1"#, #""threshold":2"#),
        (#""threshold":1"#, #""threshold":-1"#), (#""threshold":1"#, #""threshold":1e0"#),
        (#""_type":"root""#, #""_type":"targets""#), (#""spec_version":"1.0.31""#, #""spec_version":"2.0""#),
        (#""spec_version":"1.0.31""#, #""spec_version":"""#),
        (#""version":1}"#, #""version":0}"#), (#""version":1}"#, #""version":9223372036854775807}"#),
        (#""consistent_snapshot":true"#, #""consistent_snapshot":false"#),
        (#""expires":"2028-01-15T08:00:00Z""#, #""expires":"2028-01-15T08:00:00+00:00""#),
        (#""expires":"2028-01-15T08:00:00Z""#, #""expires":"2028-02-30T08:00:00Z""#),
        (#""keytype":"ed25519""#, #""keytype":"rsa""#), (#""keyids":["#, #""keyids":["x","#),
        (#""keyids":["#, #""keyids":["KEY","KEY","#),
    ]

    @Test("a root that breaks a rule is refused before any signature is looked at", arguments: wrongRoots)
    func malformed(old: String, new: String) throws {
        let text = repository.root(version: 1).value.compactText
        #expect(text.contains(old))
        let changed = text.replacing(old, with: new, maxReplacements: 1)
        let bytes = Array(#"{"signatures":[],"signed":\#(changed)}"#.utf8)
        let fault = try #require(throws: TrustFault.self) { try RootDocument(reading: bytes, source: "root.json") }
        #expect(fault.code == .malformed)
    }

    @Test("one public key under two identifiers is refused, since it could count twice")
    func twoNames() throws {
        let key = try #require(repository.keys[.root]?.first)
        let plain = TrustedKey(key.publicKey)
        guard case .object(var members) = plain.value, case .object(var root) = repository.root(version: 1).value,
            case .object(var keys) = root["keys"]
        else { return }
        members["x"] = 1
        let twin = JSONValue.object(members)
        keys[SHA256Digest(of: try twin.canonicalBytes()).description] = twin
        root["keys"] = .object(keys)
        let bytes = try repository.sign(.object(root), .root)
        let fault = try #require(throws: TrustFault.self) { try RootDocument(reading: bytes, source: "root.json") }
        #expect(fault.message.hasSuffix("the same public key stands under two identifiers"))
    }

    @Test(
        "a time is written and read back, and agrees with the calendar",
        arguments: [
            (0, "1970-01-01T00:00:00Z"), (951_782_399, "2000-02-28T23:59:59Z"), (951_782_400, "2000-02-29T00:00:00Z"),
            (1_735_689_599, "2024-12-31T23:59:59Z"), (4_107_542_400, "2100-03-01T00:00:00Z"),
            (-1, "1969-12-31T23:59:59Z"),
            (253_402_300_799, "9999-12-31T23:59:59Z"), (-62_135_596_800, "0001-01-01T00:00:00Z"),
        ] as [(Int64, String)])
    func times(seconds: Int64, text: String) {
        #expect(UTCTime(seconds: seconds).description == text)
        #expect(UTCTime(text)?.seconds == seconds)
    }

    @Test("every day of 400 years is written and read back")
    func days() {
        for day in Int64(0)..<146_097 {
            let time = UTCTime(seconds: day * 86_400 + day % 86_400)
            #expect(UTCTime(time.description) == time)
        }
    }
}
