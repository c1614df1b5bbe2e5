public import Cryptography
import JSON

/// A file that is named by its content: in a repository it stands at `blobs/SHA256`.
public struct Blob: Sendable, Hashable {
    /// The SHA-256 of its bytes.
    public let digest: SHA256Digest
    /// The number of bytes.
    public let size: Int64

    /// A file of `size` bytes whose SHA-256 is `digest`.
    public init(digest: SHA256Digest, size: Int64) {
        self.digest = digest
        self.size = size
    }

    /// Where it stands below a repository's address.
    public var path: String { "blobs/\(digest)" }

    init(parsing cursor: JSONCursor) throws(JSONFault) {
        let text = try cursor.field("sha256")
        guard let digest = SHA256Digest(hexadecimal: try text.string()) else {
            throw text.unexpected("expected 64 hexadecimal digits")
        }
        self.digest = digest
        size = Int64(try cursor.field("size").integer(in: 0...ReleaseDocument.sizeLimit))
    }

    var value: JSONValue { ["sha256": .string(digest.description), "size": .integer(size)] }
}
