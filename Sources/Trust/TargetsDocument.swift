public import Cryptography
import Fault
public import JSON

/// The targets role's document: what is published (TUF 1.0, section 4.5). Delegations are not followed.
public struct TargetsDocument: Sendable, RoleDocument {
    static let role = MetadataRole.targets
    private static let targetLimit = 65_536

    /// One published file.
    public struct Target: Sendable, Hashable {
        /// The number of bytes.
        public let length: Int
        /// The SHA-256 of the bytes.
        public let digest: SHA256Digest
        /// What the application says of it, `null` where it says nothing.
        public var custom: JSONValue

        /// The target whose content is `bytes`.
        public init(bytes: [UInt8], custom: JSONValue) {
            length = bytes.count
            digest = SHA256Digest(of: bytes)
            self.custom = custom
        }

        init(parsing cursor: JSONCursor) throws(JSONFault) {
            length = try cursor.field("length").integer()
            digest = try MetadataFile.digest(parsing: try cursor.field("hashes"))
            custom = try cursor.optional("custom")?.value ?? .null
        }

        var value: JSONValue {
            var members: [String: JSONValue] = [
                "length": .integer(Int64(length)), "hashes": ["sha256": .string(digest.description)],
            ]
            if custom != .null { members["custom"] = custom }
            return .object(members)
        }
    }

    /// Counts up with every change.
    public let version: Int
    /// When clients stop to trust it.
    public let expires: UTCTime
    /// What is published, by name.
    public let targets: [String: Target]

    /// A document that publishes `targets`.
    public init(version: Int, expires: UTCTime, targets: [String: Target]) {
        self.version = version
        self.expires = expires
        self.targets = targets
    }

    init(parsing cursor: JSONCursor) throws(JSONFault) {
        let head = try DocumentHead(parsing: cursor, role: .targets)
        version = head.version
        expires = head.expires
        let members = try cursor.field("targets").members()
        guard members.count <= Self.targetLimit else {
            throw cursor.unexpected("more than \(Self.targetLimit) targets")
        }
        var targets: [String: Target] = [:]
        for (name, member) in members { targets[name] = try Target(parsing: member) }
        self.targets = targets
    }

    /// The document to sign.
    public var value: JSONValue {
        var members = DocumentHead.members(role: .targets, version: version, expires: expires)
        members["targets"] = .object(targets.mapValues(\.value))
        return .object(members)
    }
}
