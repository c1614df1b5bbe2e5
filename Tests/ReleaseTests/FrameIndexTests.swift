import Compression
import Cryptography
import Fault
import Release
import TestSupport
import Testing

@Suite("Frame index")
struct FrameIndexTests {
    /// An image cut into frames, its blob and its index.
    static func make(size: Int, frameSize: Int) throws -> (image: [UInt8], blob: [UInt8], index: FrameIndex) {
        let image = (0..<size).map { UInt8(truncatingIfNeeded: $0 * $0 >> 5) }
        var compressor = try ZstdCompressor(level: 3)
        var blob: [UInt8] = []
        var frames: [(length: Int, digest: SHA256Digest, rawDigest: SHA256Digest)] = []
        for start in stride(from: 0, to: size, by: frameSize) {
            let raw = Array(image[start..<min(start + frameSize, size)])
            let frame = try compressor.compress(raw)
            blob += frame
            frames.append((frame.count, SHA256Digest(of: frame), SHA256Digest(of: raw)))
        }
        return (image, blob, try FrameIndex(imageSize: Int64(size), frameSize: frameSize, frames: frames))
    }

    @Test(
        "an index reads back as it was, and the frames give the image", arguments: [4096, 12288, 16384, 20480, 65536])
    func roundTrip(size: Int) throws {
        let (image, blob, index) = try Self.make(size: size, frameSize: 8192)
        #expect(try FrameIndex(parsing: index.bytes, source: "index") == index)
        #expect(index.blobSize == Int64(blob.count))
        var result: [UInt8] = []
        for (position, frame) in index.frames.enumerated() {
            let compressed = Array(blob[Int(frame.range.lowerBound)..<Int(frame.range.upperBound)])
            let raw = try zstdContent(compressed)
            #expect(SHA256Digest(of: raw) == frame.rawDigest)
            let range = try #require(index.imageRange(ofFrame: position))
            #expect(range.lowerBound == Int64(result.count))
            #expect(index.position(ofFrameAt: range.upperBound - 1) == position)
            result += raw
        }
        #expect(result == image)
        #expect(index.position(ofFrameAt: Int64(size)) == nil)
        #expect(index.imageRange(ofFrame: index.frames.count) == nil)
    }

    @Test("no cut of an index is an index")
    func truncated() throws {
        let bytes = try Self.make(size: 40_960, frameSize: 8192).index.bytes
        for length in 0..<bytes.count {
            #expect(throws: ReleaseFault.self) { try FrameIndex(parsing: Array(bytes[..<length]), source: "index") }
        }
        #expect(throws: ReleaseFault.self) { try FrameIndex(parsing: bytes + [0], source: "index") }
    }

    @Test("no flipped bit outside the digests is accepted")
    func flipped() throws {
        let bytes = try Self.make(size: 40_960, frameSize: 8192).index.bytes
        for index in bytes.indices where index < 40 || (index - 40) % 80 < 16 {
            for bit in 0..<8 {
                var changed = bytes
                changed[index] ^= 1 << bit
                #expect(throws: ReleaseFault.self) { try FrameIndex(parsing: changed, source: "index") }
            }
        }
    }

    @Test("an index that claims more than it has is refused before anything is allocated for it")
    func claims() throws {
        var bytes = try Self.make(size: 40_960, frameSize: 8192).index.bytes
        for offset in [12, 16, 20, 24, 32] {
            var changed = bytes
            changed.replaceSubrange(offset..<offset + 4, with: [255, 255, 255, 255])
            #expect(throws: ReleaseFault.self) { try FrameIndex(parsing: changed, source: "index") }
        }
        bytes[8] = 2
        let fault = try #require(throws: ReleaseFault.self) { try FrameIndex(parsing: bytes, source: "index") }
        #expect(fault.code == .unsupported)
        #expect("\(fault)" == "index at byte 8: no frame index: format 2 is not understood")
    }
}
