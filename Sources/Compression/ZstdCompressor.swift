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

    /// A compressor at `level`, 1 (fast) to 22 (small).
    ///
    /// - Parameter workers: threads to compress with, or 0 for the caller's own. Any number above 0 gives the same frame, which
    ///   is not the one that 0 gives.
    public init(level: Int, workers: Int = 0) throws(CompressionFault) {
        guard let context = ZSTD_createCCtx() else { throw .noContext() }
        for (parameter, value) in [(ZSTD_c_compressionLevel, level), (ZSTD_c_nbWorkers, workers)] {
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
}
