import CCrypto
public import Fault

/// An Ed25519 key pair (RFC 8032), by libcrypto.
public final class Ed25519PrivateKey: Sendable {
    /// The length of a signature in bytes.
    public static let signatureByteCount = 64

    /// The public half.
    public let publicKey: Ed25519PublicKey
    // Never changed once it is made, and each of libcrypto's operations has a context of its own.
    nonisolated(unsafe) let handle: OpaquePointer

    /// Takes over `handle`.
    init(owning handle: OpaquePointer) throws(CryptographyFault) {
        var bytes = [UInt8](repeating: 0, count: Ed25519PublicKey.byteCount)
        var count = bytes.count
        guard EVP_PKEY_get_id(handle) == EVP_PKEY_ED25519,
            EVP_PKEY_get_raw_public_key(handle, &bytes, &count) == 1,
            let publicKey = Ed25519PublicKey(bytes.prefix(count))
        else {
            EVP_PKEY_free(handle)
            ERR_clear_error()
            throw CryptographyFault(.notAKey, "is a private key, but not an Ed25519 one")
        }
        self.publicKey = publicKey
        self.handle = handle
    }

    deinit { EVP_PKEY_free(handle) }

    /// A new key from the system's random numbers.
    public static func generate() throws(CryptographyFault) -> Ed25519PrivateKey {
        guard let context = EVP_PKEY_CTX_new_id(EVP_PKEY_ED25519, nil) else { throw .last("cannot make a key") }
        defer { EVP_PKEY_CTX_free(context) }
        var handle: OpaquePointer?
        guard EVP_PKEY_keygen_init(context) == 1, EVP_PKEY_keygen(context, &handle) == 1, let handle else {
            throw .last("cannot make a key")
        }
        return try Ed25519PrivateKey(owning: handle)
    }

    /// The key with this 32-byte seed, so that tests have keys that stay the same.
    public convenience init(seed: [UInt8]) throws(CryptographyFault) {
        guard let handle = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, nil, seed, seed.count) else {
            throw .last("cannot use the seed")
        }
        try self.init(owning: handle)
    }

    /// The signature of `message`, 64 bytes. The same message has the same signature every time.
    public func signature(of message: [UInt8]) throws(CryptographyFault) -> [UInt8] {
        guard let context = EVP_MD_CTX_new() else { throw .last("cannot sign") }
        defer { EVP_MD_CTX_free(context) }
        var signature = [UInt8](repeating: 0, count: Self.signatureByteCount)
        var count = signature.count
        guard EVP_DigestSignInit(context, nil, nil, nil, handle) == 1,
            EVP_DigestSign(context, &signature, &count, message, message.count) == 1, count == signature.count
        else { throw .last("cannot sign") }
        return signature
    }
}
