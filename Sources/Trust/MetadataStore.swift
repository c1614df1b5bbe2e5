public import Fault

/// What a client keeps between runs.
public enum StoredDocument: Sendable, Hashable {
    /// A root of this version that was accepted.
    case root(version: Int)
    /// The last timestamp that was accepted.
    case timestamp
    /// The last snapshot that was accepted.
    case snapshot
    /// The last targets document that was accepted.
    case targets
    /// Which keys the timestamp and snapshot roles had when they were accepted.
    case onlineKeys

    /// A file name for it.
    public var fileName: String {
        switch self {
        case .root(let version): "\(version).root.json"
        case .timestamp: "timestamp.json"
        case .snapshot: "snapshot.json"
        case .targets: "targets.json"
        case .onlineKeys: "online-keys"
        }
    }
}

/// Where a client keeps the metadata that it has accepted. Nothing in it is trusted: every document is verified again, from
/// the root that the image brings, so that whoever writes here can at most make a host forget.
public protocol MetadataStore: Sendable {
    /// The document, or nil where there is none.
    func load(_ document: StoredDocument) throws(TrustFault) -> [UInt8]?
    /// Keeps `bytes`, all of them or none, so that they are there after a power cut.
    func save(_ bytes: [UInt8], as document: StoredDocument) throws(TrustFault)
    /// Forgets the document. None there is no error.
    func remove(_ document: StoredDocument) throws(TrustFault)
}

/// Where a client gets metadata and targets from.
public protocol MetadataSource {
    /// The bytes at `path` (such as `metadata/3.root.json`) below the repository's address.
    ///
    /// - Parameter limit: the most bytes there may be; more is an error.
    /// - Returns: nil where the repository says that there is no such file.
    func fetch(_ path: String, limit: Int) throws -> [UInt8]?
}
