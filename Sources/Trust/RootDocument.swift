public import Fault
public import JSON

/// The root role's document: which keys speak for which role (TUF 1.0, section 4.3).
public struct RootDocument: Sendable, RoleDocument {
    static let role = MetadataRole.root
    static let keyLimit = 32

    /// Counts up by one with every change.
    public let version: Int
    /// When clients stop to trust it.
    public let expires: UTCTime
    /// All keys by their identifier.
    public let keys: [String: TrustedKey]
    /// The keys of each role.
    public let roles: [MetadataRole: RoleKeys]
    let hasConsistentSnapshots: Bool

    /// A document in which each role has the keys of `roles`.
    public init(version: Int, expires: UTCTime, roles: [MetadataRole: (keys: [TrustedKey], threshold: Int)]) {
        self.version = version
        self.expires = expires
        keys = Dictionary(roles.values.flatMap(\.keys).map { ($0.identifier, $0) }) { first, _ in first }
        self.roles = roles.mapValues { RoleKeys(identifiers: $0.keys.map(\.identifier), threshold: $0.threshold) }
        hasConsistentSnapshots = true
    }

    init(parsing cursor: JSONCursor) throws(JSONFault) {
        let head = try DocumentHead(parsing: cursor, role: .root)
        version = head.version
        expires = head.expires
        let consistent = try cursor.field("consistent_snapshot")
        hasConsistentSnapshots = try consistent.bool()
        guard hasConsistentSnapshots else {
            throw consistent.unexpected("only repositories with consistent snapshots are read")
        }
        let members = try cursor.field("keys").members()
        guard members.count <= Self.keyLimit else { throw cursor.unexpected("more than \(Self.keyLimit) keys") }
        var keys: [String: TrustedKey] = [:]
        for (identifier, member) in members {
            let key = try TrustedKey(parsing: member, identifier: identifier)
            // Extra members make another identifier for the same key, which must not count twice.
            guard key.publicKey == nil || !keys.values.contains(where: { $0.publicKey == key.publicKey }) else {
                throw member.unexpected("the same public key stands under two identifiers")
            }
            keys[identifier] = key
        }
        var roles: [MetadataRole: RoleKeys] = [:]
        for role in MetadataRole.allCases {
            let member = try cursor.field("roles").field(role.rawValue)
            let keysOfRole = try RoleKeys(parsing: member)
            guard keysOfRole.identifiers.allSatisfy({ keys[$0] != nil }) else {
                throw member.unexpected("a key is named that 'keys' does not have")
            }
            guard keysOfRole.threshold <= keysOfRole.identifiers.count else {
                throw member.unexpected(
                    "\(keysOfRole.threshold) keys have to sign and there are only \(keysOfRole.identifiers.count)")
            }
            roles[role] = keysOfRole
        }
        self.keys = keys
        self.roles = roles
    }

    /// Reads the document that is in `bytes`, without a look at its signatures.
    public init(reading bytes: [UInt8], source: String) throws(TrustFault) {
        try self.init(SignedEnvelope(parsing: bytes, source: source))
    }

    /// The document to sign.
    public var value: JSONValue {
        var members = DocumentHead.members(role: .root, version: version, expires: expires)
        members["consistent_snapshot"] = .bool(hasConsistentSnapshots)
        members["keys"] = .object(keys.mapValues(\.value))
        members["roles"] = .object(Dictionary(roles.map { ($0.key.rawValue, $0.value.value) }) { first, _ in first })
        return .object(members)
    }

    /// The keys of `role`. Reading made sure that there are some.
    public func keys(of role: MetadataRole) -> RoleKeys {
        // Nobody can reach a threshold above the number of keys: a role that is missing trusts no one.
        roles[role] ?? RoleKeys(identifiers: [], threshold: 1)
    }

    func require(_ envelope: SignedEnvelope, signedFor role: MetadataRole) throws(TrustFault) {
        try envelope.requireSignatures(
            of: keys(of: role), in: self, by: "version \(version) of the trusted root")
    }
}

extension RootDocument {
    /// The same keys in the version that follows, good until `expires`.
    public func renewed(expires: UTCTime) -> RootDocument {
        var roles: [MetadataRole: (keys: [TrustedKey], threshold: Int)] = [:]
        for (role, keys) in self.roles {
            roles[role] = (keys.identifiers.compactMap { self.keys[$0] }, keys.threshold)
        }
        return RootDocument(version: version + 1, expires: expires, roles: roles)
    }
}
