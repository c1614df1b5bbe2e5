import Cryptography
public import Fault

/// A repository's metadata after the client workflow has accepted all of it.
public struct TrustedRepository {
    /// The last root.
    public let root: RootDocument
    /// The current timestamp.
    public let timestamp: TimestampDocument
    /// The snapshot it names.
    public let snapshot: SnapshotDocument
    /// What is published.
    public let targets: TargetsDocument
    private let source: any MetadataSource

    init(
        root: RootDocument, timestamp: TimestampDocument, snapshot: SnapshotDocument, targets: TargetsDocument,
        source: any MetadataSource
    ) {
        self.root = root
        self.timestamp = timestamp
        self.snapshot = snapshot
        self.targets = targets
        self.source = source
    }

    /// When the first of the four documents expires.
    public var expires: UTCTime {
        min(min(root.expires, timestamp.expires), min(snapshot.expires, targets.expires))
    }

    /// Fetches the target `name` and checks its length and digest (TUF 1.0, section 5.7).
    ///
    /// - Parameters:
    ///   - limit: the most bytes that this target may have, whatever the metadata says.
    ///   - other: where to get it from, instead of where the metadata came from.
    /// - Throws: `missing` or `mismatch` where the source does not have what the metadata names; `malformed` where that itself cannot
    ///   be used.
    public func fetch(
        _ name: String, limit: Int, from other: (any MetadataSource)? = nil
    ) throws(TrustFault) -> [UInt8] {
        guard let target = targets.targets[name] else {
            throw TrustFault(.malformed, "the repository does not publish '\(name)'")
        }
        let path = try Self.path(of: name, target)
        guard target.length <= limit else {
            throw TrustFault(
                .malformed, "\(target.length) bytes, and at most \(limit) are expected of it", at: .path(path))
        }
        let bytes: [UInt8]?
        do {
            bytes = try (other ?? source).fetch(path, limit: target.length)
        } catch {
            throw TrustFault(.fetch, "could not be fetched", at: .path(path), cause: error)
        }
        guard let bytes else {
            throw TrustFault(
                .missing, "the repository publishes it and does not have it", at: .path(path),
                remedy: "ask who runs the repository to complete it")
        }
        guard bytes.count == target.length, SHA256Digest(of: bytes) == target.digest else {
            throw TrustFault(
                .mismatch, "is not the file that the signed metadata names: its length or SHA-256 differs",
                at: .path(path), remedy: "try again; if it stays, the repository or a cache on the way is damaged")
        }
        return bytes
    }

    /// Where a target stands (TUF 1.0, section 6.2). A name with anything in it that could lead out of the directory, or
    /// mean something in an address, is refused.
    public static func path(of name: String, _ target: TargetsDocument.Target) throws(TrustFault) -> String {
        let isSafe =
            !name.isEmpty && !name.hasPrefix(".") && name.utf8.count <= 180
            && name.utf8.allSatisfy { byte in
                switch byte {
                case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                    UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "."), UInt8(ascii: "_"), UInt8(ascii: "-"),
                    UInt8(ascii: "~"), UInt8(ascii: "^"):
                    true
                default: false
                }
            }
        guard isSafe else {
            throw TrustFault(.malformed, "the target's name is not one that can be a file's here", at: .named(name))
        }
        return "targets/\(target.digest).\(name)"
    }
}
