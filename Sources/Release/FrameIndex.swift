public import Cryptography
public import Fault

/// Where each piece of an image is in its compressed form, and what it must hash to.
///
/// An image is cut into frames of the same raw length, the last one excepted. Each is a zstd frame of its own; they stand one
/// after another in the frames blob. All numbers are little-endian.
///
/// | offset | bytes | header                                                     |
/// |-------:|------:|------------------------------------------------------------|
/// |      0 |     8 | magic `BALLASTF`                                           |
/// |      8 |     4 | format version, 1                                          |
/// |     12 |     4 | raw length of a frame: a power of two, 4096 to 16777216    |
/// |     16 |     8 | raw length of the image                                    |
/// |     24 |     8 | length of the frames blob                                  |
/// |     32 |     4 | number of frames                                           |
/// |     36 |     4 | zero                                                       |
///
/// | offset | bytes | each frame, from byte 40 on                                |
/// |-------:|------:|------------------------------------------------------------|
/// |      0 |     8 | offset in the frames blob: the sum of the lengths before   |
/// |      8 |     4 | length in the frames blob                                  |
/// |     12 |     4 | raw length                                                 |
/// |     16 |    32 | SHA-256 of the compressed bytes                            |
/// |     48 |    32 | SHA-256 of the raw bytes                                   |
public struct FrameIndex: Sendable, Hashable {
    /// One frame.
    public struct Frame: Sendable, Hashable {
        /// Where it begins in the frames blob.
        public let offset: Int64
        /// How many bytes it has there.
        public let length: Int
        /// How many bytes of the image it holds.
        public let rawLength: Int
        /// The SHA-256 of its bytes in the blob.
        public let digest: SHA256Digest
        /// The SHA-256 of the bytes of the image.
        public let rawDigest: SHA256Digest

        /// Its bytes in the frames blob.
        public var range: Range<Int64> { offset..<offset + Int64(length) }
    }

    /// The most bytes an index may have: an image of 64 GiB in frames of 1 MiB.
    public static let byteLimit = headerLength + (1 << 16) * recordLength
    static let headerLength = 40
    static let recordLength = 80
    private static let magic = Array("BALLASTF".utf8)
    private static let frameSizes = 4096...(16 << 20)

    /// The raw length of every frame but the last.
    public let frameSize: Int
    /// The raw length of the image.
    public let imageSize: Int64
    /// The length of the frames blob.
    public let blobSize: Int64
    /// The frames in the image's order.
    public let frames: [Frame]

    /// The frame that holds byte `offset` of the image, or nil behind its end.
    public func position(ofFrameAt offset: Int64) -> Int? {
        guard offset >= 0, offset < imageSize else { return nil }
        return Int(offset / Int64(frameSize))
    }

    /// The bytes of the image that frame `position` holds, or nil where there is no such frame.
    public func imageRange(ofFrame position: Int) -> Range<Int64>? {
        guard frames.indices.contains(position) else { return nil }
        let start = Int64(position) * Int64(frameSize)
        return start..<start + Int64(frames[position].rawLength)
    }

    /// An index of frames that were written one after another.
    ///
    /// - Throws: `malformed` where they do not add up to the image.
    public init(
        imageSize: Int64, frameSize: Int, frames: [(length: Int, digest: SHA256Digest, rawDigest: SHA256Digest)]
    ) throws(ReleaseFault) {
        var offset: Int64 = 0
        var remaining = imageSize
        var records: [Frame] = []
        records.reserveCapacity(frames.count)
        for frame in frames {
            let rawLength = Int(min(remaining, Int64(frameSize)))
            records.append(
                Frame(
                    offset: offset, length: frame.length, rawLength: rawLength, digest: frame.digest,
                    rawDigest: frame.rawDigest))
            offset += Int64(frame.length)
            remaining -= Int64(rawLength)
        }
        self.frameSize = frameSize
        self.imageSize = imageSize
        self.blobSize = offset
        self.frames = records
        // One set of rules for what is written and what is read.
        guard try FrameIndex(parsing: bytes, source: "frame index") == self else {
            throw ReleaseFault(.malformed, "the frames do not make up an image of \(imageSize) bytes")
        }
    }

