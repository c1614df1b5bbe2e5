public import Cryptography
import Fault

/// A dm-verity hash tree in memory: 0.8 % of the data's size.
public struct VerityTree: Sendable {
    /// The digest of the topmost block: what a kernel command line pins.
    public let rootHash: SHA256Digest
    /// The number of data blocks it covers.
    public let dataBlockCount: Int

    private let parameters: VerityParameters
    /// The levels' blocks, the leaves first.
    private let levels: [[UInt8]]

    init(leaves: [UInt8], parameters: VerityParameters, hasher: inout SHA256Hasher) {
        dataBlockCount = leaves.count / SHA256Digest.byteCount
        self.parameters = parameters
        var levels: [[UInt8]] = []
        var digests = leaves
        while digests.count > SHA256Digest.byteCount {
            let padding = VerityParameters.blockSize - digests.count % VerityParameters.blockSize
            digests += [UInt8](repeating: 0, count: padding % VerityParameters.blockSize)
            levels.append(digests)
            digests = Self.digests(of: digests, parameters: parameters, hasher: &hasher)
        }
        self.levels = levels
        rootHash = SHA256Digest(digests) ?? SHA256Digest(of: [])
    }

    /// The digests of all blocks of `data`, one behind the other.
    static func digests(of data: [UInt8], parameters: VerityParameters, hasher: inout SHA256Hasher) -> [UInt8] {
        data.withUnsafeBytes { digests(of: $0, parameters: parameters, hasher: &hasher) }
    }

    static func digests(
        of data: UnsafeRawBufferPointer, parameters: VerityParameters, hasher: inout SHA256Hasher
    ) -> [UInt8] {
        let count = data.count / VerityParameters.blockSize
        var digests = [UInt8](repeating: 0, count: count * SHA256Digest.byteCount)
        digests.withUnsafeMutableBytes { output in
            parameters.salt.withUnsafeBytes { salt in
                for index in 0..<count {
                    let from = index * VerityParameters.blockSize
                    let to = index * SHA256Digest.byteCount
                    hasher.digest(
                        UnsafeRawBufferPointer(rebasing: data[from..<from + VerityParameters.blockSize]), prefix: salt,
                        into: UnsafeMutableRawBufferPointer(rebasing: output[to..<to + SHA256Digest.byteCount]))
                }
            }
        }
        return digests
    }

    /// The whole hash device: superblock, then the levels from the top to the leaves, as `veritysetup format` writes them.
    public func hashDevice() -> [UInt8] {
        var device: [UInt8] = []
        device.reserveCapacity(hashDeviceSize)
        forEachPiece { device += $0 }
        return device
    }

    /// The size of the whole hash device in bytes.
    public var hashDeviceSize: Int { levels.reduce(VerityParameters.blockSize) { $0 + $1.count } }

    /// Gives the hash device from front to back to `body`, in pieces of whole blocks, without a second copy of it.
    public func forEachPiece<Failure: Error>(_ body: ([UInt8]) throws(Failure) -> Void) throws(Failure) {
        try body(parameters.superblock(dataBlocks: dataBlockCount))
        for level in levels.reversed() { try body(level) }
    }
}

/// Makes the hash tree of data that comes from front to back in whole blocks.
public struct VerityHasher: ~Copyable {
    private let parameters: VerityParameters
    private var hasher = SHA256Hasher()
    private var leaves: [UInt8] = []

    /// A hasher that has seen no block.
    ///
    /// - Parameter blocks: how many will come, where that is known, so that the digests are never moved.
    public init(_ parameters: VerityParameters, expecting blocks: Int = 0) {
        self.parameters = parameters
        leaves.reserveCapacity(max(blocks, 0) * SHA256Digest.byteCount)
    }

    /// Takes in `blocks`, whose length must be a multiple of 4096.
    public mutating func update(_ blocks: UnsafeRawBufferPointer) {
        precondition(blocks.count % VerityParameters.blockSize == 0, "verity hashes whole blocks")
        leaves += VerityTree.digests(of: blocks, parameters: parameters, hasher: &hasher)
    }

    /// Takes in the digests of further blocks that were made elsewhere with `leafDigests`.
    public mutating func append(leafDigests: [UInt8]) {
        precondition(leafDigests.count % SHA256Digest.byteCount == 0, "a digest has 32 bytes")
        leaves += leafDigests
    }

    /// The leaf digests of `blocks`: what several threads can make of parts of the data.
    public static func leafDigests(of blocks: UnsafeRawBufferPointer, parameters: VerityParameters) -> [UInt8] {
        var hasher = SHA256Hasher()
        return VerityTree.digests(of: blocks, parameters: parameters, hasher: &hasher)
    }

    /// The tree over everything taken in.
    public consuming func finish() -> VerityTree {
        VerityTree(leaves: leaves, parameters: parameters, hasher: &hasher)
    }
}
