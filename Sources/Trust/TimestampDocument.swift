public import JSON

/// The timestamp role's document: which snapshot is the current one (TUF 1.0, section 4.6).
public struct TimestampDocument: Sendable, RoleDocument {
    static let role = MetadataRole.timestamp

    /// Counts up with every change.
    public let version: Int
    /// When clients stop to trust it.
    public let expires: UTCTime
    /// The current snapshot.
    public let snapshot: MetadataFile

    /// A document that names `snapshot`.
    public init(version: Int, expires: UTCTime, snapshot: MetadataFile) {
        self.version = version
        self.expires = expires
        self.snapshot = snapshot
    }

    init(parsing cursor: JSONCursor) throws(JSONFault) {
        let head = try DocumentHead(parsing: cursor, role: .timestamp)
        version = head.version
        expires = head.expires
        let meta = try cursor.field("meta")
        guard try meta.members().count == 1 else { throw meta.unexpected("expected 'snapshot.json' and nothing else") }
        snapshot = try MetadataFile(parsing: try meta.field(MetadataRole.snapshot.fileName))
    }

    /// The document to sign.
    public var value: JSONValue {
        var members = DocumentHead.members(role: .timestamp, version: version, expires: expires)
        members["meta"] = .object([MetadataRole.snapshot.fileName: snapshot.value])
        return .object(members)
    }
}
