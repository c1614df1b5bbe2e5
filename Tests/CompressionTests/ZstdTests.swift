import Command
import Compression
import Fault
import TestSupport
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
        let frame = try compressor.compress(sample)
        var fresh = try ZstdCompressor(level: level)
        #expect(try fresh.compress(sample) == frame)
        #expect(try compressor.compress(sample) == frame)
        #expect(try zstdContent(frame, pieceLength: 777) == sample)
    }

    @Test("pieces give one frame of the whole, whatever they are", arguments: samples, [0, 2])
    func pieces(sample: [UInt8], workers: Int) throws {
        var compressor = try ZstdCompressor(level: 9, workers: workers)
        func frame(_ length: Int, count: Int) throws -> [UInt8] {
            try compressor.compress(count: count) { sink in
                for start in stride(from: 0, to: sample.count, by: length) {
                    try sink(Array(sample[start..<min(start + length, sample.count)]))
                }
            }
        }
        let whole = try frame(max(sample.count, 1), count: sample.count)
        #expect(try zstdContent(whole) == sample)
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

    @Test("frames that follow each other give what they hold, however they are cut", arguments: [1, 100, 1 << 20])
    func frames(pieceLength: Int) throws {
        var compressor = try ZstdCompressor(level: 3)
        let all = Self.samples.filter { $0.count < 200_000 }
        let frames = try all.flatMap { try compressor.compress($0) }
        #expect(try zstdContent(frames, pieceLength: pieceLength) == all.flatMap { $0 })
    }

    @Test("no cut and no flipped bit gives a trap, and a frame that is cut never gives all")
    func damaged() throws {
        var compressor = try ZstdCompressor(level: 3)
        let sample = (0..<2000).map { UInt8(truncatingIfNeeded: $0 * $0 >> 4) }
        let frame = try compressor.compress(sample)
        for length in 0..<frame.count {
            let content = try? zstdContent(Array(frame[..<length]))
            #expect(content.map { sample.starts(with: $0) && $0.count < sample.count } ?? true)
        }
        for index in frame.indices {
            var flipped = frame
            flipped[index] ^= 1 << (index % 8)
            _ = try? zstdContent(flipped)
        }
        #expect(throws: CompressionFault.self) { try zstdContent(Array("this is no frame at all".utf8)) }
    }

    @Test("a frame that wants more memory than an image's frames need is refused")
    func window() async throws {
        let large = try await Command("zstd", ["-c", "--long=27", "--ultra", "-22"]).run(
            input: (0..<(40 << 20)).map { UInt8(truncatingIfNeeded: $0 >> 16) })
        let fault = try #require(throws: CompressionFault.self) { try zstdContent(large.output) }
        #expect("\(fault)".contains("memory"))
    }
}
