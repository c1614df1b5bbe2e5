import CCrypto

/// The public half of an Ed25519 key (RFC 8032).
public struct Ed25519PublicKey: Sendable, Hashable, CustomStringConvertible {
    /// The length of the raw key in bytes.
    public static let byteCount = 32

    /// The raw key, 32 bytes.
    public let bytes: [UInt8]

    /// The key that exactly 32 bytes stand for, or nil.
    public init?(_ bytes: some Collection<UInt8>) {
        guard bytes.count == Self.byteCount else { return nil }
        self.bytes = Array(bytes)
    }

    /// The key that 64 hexadecimal digits spell, or nil.
    public init?(hexadecimal: some StringProtocol) {
        guard let bytes = [UInt8](hexadecimal: hexadecimal) else { return nil }
        self.init(bytes)
    }

    /// 64 lower-case hexadecimal digits.
    public var description: String { bytes.hexadecimal }

    /// Whether `signature` is this key's signature of `message`. A signature of any length but 64 bytes is none.
    public func verifies(_ signature: [UInt8], of message: [UInt8]) -> Bool {
        guard signature.count == Ed25519PrivateKey.signatureByteCount,
            let key = EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, nil, bytes, bytes.count)
        else { return false }
        defer { EVP_PKEY_free(key) }
        guard let context = EVP_MD_CTX_new() else { return false }
        defer {
            EVP_MD_CTX_free(context)
            // A refused signature leaves an error in this thread's queue, which a later failure would report as its own.
            ERR_clear_error()
        }
        return EVP_DigestVerifyInit(context, nil, nil, nil, key) == 1
            && EVP_DigestVerify(context, signature, signature.count, message, message.count) == 1
    }
}
