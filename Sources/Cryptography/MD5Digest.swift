import CCrypto

/// MD5, only where a foreign format demands it: dpkg's database names configuration files' content by it.
public enum MD5Digest {
    /// The digest of `bytes` as 32 hexadecimal digits.
    public static func hexadecimal(of bytes: [UInt8]) -> String {
        var digest = [UInt8](repeating: 0, count: 16)
        EVP_Digest(bytes, bytes.count, &digest, nil, EVP_md5(), nil)
        return digest.hexadecimal
    }
}
