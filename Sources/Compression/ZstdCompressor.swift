import CZstd
public import Fault

/// Compresses buffers into zstd frames (RFC 8878), one after another, with the same working memory.
///
/// The same bytes, level and version of libzstd give the same frame: no date, no checksum (whoever stores the frame has its
/// digest). The frame says how long its content is.
public struct ZstdCompressor: ~Copyable {
    private let context: OpaquePointer

    /// The version of the library, of which others may compress to other bytes.
    public static var libraryVersion: String { String(cString: ZSTD_versionString()) }

    /// What each thread compresses at a time, in bytes. The library's own choice of four windows takes 100 MiB of memory.
    private static let pieceSize = 4 << 20

    /// A compressor at `level`, 1 (fast) to 22 (small).
    ///
    /// - Parameter workers: threads to compress with, or 0 for the caller's own. Any number above 0 gives the same frame, which
    ///   is not the one that 0 gives.
    public init(level: Int, workers: Int = 0) throws(CompressionFault) {
        guard let context = ZSTD_createCCtx() else { throw .noContext() }
        var parameters = [(ZSTD_c_compressionLevel, level), (ZSTD_c_nbWorkers, workers)]
        if workers > 0 { parameters.append((ZSTD_c_jobSize, Self.pieceSize)) }
        for (parameter, value) in parameters {
            let result = ZSTD_CCtx_setParameter(context, parameter, Int32(clamping: value))
            guard ZSTD_isError(result) == 0 else {
                ZSTD_freeCCtx(context)
                throw .library(.library, "cannot compress at level \(level) with \(workers) threads", result)
            }
        }
        self.context = context
    }

    deinit { ZSTD_freeCCtx(context) }

    /// `bytes` as one frame.
    public mutating func compress(_ bytes: UnsafeRawBufferPointer) throws(CompressionFault) -> [UInt8] {
        let bound = ZSTD_compressBound(bytes.count)
        guard ZSTD_isError(bound) == 0 else { throw .library(.library, "too much to compress", bound) }
        var result = 0
        let frame = [UInt8](unsafeUninitializedCapacity: bound) { buffer, count in
            result = ZSTD_compress2(context, buffer.baseAddress, buffer.count, bytes.baseAddress, bytes.count)
            count = ZSTD_isError(result) == 0 ? result : 0
        }
        guard ZSTD_isError(result) == 0 else { throw .library(.library, "cannot compress", result) }
        return frame
    }

    /// `bytes` as one frame.
    public mutating func compress(_ bytes: [UInt8]) throws(CompressionFault) -> [UInt8] {
        let span = bytes.withUnsafeBytes { buffer in Result { () throws(CompressionFault) in try compress(buffer) } }
        return try span.get()
    }

    /// The bytes that `body` gives to its argument as one frame; they are never in memory all at once.
    ///
    /// - Parameter count: how many bytes that will be.
    /// - Throws: `wrongSize` where it is another number, and what `body` throws.
    public mutating func compress(count: Int, _ body: ((_ bytes: [UInt8]) throws -> Void) throws -> Void) throws
        -> [UInt8]
    {
        let context = context
        var frame: [UInt8] = []
        var piece = [UInt8](repeating: 0, count: ZSTD_CStreamOutSize())
        ZSTD_CCtx_reset(context, ZSTD_reset_session_only)
        try Self.check(ZSTD_CCtx_setPledgedSrcSize(context, UInt64(count)))
        func feed(_ bytes: [UInt8], _ directive: ZSTD_EndDirective) throws(CompressionFault) {
            var position = 0
            while true {
                var left = 0
                bytes.withUnsafeBytes { bytes in
                    piece.withUnsafeMutableBytes { piece in
                        var input = ZSTD_inBuffer(src: bytes.baseAddress, size: bytes.count, pos: position)
                        var output = ZSTD_outBuffer(dst: piece.baseAddress, size: piece.count, pos: 0)
                        left = ZSTD_compressStream2(context, &output, &input, directive)
                        position = input.pos
                        frame += piece[..<output.pos]
                    }
                }
                try Self.check(left)
                // All is out when nothing is left, and all is in when the input is at its end.
                if directive == ZSTD_e_end ? left == 0 : position == bytes.count { return }
            }
        }
        var total = 0
        try body { bytes in
            total += bytes.count
            try feed(bytes, ZSTD_e_continue)
        }
        // The library does not look where there was nothing before the end.
        guard total == count else {
            throw CompressionFault(.wrongSize, "\(total) bytes came to be compressed, and \(count) were promised")
        }
        try feed([], ZSTD_e_end)
        return frame
    }

    private static func check(_ result: Int) throws(CompressionFault) {
        guard ZSTD_isError(result) != 0 else { return }
        let isSize = ZSTD_getErrorCode(result) == ZSTD_error_srcSize_wrong
        throw .library(isSize ? .wrongSize : .library, "cannot compress", result)
    }
}
