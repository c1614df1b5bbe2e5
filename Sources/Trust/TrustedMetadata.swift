import Cryptography
import Fault

/// The rules of the client workflow (TUF 1.0, section 5.3 to 5.6), without files or network: documents go in one after another, and each
/// is either fully accepted or leaves everything as it was.
struct TrustedMetadata {
    /// The one time that a whole run goes by (section 5.2), so that nothing expires halfway.
    let now: UTCTime
    private(set) var root: RootDocument
    private(set) var timestamp: TimestampDocument?
    /// The snapshot seen last time, by which a rollback shows.
    private var knownSnapshot: SnapshotDocument?
    private(set) var snapshot: SnapshotDocument?
    private(set) var targets: TargetsDocument?

    /// Begins with a root that is trusted because of where it comes from. It still has to be signed by its own keys.
    init(trustedRoot bytes: [UInt8], source: String, now: UTCTime) throws(TrustFault) {
        let envelope = try SignedEnvelope(parsing: bytes, source: source)
        root = try RootDocument(envelope)
        try root.require(envelope, signedFor: .root)
        self.now = now
    }

    /// Section 5.3.3 to 5.3.7: the next root is signed by the keys of both. Its expiry is looked at only in the last one.
    mutating func update(root bytes: [UInt8], source: String) throws(TrustFault) {
        let envelope = try SignedEnvelope(parsing: bytes, source: source)
        let next = try RootDocument(envelope)
        try root.require(envelope, signedFor: .root)
        try next.require(envelope, signedFor: .root)
        guard next.version == root.version + 1 else {
            throw TrustFault(
                .wrongVersion, "says it is version \(next.version) where \(root.version + 1) has to follow",
                at: .path(source), remedy: Self.askOwner)
        }
        root = next
    }

    /// Section 5.3.10: no further root is known.
    func finishRoot(source: String) throws(TrustFault) { try root.requireCurrent(at: now, source: source) }

    /// Takes the timestamp that was accepted in an earlier run, if it still counts. It may have expired by now: it serves
    /// to notice a rollback all the same.
    mutating func recall(timestamp bytes: [UInt8], source: String) {
        guard let envelope = try? SignedEnvelope(parsing: bytes, source: source),
            let document = try? TimestampDocument(envelope), (try? root.require(envelope, signedFor: .timestamp)) != nil
        else { return }
        timestamp = document
    }

    /// Takes the snapshot that was accepted in an earlier run, if it still counts.
    mutating func recall(snapshot bytes: [UInt8], source: String) {
        guard let envelope = try? SignedEnvelope(parsing: bytes, source: source),
            let document = try? SnapshotDocument(envelope), (try? root.require(envelope, signedFor: .snapshot)) != nil
        else { return }
        knownSnapshot = document
    }

    /// Section 5.4.
    ///
    /// - Returns: whether it is newer than the one that was known.
    mutating func update(timestamp bytes: [UInt8], source: String) throws(TrustFault) -> Bool {
        let envelope = try SignedEnvelope(parsing: bytes, source: source)
        let next = try TimestampDocument(envelope)
        try root.require(envelope, signedFor: .timestamp)
        if let known = timestamp {
            guard next.version >= known.version else {
                throw Self.rolledBack("version \(next.version)", "version \(known.version)", source)
            }
            if next.version == known.version {
                // Section 5.4.3.1: nothing new; what is known goes on to count, for as long as it has not expired.
                try known.requireCurrent(at: now, source: source)
                return false
            }
            guard next.snapshot.version >= known.snapshot.version else {
                throw Self.rolledBack(
                    "snapshot \(next.snapshot.version)", "snapshot \(known.snapshot.version)", source)
            }
        }
        try next.requireCurrent(at: now, source: source)
        timestamp = next
        return true
    }

    /// Section 5.5. The bytes may also come from an earlier run.
    mutating func update(snapshot bytes: [UInt8], source: String) throws(TrustFault) {
        guard let expected = timestamp?.snapshot else { throw Self.outOfOrder(source) }
        try expected.require(bytes, source: source)
        let envelope = try SignedEnvelope(parsing: bytes, source: source)
        let next = try SnapshotDocument(envelope)
        try root.require(envelope, signedFor: .snapshot)
        guard next.version == expected.version else {
            throw Self.wrongVersion(next.version, expected.version, source)
        }
        for (name, known) in (knownSnapshot?.files ?? [:]).sorted(by: { $0.key < $1.key }) {
            guard let file = next.files[name] else {
                throw Self.rolledBack("no \(name)", "version \(known.version) of it", source)
            }
            guard file.version >= known.version else {
                throw Self.rolledBack("version \(file.version) of \(name)", "version \(known.version)", source)
            }
        }
        try next.requireCurrent(at: now, source: source)
        snapshot = next
    }

    /// Section 5.6. The bytes may also come from an earlier run.
    mutating func update(targets bytes: [UInt8], source: String) throws(TrustFault) {
        guard let expected = snapshot?.targets else { throw Self.outOfOrder(source) }
        try expected.require(bytes, source: source)
        let envelope = try SignedEnvelope(parsing: bytes, source: source)
        let next = try TargetsDocument(envelope)
        try root.require(envelope, signedFor: .targets)
        guard next.version == expected.version else {
            throw Self.wrongVersion(next.version, expected.version, source)
        }
        try next.requireCurrent(at: now, source: source)
        targets = next
    }

    private static let askOwner = "ask who runs the repository; it is damaged, or someone tampers with it"

    private static func rolledBack(_ found: String, _ known: String, _ source: String) -> TrustFault {
        TrustFault(
            .rolledBack, "goes back to \(found), and this host has seen \(known)", at: .path(source), remedy: askOwner)
    }

    private static func wrongVersion(_ found: Int, _ expected: Int, _ source: String) -> TrustFault {
        TrustFault(
            .wrongVersion, "says it is version \(found) where the signed metadata names \(expected)", at: .path(source),
            remedy: askOwner)
    }

    private static func outOfOrder(_ source: String) -> TrustFault {
        TrustFault(.missing, "nothing trusted names this document yet", at: .path(source))
    }
}
