import Compression

/// What the zstd frames that `bytes` are hold, given to the decompressor in pieces of `pieceLength` bytes.
public func zstdContent(_ bytes: [UInt8], pieceLength: Int = 1 << 20) throws -> [UInt8] {
    var stream = try ZstdStream()
    var content: [UInt8] = []
    for start in stride(from: 0, to: bytes.count, by: pieceLength) {
        try bytes[start..<min(start + pieceLength, bytes.count)].withUnsafeBytes { piece in
            try stream.decompress(piece) { content.append(contentsOf: $0) }
        }
    }
    return content
}
