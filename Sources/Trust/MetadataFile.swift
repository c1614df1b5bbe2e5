public import Cryptography
import Fault
import JSON

/// What one document says of another: the version, and where it is given, length and SHA-256 (TUF 1.0, section 4.4).
public struct MetadataFile: Sendable, Hashable {
    /// The version that belongs here.
    public let version: Int
    /// The number of bytes.
    public let length: Int?
    /// The SHA-256 of the bytes.
    public let digest: SHA256Digest?

    /// A reference to `version` whose bytes are `bytes`.
    public init(version: Int, bytes: [UInt8]) {
        self.version = version
        length = bytes.count
        digest = SHA256Digest(of: bytes)
    }

    init(parsing cursor: JSONCursor) throws(JSONFault) {
        version = try cursor.field("version").integer(in: 1...DocumentHead.versionLimit)
        length = try cursor.optional("length")?.integer()
        digest = try cursor.optional("hashes").map { hashes throws(JSONFault) in
            try Self.digest(parsing: hashes)
        }
    }

    /// The SHA-256 in a `hashes` object. Others may stand there too; one without SHA-256 could not be checked.
    static func digest(parsing hashes: JSONCursor) throws(JSONFault) -> SHA256Digest {
        let text = try hashes.field("sha256")
        guard let digest = SHA256Digest(hexadecimal: try text.string()) else {
            throw text.unexpected("expected 64 hexadecimal digits")
        }
        return digest
    }

    var value: JSONValue {
        var members: [String: JSONValue] = ["version": .integer(Int64(version))]
        if let length { members["length"] = .integer(Int64(length)) }
        if let digest { members["hashes"] = ["sha256": .string(digest.description)] }
        return .object(members)
    }

    func matches(_ bytes: [UInt8]) -> Bool {
        (length == nil || length == bytes.count) && (digest == nil || digest == SHA256Digest(of: bytes))
    }

    func require(_ bytes: [UInt8], source: String) throws(TrustFault) {
        guard matches(bytes) else {
            throw TrustFault(
                .mismatch, "is not the document that the signed metadata names: its length or SHA-256 differs",
                at: .path(source),
                remedy: "try again in a minute; if it stays, the repository or a cache on the way is damaged")
        }
    }
}
