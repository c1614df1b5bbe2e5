public import JSON

/// The snapshot role's document: which versions of the targets' metadata belong together (TUF 1.0, section 4.4).
public struct SnapshotDocument: Sendable, RoleDocument {
    static let role = MetadataRole.snapshot
    private static let fileLimit = 1024

    /// Counts up with every change.
    public let version: Int
    /// When clients stop to trust it.
    public let expires: UTCTime
    /// All targets metadata by file name; `targets.json` is always there.
    public let files: [String: MetadataFile]
    /// The top-level targets role's metadata.
    public let targets: MetadataFile

    /// A document that names `targets` alone.
    public init(version: Int, expires: UTCTime, targets: MetadataFile) {
        self.version = version
        self.expires = expires
        self.targets = targets
        files = [MetadataRole.targets.fileName: targets]
    }

    init(parsing cursor: JSONCursor) throws(JSONFault) {
        let head = try DocumentHead(parsing: cursor, role: .snapshot)
        version = head.version
        expires = head.expires
        let meta = try cursor.field("meta")
        let members = try meta.members()
        guard members.count <= Self.fileLimit else { throw meta.unexpected("more than \(Self.fileLimit) files") }
        var files: [String: MetadataFile] = [:]
        for (name, member) in members { files[name] = try MetadataFile(parsing: member) }
        self.files = files
        targets = try MetadataFile(parsing: try meta.field(MetadataRole.targets.fileName))
    }

    /// The document to sign.
    public var value: JSONValue {
        var members = DocumentHead.members(role: .snapshot, version: version, expires: expires)
        members["meta"] = .object(files.mapValues(\.value))
        return .object(members)
    }
}
