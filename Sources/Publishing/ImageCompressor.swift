import Compression
import Cryptography
import Fault
import FileIO
import Release
import Synchronization
import SystemPackage
import Terminal

/// Cuts an image into frames and compresses them on all cores. Only a few frames are in memory at a time, and the bytes
/// that come out do not depend on how many cores there are.
struct ImageCompressor {
    let level: Int
    let frameSize: Int

    private struct CompressedFrame: Sendable {
        let position: Int
        let bytes: [UInt8]
        let digest: SHA256Digest
        let rawDigest: SHA256Digest
    }

    /// Compresses `image` into `output`, in order, and checks its size and digest on the way.
    func compress(
        _ image: BuildDescription.Output, into output: PendingBlob, progress: Progress
    ) async throws -> FrameIndex {
        let size = image.blob.size
        let count = Int((size + Int64(frameSize) - 1) / Int64(frameSize))
        let reader = try CheckedReader(image)
        let compressors = CompressorPool(level: level)
        let window = 3 * max(ActiveProcessors.count, 1)
        var records: [(length: Int, digest: SHA256Digest, rawDigest: SHA256Digest)] = []
        records.reserveCapacity(count)
        try await withThrowingTaskGroup(of: CompressedFrame.self) { group in
            var next = 0
            var waiting: [Int: CompressedFrame] = [:]
            while records.count < count {
                try Task.checkCancellation()
                // Frames that wait for an earlier one count too, or a slow first frame would let all others pile up.
                while next < count, next - records.count < window {
                    let position = next
                    let raw = try reader.read(Int(min(Int64(frameSize), size - Int64(position) * Int64(frameSize))))
                    group.addTask {
                        let bytes = try compressors.compress(raw)
                        progress.advance(by: Int64(raw.count))
                        return CompressedFrame(
                            position: position, bytes: bytes, digest: SHA256Digest(of: bytes),
                            rawDigest: SHA256Digest(of: raw))
                    }
                    next += 1
                }
                guard let frame = try await group.next() else { break }
                waiting[frame.position] = frame
                while let frame = waiting.removeValue(forKey: records.count) {
                    try output.append(frame.bytes)
                    records.append((frame.bytes.count, frame.digest, frame.rawDigest))
                }
            }
        }
        try reader.finish()
        return try FrameIndex(imageSize: size, frameSize: frameSize, frames: records)
    }
}

/// Compressors that nobody uses at the moment: one a core, however many frames there are.
private final class CompressorPool: Sendable {
    private final class Box: Sendable {
        let compressor: Mutex<ZstdCompressor>
        init(level: Int) throws(CompressionFault) { compressor = Mutex(try ZstdCompressor(level: level)) }
    }

    private let level: Int
    private let idle = Mutex<[Box]>([])

    init(level: Int) { self.level = level }

    func compress(_ bytes: [UInt8]) throws(CompressionFault) -> [UInt8] {
        let box: Box
        if let free = idle.withLock({ $0.popLast() }) { box = free } else { box = try Box(level: level) }
        defer { idle.withLock { $0.append(box) } }
        // Nobody else has it: the lock is never waited for.
        return try box.compressor.withLock { compressor throws(CompressionFault) in try compressor.compress(bytes) }
    }
}