    /// Reads an index, of which every number is checked against every other one.
    public init(parsing bytes: [UInt8], source: String) throws(ReleaseFault) {
        func malformed(_ what: String, _ offset: Int, _ code: ReleaseFaultCode = .malformed) -> ReleaseFault {
            ReleaseFault(code, "no frame index: \(what)", at: .offset(path: source, UInt64(offset)))
        }
        guard bytes.count >= Self.headerLength, bytes.starts(with: Self.magic) else {
            throw malformed("the magic is missing", 0)
        }
        guard bytes.count <= Self.byteLimit else { throw malformed("more than \(Self.byteLimit) bytes", 0) }
        let reader = LittleEndianReader(bytes)
        let version = reader.number(at: 8, width: 4)
        guard version == 1 else { throw malformed("format \(version) is not understood", 8, .unsupported) }
        guard let frameSize = Int(exactly: reader.number(at: 12, width: 4)), Self.frameSizes.contains(frameSize),
            frameSize & (frameSize - 1) == 0
        else { throw malformed("the frames' raw length is no power of two from 4096 to 16777216", 12) }
        guard let imageSize = Int64(exactly: reader.number(at: 16, width: 8)),
            1...Int64(ReleaseDocument.sizeLimit) ~= imageSize
        else { throw malformed("the image's length is out of range", 16) }
        guard let blobSize = Int64(exactly: reader.number(at: 24, width: 8)) else {
            throw malformed("the length of the blob is out of range", 24)
        }
        let count = Int(reader.number(at: 32, width: 4))
        guard count == Int((imageSize + Int64(frameSize) - 1) / Int64(frameSize)) else {
            throw malformed("\(count) frames of \(frameSize) bytes for an image of \(imageSize) bytes", 32)
        }
        guard reader.number(at: 36, width: 4) == 0 else { throw malformed("a reserved field is not zero", 36) }
        guard bytes.count == Self.headerLength + count * Self.recordLength else {
            throw malformed("\(bytes.count) bytes where \(count) frames take another number", bytes.count)
        }
        var frames: [Frame] = []
        frames.reserveCapacity(count)
        var offset: Int64 = 0
        for position in 0..<count {
            let start = Self.headerLength + position * Self.recordLength
            let length = Int(reader.number(at: start + 8, width: 4))
            let rawLength = Int(reader.number(at: start + 12, width: 4))
            guard reader.number(at: start, width: 8) == UInt64(offset) else {
                throw malformed("frame \(position) does not begin where the one before it ends", start)
            }
            guard Int64(rawLength) == min(imageSize - Int64(position) * Int64(frameSize), Int64(frameSize)) else {
                throw malformed("frame \(position) has another raw length than its place asks for", start + 12)
            }
            // What does not compress grows by a few bytes a block of 128 KiB; this bounds what a reader has to hold.
            guard 1...(rawLength + rawLength / 256 + 1024) ~= length else {
                throw malformed("frame \(position) cannot take \(length) bytes", start + 8)
            }
            frames.append(
                Frame(
                    offset: offset, length: length, rawLength: rawLength, digest: reader.digest(at: start + 16),
                    rawDigest: reader.digest(at: start + 48)))
            offset += Int64(length)
        }
        guard offset == blobSize else {
            throw malformed("the frames take \(offset) bytes of a blob of \(blobSize)", 24)
        }
        self.frameSize = frameSize
        self.imageSize = imageSize
        self.blobSize = blobSize
        self.frames = frames
    }

    /// The index as it is stored.
    public var bytes: [UInt8] {
        var bytes = Self.magic
        bytes.reserveCapacity(Self.headerLength + frames.count * Self.recordLength)
        func append(_ value: some BinaryInteger, width: Int) {
            for shift in 0..<width { bytes.append(UInt8(truncatingIfNeeded: value >> (shift * 8))) }
        }
        append(1, width: 4)
        append(frameSize, width: 4)
        append(imageSize, width: 8)
        append(blobSize, width: 8)
        append(frames.count, width: 4)
        append(0, width: 4)
        for frame in frames {
            append(frame.offset, width: 8)
            append(frame.length, width: 4)
            append(frame.rawLength, width: 4)
            bytes += frame.digest.bytes
            bytes += frame.rawDigest.bytes
        }
        return bytes
    }
}

/// Numbers at places that were checked to be inside the bytes.
private struct LittleEndianReader {
    private let bytes: [UInt8]

    init(_ bytes: [UInt8]) {
        self.bytes = bytes
    }

    func number(at offset: Int, width: Int) -> UInt64 {
        bytes[offset..<offset + width].reversed().reduce(0) { $0 << 8 | UInt64($1) }
    }

    func digest(at offset: Int) -> SHA256Digest {
        SHA256Digest(bytes[offset..<offset + SHA256Digest.byteCount]) ?? SHA256Digest(of: [])
    }
}
