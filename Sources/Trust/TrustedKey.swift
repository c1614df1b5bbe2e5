public import Cryptography
import Fault
public import JSON

/// A public key as TUF metadata writes it (TUF 1.0, section 4.2).
public struct TrustedKey: Sendable, Hashable {
    /// SHA-256 of the key's canonical form, in hexadecimal digits.
    public let identifier: String
    /// The key as it stands in the document.
    public let value: JSONValue
    /// The key itself; nil for a type that is not used here, whose signatures never count.
    public let publicKey: Ed25519PublicKey?

    /// `key` in TUF's form.
    public init(_ key: Ed25519PublicKey) {
        let text = key.description
        value = ["keytype": "ed25519", "scheme": "ed25519", "keyval": ["public": .string(text)]]
        // An object of strings always has a canonical form.
        let canonical = #"{"keytype":"ed25519","keyval":{"public":"\#(text)"},"scheme":"ed25519"}"#
        identifier = SHA256Digest(of: canonical.utf8).description
        publicKey = key
    }

    /// The key that stands under `identifier` in a root document.
    init(parsing cursor: JSONCursor, identifier: String) throws(JSONFault) {
        let type = try cursor.field("keytype").string()
        let scheme = try cursor.field("scheme").string()
        let text = try cursor.field("keyval").field("public").string()
        // The name of a key is its content: otherwise one key could count as two under two names.
        guard SHA256Digest(of: try cursor.value.canonicalBytes()).description == identifier else {
            throw cursor.unexpected("the key's identifier is not the SHA-256 of its canonical form")
        }
        if type == "ed25519", scheme == "ed25519" {
            guard let key = Ed25519PublicKey(hexadecimal: text) else {
                throw cursor.unexpected("an Ed25519 key has 64 hexadecimal digits")
            }
            publicKey = key
        } else {
            publicKey = nil
        }
        self.identifier = identifier
        value = cursor.value
    }
}

/// Who has to sign for a role: how many of which keys.
public struct RoleKeys: Sendable, Hashable {
    /// The keys' identifiers, each once.
    public let identifiers: [String]
    /// How many different ones of them have to sign; at least 1.
    public let threshold: Int

    /// The keys `identifiers`, of which `threshold` have to sign.
    public init(identifiers: [String], threshold: Int = 1) {
        self.identifiers = identifiers
        self.threshold = threshold
    }

    init(parsing cursor: JSONCursor) throws(JSONFault) {
        var identifiers: [String] = []
        for element in try cursor.field("keyids").elements(atMost: RootDocument.keyLimit) {
            let identifier = try element.string()
            guard !identifiers.contains(identifier) else { throw element.unexpected("the key is named twice") }
            identifiers.append(identifier)
        }
        self.identifiers = identifiers
        // A threshold of 0 is a document that nobody has to sign.
        threshold = try cursor.field("threshold").integer(in: 1...RootDocument.keyLimit)
    }

    var value: JSONValue {
        ["keyids": .array(identifiers.map { .string($0) }), "threshold": .integer(Int64(threshold))]
    }
}
