import CZstd
public import Fault

/// Decompresses zstd frames (RFC 8878) whose content's length is known beforehand, with the same working memory for all.
///
/// What a frame claims is compared with what is expected before anything is written, so that a hostile frame costs neither
/// memory nor time.
public struct ZstdDecompressor: ~Copyable {
    private let context: OpaquePointer

    /// A decompressor.
    public init() throws(CompressionFault) {
        guard let context = ZSTD_createDCtx() else { throw .noContext() }
        self.context = context
    }

    deinit { ZSTD_freeDCtx(context) }

    /// Fills all of `output` from exactly one frame that fills `frame`.
    ///
    /// - Throws: `wrongSize` when the frame's content is not as long as `output`, or bytes follow the frame; `malformed`.
    public mutating func decompress(
        _ frame: UnsafeRawBufferPointer, into output: UnsafeMutableRawBufferPointer
    ) throws(CompressionFault) {
        let claimed = ZSTD_getFrameContentSize(frame.baseAddress, frame.count)
        // CONTENTSIZE_UNKNOWN and CONTENTSIZE_ERROR are the two highest values; macros with casts that Swift does not see.
        guard claimed < UInt64.max - 1 else {
            throw CompressionFault(.malformed, "no zstd frame that says how long its content is")
        }
        guard claimed == UInt64(output.count) else {
            throw CompressionFault(
                .wrongSize, "the zstd frame holds \(claimed) bytes where \(output.count) are expected")
        }
        let length = ZSTD_findFrameCompressedSize(frame.baseAddress, frame.count)
        guard ZSTD_isError(length) == 0 else { throw .library(.malformed, "damaged zstd frame", length) }
        guard length == frame.count else {
            throw CompressionFault(.wrongSize, "\(frame.count - length) bytes follow the zstd frame")
        }
        let count = ZSTD_decompressDCtx(context, output.baseAddress, output.count, frame.baseAddress, frame.count)
        guard ZSTD_isError(count) == 0 else { throw .library(.malformed, "damaged zstd frame", count) }
        guard count == output.count else {
            throw CompressionFault(
                .wrongSize, "the zstd frame gave \(count) bytes where \(output.count) are expected")
        }
    }

    /// The `count` bytes of exactly one frame that fills `frame`.
    public mutating func decompress(_ frame: [UInt8], count: Int) throws(CompressionFault) -> [UInt8] {
        // Before the allocation, so that a frame that cannot be right costs nothing.
        let claimed = frame.withUnsafeBytes { ZSTD_getFrameContentSize($0.baseAddress, $0.count) }
        guard count >= 0, claimed == UInt64(count) else {
            throw CompressionFault(.wrongSize, "the zstd frame does not hold the \(count) bytes that are expected")
        }
        var output = [UInt8](repeating: 0, count: count)
        let result = output.withUnsafeMutableBytes { output in
            frame.withUnsafeBytes { frame in
                Result { () throws(CompressionFault) in try decompress(frame, into: output) }
            }
        }
        try result.get()
        return output
    }
}
