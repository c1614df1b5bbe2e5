public import Fault

/// Why a hash tree cannot be made.
public enum VerityFaultCode: String, FaultCode {
    /// A salt, UUID or size that the format cannot hold.
    case invalid
}

/// A failure of making a hash tree.
public typealias VerityFault = Fault<VerityFaultCode>

/// What a dm-verity tree depends on besides the data: version 1, SHA-256, blocks of 4096 bytes for data and hashes.
public struct VerityParameters: Sendable, Hashable {
    /// The size of a data block and of a hash block in bytes.
    public static let blockSize = 4096
    /// Digests in a hash block.
    static let digestsPerBlock = blockSize / 32

    /// Hashed before every block, at most 256 bytes.
    public let salt: [UInt8]
    /// The hash device's own UUID, 16 bytes; the root hash does not depend on it.
    public let uuid: [UInt8]

    /// Checked parameters.
    public init(salt: [UInt8], uuid: [UInt8]) throws(VerityFault) {
        guard salt.count <= 256, uuid.count == 16 else {
            throw VerityFault(.invalid, "a verity salt has at most 256 bytes and a UUID has 16")
        }
        self.salt = salt
        self.uuid = uuid
    }

    /// The size in bytes of the hash device for `dataBlocks` blocks: its superblock's block and all levels.
    public static func hashDeviceSize(dataBlocks: Int) -> Int {
        var blocks = 1
        var level = dataBlocks
        while level > 1 {
            level = (level + digestsPerBlock - 1) / digestsPerBlock
            blocks += level
        }
        return blocks * blockSize
    }

    /// The superblock in a block of its own (cryptsetup, docs/on-disk-format of verity):
    ///
    ///      0  u8[8] "verity\0\0"       8  u32 version 1       12  u32 hash type 1      16  u8[16] UUID
    ///     32  char[32] algorithm      64  u32 data block     68  u32 hash block       72  u64 data blocks
    ///     80  u16 salt size           88  u8[256] salt
    func superblock(dataBlocks: Int) -> [UInt8] {
        var block = [UInt8](repeating: 0, count: Self.blockSize)
        func put(_ value: UInt64, width: Int, at offset: Int) {
            for index in 0..<width { block[offset + index] = UInt8(truncatingIfNeeded: value >> (8 * UInt64(index))) }
        }
        func put(_ bytes: some Collection<UInt8>, at offset: Int) {
            for (index, byte) in bytes.enumerated() { block[offset + index] = byte }
        }
        put("verity".utf8, at: 0)
        put(1, width: 4, at: 8)
        put(1, width: 4, at: 12)
        put(uuid, at: 16)
        put("sha256".utf8, at: 32)
        put(UInt64(Self.blockSize), width: 4, at: 64)
        put(UInt64(Self.blockSize), width: 4, at: 68)
        put(UInt64(dataBlocks), width: 8, at: 72)
        put(UInt64(salt.count), width: 2, at: 80)
        put(salt, at: 88)
        return block
    }
}
