import Command
import Compression
import Fault
import Testing

@Suite("zstd")
struct ZstdTests {
    static let samples: [[UInt8]] = [
        [], [7], Array(repeating: 0, count: 1 << 20), (0..<100_000).map { UInt8(truncatingIfNeeded: $0 * $0 >> 3) },
        (0..<50_000).map { _ in .random(in: 0...255) },
    ]

    @Test("what was compressed comes back, and twice the same", arguments: samples, [1, 12, 19])
    func roundTrip(sample: [UInt8], level: Int) throws {
        var compressor = try ZstdCompressor(level: level)
        var decompressor = try ZstdDecompressor()
        let frame = try compressor.compress(sample)
        var fresh = try ZstdCompressor(level: level)
        #expect(try fresh.compress(sample) == frame)
        #expect(try compressor.compress(sample) == frame)
        #expect(try decompressor.decompress(frame, count: sample.count) == sample)
    }

    @Test("pieces give one frame of the whole, whatever they are", arguments: samples, [0, 2])
    func pieces(sample: [UInt8], workers: Int) throws {
        var compressor = try ZstdCompressor(level: 9, workers: workers)
        var decompressor = try ZstdDecompressor()
        func frame(_ length: Int, count: Int) throws -> [UInt8] {
            try compressor.compress(count: count) { sink in
                for start in stride(from: 0, to: sample.count, by: length) {
                    try sink(Array(sample[start..<min(start + length, sample.count)]))
                }
            }
        }
        let whole = try frame(max(sample.count, 1), count: sample.count)
        #expect(try decompressor.decompress(whole, count: sample.count) == sample)
        #expect(try frame(1013, count: sample.count) == whole)
        let fault = #expect(throws: CompressionFault.self) { try frame(1013, count: sample.count + 1) }
        #expect(fault?.code == .wrongSize)
        #expect(try frame(4096, count: sample.count) == whole, "a failure leaves nothing")
    }

    @Test("the zstd program reads our frames")
    func foreign() async throws {
        var compressor = try ZstdCompressor(level: 12)
        let sample = Self.samples[3]
        let outcome = try await Command("zstd", ["-dc"]).run(input: compressor.compress(sample))
        #expect(outcome.output == sample)
    }

    @Test("a frame of another length than expected is refused before anything is allocated")
    func wrongLength() throws {
        var compressor = try ZstdCompressor(level: 3)
        var decompressor = try ZstdDecompressor()
        let frame = try compressor.compress([UInt8](repeating: 1, count: 1000))
        for count in [0, 999, 1001, 1 << 60] {
            let fault = try #require(throws: CompressionFault.self) {
                try decompressor.decompress(frame, count: count)
            }
            #expect(fault.code == .wrongSize)
        }
        #expect(throws: CompressionFault.self) { try decompressor.decompress(frame + [0], count: 1000) }
        #expect(throws: CompressionFault.self) { try decompressor.decompress(frame + frame, count: 1000) }
    }

    @Test("no cut and no flipped bit gives a trap, and no cut gives data")
    func damaged() throws {
        var compressor = try ZstdCompressor(level: 3)
        var decompressor = try ZstdDecompressor()
        let sample = (0..<2000).map { UInt8(truncatingIfNeeded: $0 * $0 >> 4) }
        let frame = try compressor.compress(sample)
        for length in 0..<frame.count {
            #expect(throws: CompressionFault.self) {
                try decompressor.decompress(Array(frame[..<length]), count: sample.count)
            }
        }
        for index in frame.indices {
            var flipped = frame
            flipped[index] ^= 1 << (index % 8)
            _ = try? decompressor.decompress(flipped, count: sample.count)
        }
        #expect(try decompressor.decompress(frame, count: sample.count) == sample)
    }
}
