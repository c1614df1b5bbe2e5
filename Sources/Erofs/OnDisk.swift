/// The on-disk structures of EROFS that an uncompressed image uses (Linux: fs/erofs/erofs_fs.h). All are little-endian.
///
///     superblock (at byte 1024)                     compact inode, 32 bytes
///      0  u32 magic 0xE0F5E1E2                        0  u16 format: bit 0 version, bits 1-3 data layout
///      4  u32 CRC-32C of bytes 1024..4095             2  u16 xattr count: 0, or (bytes - 12) / 4 + 1
///      8  u32 compatible features                     4  u16 mode
///     12  u8  log2 of the block size                  6  u16 links
///     14  u16 number of the root inode                8  u32 size
///     16  u64 inodes                                 16  u32 first data block, or device number
///     24  u64 build time, seconds                    20  u32 inode number for stat(2)
///     32  u32 build time, nanoseconds                24  u16 owner     26  u16 group
///     36  u32 blocks                                extended inode, 64 bytes
///     40  u32 first block of the inodes               8  u64 size
///     44  u32 first block of shared xattrs           16  u32 first data block, or device number
///     48  u8[16] UUID                                20  u32 inode number for stat(2)
///     64  u8[16] volume name                         24  u32 owner     28  u32 group
///     80  u32 incompatible features                  32  u64 modified, seconds   40  u32 nanoseconds
///                                                    44  u32 links
///
/// An inode is followed by its extended attributes and, in the inline layout, by the last part of its data, which must end
/// in the block where it begins. FileInode N stands at byte `32 * N` of the metadata area.
enum OnDisk {
    static let blockSize = 4096
    static let superblockOffset = 1024
    static let superblockSize = 128
    static let magic: UInt32 = 0xE0F5_E1E2
    static let compatibleChecksum: UInt32 = 0x1
    static let compatibleModificationTimes: UInt32 = 0x2
    static let slotSize = 32
    static let compactInodeSize = 32
    static let extendedInodeSize = 64
    static let layoutPlain: UInt16 = 0
    static let layoutInline: UInt16 = 2
    static let direntSize = 12
    static let noBlock: UInt32 = 0xFFFF_FFFF
}

/// Little-endian fields at fixed places in a buffer.
extension [UInt8] {
    mutating func put(_ value: some FixedWidthInteger, at offset: Int) {
        var rest = value.littleEndian
        Swift.withUnsafeBytes(of: &rest) { bytes in
            for (index, byte) in bytes.enumerated() { self[offset + index] = byte }
        }
    }

    mutating func put(_ bytes: some Sequence<UInt8>, at offset: Int) {
        for (index, byte) in bytes.enumerated() { self[offset + index] = byte }
    }
}

/// CRC-32C (Castagnoli) as the kernel's crc32c(~0, …): reflected, without the final inversion.
enum CRC32C {
    private static let table: [UInt32] = (0..<256).map { index in
        (0..<8).reduce(UInt32(index)) { crc, _ in crc & 1 == 1 ? crc >> 1 ^ 0x82F6_3B78 : crc >> 1 }
    }

    static func checksum(_ bytes: some Sequence<UInt8>) -> UInt32 {
        bytes.reduce(UInt32.max) { crc, byte in table[Int(UInt8(truncatingIfNeeded: crc) ^ byte)] ^ crc >> 8 }
    }
}
