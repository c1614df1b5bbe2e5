import CZstd
public import Fault

/// Decompresses zstd frames (RFC 8878) that follow each other, in pieces as they come.
public struct ZstdStream: ~Copyable {
    /// Frames that want more memory than 2 to the power of this are refused.
    private static let windowLimit: Int32 = 24

    private let context: OpaquePointer
    private let output: UnsafeMutableRawBufferPointer

    /// A stream that has seen nothing yet.
    public init() throws(CompressionFault) {
        guard let context = ZSTD_createDCtx() else { throw .noContext() }
        let result = ZSTD_DCtx_setParameter(context, ZSTD_d_windowLogMax, Self.windowLimit)
        guard ZSTD_isError(result) == 0 else {
            ZSTD_freeDCtx(context)
            throw .library(.library, "cannot bound the memory of zstd", result)
        }
        self.context = context
        output = .allocate(byteCount: ZSTD_DStreamOutSize(), alignment: 4096)
    }

    deinit {
        ZSTD_freeDCtx(context)
        output.deallocate()
    }

    /// Gives what the next `bytes` of the frames hold to `onData`, in pieces.
    ///
    /// - Throws: a `CompressionFault` for a damaged frame, or what `onData` throws.
    public mutating func decompress(
        _ bytes: UnsafeRawBufferPointer, onData: (UnsafeRawBufferPointer) throws -> Void
    ) throws {
        var input = ZSTD_inBuffer(src: bytes.baseAddress, size: bytes.count, pos: 0)
        while true {
            var piece = ZSTD_outBuffer(dst: output.baseAddress, size: output.count, pos: 0)
            let result = ZSTD_decompressStream(context, &piece, &input)
            guard ZSTD_isError(result) == 0 else {
                throw CompressionFault.library(.malformed, "damaged zstd frame", result)
            }
            if piece.pos > 0 { try onData(UnsafeRawBufferPointer(rebasing: output[..<piece.pos])) }
            // A full piece may not have been all.
            if input.pos == input.size, piece.pos < piece.size { return }
        }
    }
}
