import Cryptography
import Fault
import JSON
import Synchronization
import Trust

/// A repository in memory that can be made wrong in every way.
final class FakeRepository: MetadataSource {
    static let start = UTCTime(seconds: 1_800_000_000)

    var files: [String: [UInt8]] = [:]
    var fetched: [String] = []
    var keys: [MetadataRole: [Ed25519PrivateKey]] = [:]
    var thresholds: [MetadataRole: Int] = [:]
    var rootVersion = 1
    let release = Array("a release".utf8)

    init() throws {
        for (index, role) in MetadataRole.allCases.enumerated() { keys[role] = [try Self.key(UInt8(index))] }
        try publish(1)
    }

    static func key(_ number: UInt8) throws -> Ed25519PrivateKey {
        try Ed25519PrivateKey(seed: [UInt8](repeating: number, count: 32))
    }

    func root(version: Int, expires: UTCTime = start.adding(days: 365)) -> RootDocument {
        RootDocument(
            version: version, expires: expires,
            roles: Dictionary(
                uniqueKeysWithValues: MetadataRole.allCases.map { role in
                    (role, ((keys[role] ?? []).map { TrustedKey($0.publicKey) }, thresholds[role] ?? 1))
                }))
    }

    func sign(_ value: JSONValue, _ role: MetadataRole) throws -> [UInt8] {
        try SignedEnvelope(signing: value, with: keys[role] ?? [], source: role.fileName).bytes
    }

    /// Makes a new root that `signers` sign besides the keys that it names.
    func publishRoot(signers: [Ed25519PrivateKey] = [], expires: UTCTime = start.adding(days: 365)) throws {
        rootVersion += 1
        try putRoot(root(version: rootVersion, expires: expires), at: rootVersion, signers: signers)
    }

    func putRoot(_ document: RootDocument, at version: Int, signers: [Ed25519PrivateKey] = []) throws {
        files["metadata/\(version).root.json"] = try SignedEnvelope(
            signing: document.value, with: (keys[.root] ?? []) + signers, source: "root"
        ).bytes
    }

    var targetName: String { "box_1_amd64.release.json" }

    /// Everything anew, with `version` for all roles and times to live in days.
    func publish(
        _ version: Int, targetsVersion: Int? = nil, snapshotVersion: Int? = nil, days: [MetadataRole: Int64] = [:]
    ) throws {
        func expires(_ role: MetadataRole) -> UTCTime { Self.start.adding(days: days[role] ?? 30) }
        if files["metadata/1.root.json"] == nil { try putRoot(root(version: 1), at: 1) }
        let target = TargetsDocument.Target(bytes: release, custom: ["note": "x"])
        files["targets/\(target.digest).\(targetName)"] = release
        let targets = TargetsDocument(
            version: targetsVersion ?? version, expires: expires(.targets), targets: [targetName: target])
        let targetsBytes = try sign(targets.value, .targets)
        files["metadata/\(targets.version).targets.json"] = targetsBytes
        let snapshot = SnapshotDocument(
            version: snapshotVersion ?? version, expires: expires(.snapshot),
            targets: MetadataFile(version: targets.version, bytes: targetsBytes))
        let snapshotBytes = try sign(snapshot.value, .snapshot)
        files["metadata/\(snapshot.version).snapshot.json"] = snapshotBytes
        let timestamp = TimestampDocument(
            version: version, expires: expires(.timestamp),
            snapshot: MetadataFile(version: snapshot.version, bytes: snapshotBytes))
        files["metadata/timestamp.json"] = try sign(timestamp.value, .timestamp)
    }

    func fetch(_ path: String, limit: Int) throws -> [UInt8]? {
        fetched.append(path)
        return files[path]
    }
}

/// A store in memory.
final class MemoryStore: MetadataStore {
    private let state = Mutex<[StoredDocument: [UInt8]]>([:])

    var documents: [StoredDocument: [UInt8]] { state.withLock { $0 } }

    func load(_ document: StoredDocument) throws(TrustFault) -> [UInt8]? { state.withLock { $0[document] } }
    func save(_ bytes: [UInt8], as document: StoredDocument) throws(TrustFault) {
        state.withLock { $0[document] = bytes }
    }
    func remove(_ document: StoredDocument) throws(TrustFault) { state.withLock { $0[document] = nil } }
}
