public import Cryptography
public import Fault
public import JSON

/// A signed document: `{"signed": …, "signatures": [{"keyid": …, "sig": …}]}` (TUF 1.0, section 4.2). Reading one checks its
/// form alone; `requireSignatures` checks who signed.
public struct SignedEnvelope: Sendable {
    /// What is signed: the canonical form of this value.
    public let signed: JSONValue
    /// The signatures by the identifier of their key.
    public let signatures: [String: [UInt8]]
    /// The document's own bytes.
    public let bytes: [UInt8]
    /// The path or address it came from, for messages.
    public let source: String

    private static let signatureLimit = 64

    /// Reads `bytes`.
    public init(parsing bytes: [UInt8], source: String) throws(TrustFault) {
        let cursor: JSONCursor
        do throws(JSONFault) {
            cursor = try JSONCursor(parsing: bytes, source: source)
            // What has neither is no document with something wrong in it.
            _ = try (cursor.field("signed"), cursor.field("signatures"))
        } catch {
            throw .malformed(error, .foreign, text: bytes, at: .path(source))
        }
        do throws(JSONFault) {
            var signatures: [String: [UInt8]] = [:]
            for element in try cursor.field("signatures").elements(atMost: Self.signatureLimit) {
                let identifier = try element.field("keyid").string()
                let signature = try element.field("sig")
                // Keys of other types sign in forms of their own, and do not count: an unreadable signature is an empty one.
                guard
                    signatures.updateValue([UInt8](hexadecimal: try signature.string()) ?? [], forKey: identifier)
                        == nil
                else { throw element.unexpected("the same key signs twice") }
            }
            self.signatures = signatures
            signed = try cursor.field("signed").value
        } catch {
            throw .malformed(error, text: bytes, at: .path(source))
        }
        self.bytes = bytes
        self.source = source
    }

    /// Signs `value` with each of `keys`.
    public init(signing value: JSONValue, with keys: [Ed25519PrivateKey], source: String) throws(TrustFault) {
        do {
            let message = try value.canonicalBytes()
            var signatures: [String: [UInt8]] = [:]
            for key in keys { signatures[TrustedKey(key.publicKey).identifier] = try key.signature(of: message) }
            self.signatures = signatures
        } catch {
            throw TrustFault(.key, "cannot be signed", at: .path(source), cause: error)
        }
        signed = value
        let list = signatures.sorted { $0.key < $1.key }.map { signature -> JSONValue in
            ["keyid": .string(signature.key), "sig": .string(signature.value.hexadecimal)]
        }
        bytes = Array((["signatures": .array(list), "signed": value] as JSONValue).text().utf8)
        self.source = source
    }

    /// The document for its reader, with errors that name the way to a value.
    var content: JSONCursor { JSONCursor(signed, source: source) }

    /// Requires that as many different keys of `role` as its threshold asks for have signed.
    ///
    /// Identifiers count, not signatures, and only those that `root` lists for the role (TUF 1.0, section 4.2).
    func requireSignatures(of role: RoleKeys, in root: RootDocument, by whom: String) throws(TrustFault) {
        let message: [UInt8]
        do throws(JSONFault) {
            message = try signed.canonicalBytes()
        } catch {
            throw .malformed(error, text: bytes, at: .path(source))
        }
        var valid = Set<String>()
        for identifier in role.identifiers {
            guard let key = root.keys[identifier]?.publicKey, let signature = signatures[identifier],
                key.verifies(signature, of: message)
            else { continue }
            valid.insert(identifier)
        }
        guard valid.count >= role.threshold else {
            throw TrustFault(
                .unsigned,
                "signed by \(valid.count) of the \(role.threshold) keys that \(whom) requires", at: .path(source),
                remedy:
                    "do not use this repository until who runs it explains why; it may be another one, or tampered with"
            )
        }
    }
}
