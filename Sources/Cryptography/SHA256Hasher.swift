import CCrypto
public import FileIO
public import SystemPackage

/// SHA-256 over bytes that come in pieces, by libcrypto.
public struct SHA256Hasher: ~Copyable {
    private let context: OpaquePointer

    /// A hasher that has seen nothing.
    public init() {
        // Both calls fail only where memory is at an end, which Swift itself does not survive either.
        guard let context = EVP_MD_CTX_new(), EVP_DigestInit_ex(context, EVP_sha256(), nil) == 1 else {
            preconditionFailure("libcrypto has no memory left for a SHA-256 context")
        }
        self.context = context
    }

    deinit { EVP_MD_CTX_free(context) }

    /// Takes in `bytes`.
    public mutating func update(_ bytes: UnsafeRawBufferPointer) {
        EVP_DigestUpdate(context, bytes.baseAddress, bytes.count)
    }

    /// Takes in `bytes`.
    public mutating func update(_ bytes: [UInt8]) {
        bytes.withUnsafeBytes { update($0) }
    }

    /// The digest of everything taken in; afterwards the hasher has seen nothing.
    public mutating func finish() -> SHA256Digest {
        var digest = [UInt8](repeating: 0, count: SHA256Digest.byteCount)
        EVP_DigestFinal_ex(context, &digest, nil)
        EVP_DigestInit_ex(context, nil, nil)
        return SHA256Digest(unchecked: digest)
    }

    /// Hashes `bytes` on its own into 32 bytes at `output`: the inner loop of a hash tree, without an allocation.
    public mutating func digest(
        _ bytes: UnsafeRawBufferPointer, prefix: UnsafeRawBufferPointer? = nil,
        into output: UnsafeMutableRawBufferPointer
    ) {
        precondition(output.count >= SHA256Digest.byteCount, "a SHA-256 digest needs 32 bytes of room")
        if let prefix { EVP_DigestUpdate(context, prefix.baseAddress, prefix.count) }
        EVP_DigestUpdate(context, bytes.baseAddress, bytes.count)
        EVP_DigestFinal_ex(context, output.baseAddress?.assumingMemoryBound(to: UInt8.self), nil)
        EVP_DigestInit_ex(context, nil, nil)
    }
}

extension SHA256Digest {
    /// The digest of the file at `path` and the file's size, read once. Holes are hashed without being read.
    public static func ofFile(_ path: FilePath) throws(FileIOFault) -> (digest: SHA256Digest, size: Int64) {
        let file = try OpenFile(reading: path)
        var hasher = SHA256Hasher()
        let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 20, alignment: 4096)
        let zeros = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 16, alignment: 4096)
        zeros.initializeMemory(as: UInt8.self, repeating: 0)
        defer {
            buffer.deallocate()
            zeros.deallocate()
        }
        var offset: Int64 = 0
        while let data = file.nextData(after: offset) {
            while offset < data.lowerBound {
                let count = Int(min(Int64(zeros.count), data.lowerBound - offset))
                hasher.update(UnsafeRawBufferPointer(rebasing: zeros[..<count]))
                offset += Int64(count)
            }
            while offset < data.upperBound {
                let wanted = Int(min(Int64(buffer.count), data.upperBound - offset))
                let count = try file.readPrefix(
                    into: UnsafeMutableRawBufferPointer(rebasing: buffer[..<wanted]), at: offset)
                if count == 0 { break }
                hasher.update(UnsafeRawBufferPointer(rebasing: buffer[..<count]))
                offset += Int64(count)
            }
            if data.isEmpty || offset < data.upperBound { break }
        }
        return (hasher.finish(), offset)
    }
}
