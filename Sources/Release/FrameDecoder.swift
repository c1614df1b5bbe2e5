public import Compression
import Cryptography
public import Fault

/// Turns compressed frames into bytes of the image, each verified before and after, with the same working memory for all.
public struct FrameDecoder: ~Copyable {
    private var decompressor: ZstdDecompressor
    private var hasher = SHA256Hasher()

    /// A decoder.
    public init() throws(CompressionFault) { decompressor = try ZstdDecompressor() }

    /// Fills `output` with what `compressed`, all of one frame's bytes, holds.
    ///
    /// - Parameter output: exactly `frame.rawLength` bytes.
    /// - Throws: `mismatch` where a length or digest differs; what is in `output` is then worthless.
    public mutating func decode(
        _ compressed: UnsafeRawBufferPointer, of frame: FrameIndex.Frame, into output: UnsafeMutableRawBufferPointer
    ) throws(ReleaseFault) {
        guard compressed.count == frame.length, output.count == frame.rawLength else {
            throw Self.mismatch("has another length than the index says", frame)
        }
        hasher.update(compressed)
        // Nothing reaches the decompressor that the signed index does not name.
        guard hasher.finish() == frame.digest else {
            throw Self.mismatch("is not what the index names: its SHA-256 differs", frame)
        }
        do throws(CompressionFault) {
            try decompressor.decompress(compressed, into: output)
        } catch {
            throw ReleaseFault(.mismatch, "a frame cannot be decompressed", at: Self.place(frame), cause: error)
        }
        hasher.update(UnsafeRawBufferPointer(output))
        guard hasher.finish() == frame.rawDigest else {
            throw Self.mismatch("gives other bytes than the index names", frame)
        }
    }

    private static func place(_ frame: FrameIndex.Frame) -> Place {
        .offset(path: "frames", UInt64(clamping: frame.offset))
    }

    private static func mismatch(_ what: String, _ frame: FrameIndex.Frame) -> ReleaseFault {
        ReleaseFault(
            .mismatch, "the frame \(what)", at: place(frame),
            remedy: "try again; if it stays, the repository or a cache on the way is damaged")
    }
}
