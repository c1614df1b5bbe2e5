import CLinux
import Fault
import Glibc
import SystemPackage

/// What a change of a GPT would write, so that it can be written in an order and with flushes of its own.
struct TableRehearsal: ~Copyable {
    /// Both tables, and more than they need, are within this many bytes of the disk's ends.
    private static let reach: Int64 = 1 << 20

    private let file: CInt
    private let front: Range<Int64>
    private let back: Range<Int64>
    private let sectorSize: Int
    private let path: FilePath

    /// A sparse file of the disk's size with what is at the disk's ends.
    init(disk: CInt, size: Int64, sectorSize: Int, path: FilePath) throws(PartitionTableFault) {
        self.sectorSize = sectorSize
        self.path = path
        let sectors = size / Int64(sectorSize)
        let half = sectors / 2 * Int64(sectorSize)
        front = 0..<min(Self.reach, half)
        back = max(size - Self.reach, half)..<size
        file = ballast_memory_file("partition-table")
        guard file >= 0, ftruncate(file, off_t(size)) == 0 else { throw Self.failure("cannot be rehearsed", path) }
        for range in [front, back] { try put(read(range, from: disk), at: range.lowerBound, of: file) }
    }

    deinit { if file >= 0 { close(file) } }

    private static func failure(_ what: String, _ path: FilePath) -> PartitionTableFault {
        PartitionTableFault(
            .inputOutput, "the partition table \(what)", at: .path(path.string), cause: Errno(rawValue: errno))
    }

    private borrowing func read(_ range: Range<Int64>, from descriptor: CInt) throws(PartitionTableFault) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: range.count)
        var done = 0
        while done < bytes.count {
            let count = bytes.withUnsafeMutableBytes { buffer in
                pread(
                    descriptor, buffer.baseAddress.map { $0 + done }, buffer.count - done,
                    off_t(range.lowerBound) + off_t(done))
            }
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { throw Self.failure("cannot be read", path) }
            done += count
        }
        return bytes
    }

    private borrowing func put(
        _ bytes: [UInt8], at offset: Int64, of descriptor: CInt
    ) throws(PartitionTableFault) {
        var done = 0
        while done < bytes.count {
            let count = bytes.withUnsafeBytes { buffer in
                pwrite(
                    descriptor, buffer.baseAddress.map { $0 + done }, buffer.count - done, off_t(offset) + off_t(done))
            }
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { throw Self.failure("cannot be written", path) }
            done += count
        }
    }

    /// What `body` writes through the descriptor `disk` goes into the file.
    borrowing func standIn(
        for disk: CInt, _ body: () throws(PartitionTableFault) -> Void
    ) throws(PartitionTableFault) {
        let kept = fcntl(disk, F_DUPFD_CLOEXEC, 0)
        guard kept >= 0 else { throw Self.failure("cannot be rehearsed", path) }
        defer {
            _ = ballast_replace_descriptor(kept, disk)
            close(kept)
        }
        guard ballast_replace_descriptor(file, disk) >= 0 else { throw Self.failure("cannot be rehearsed", path) }
        try body()
    }

    /// Writes to the disk what has changed: the table that is not whole first, for want of one that is worth keeping; else the one at
    /// the end.
    borrowing func carryOut(on disk: CInt) throws(PartitionTableFault) {
        let isFrontWhole = GPTHeader.isWhole(
            at: Int64(sectorSize), sectorSize: sectorSize
        ) { range throws(PartitionTableFault) in try read(range, from: disk) }
        for range in isFrontWhole ? [back, front] : [front, back] { try copy(range, to: disk) }
    }

    private borrowing func copy(_ range: Range<Int64>, to disk: CInt) throws(PartitionTableFault) {
        let new = try read(range, from: file)
        let old = try read(range, from: disk)
        var start = 0
        while start < new.count {
            let end = min(start + sectorSize, new.count)
            if new[start..<end] != old[start..<end] {
                try put(Array(new[start..<end]), at: range.lowerBound + Int64(start), of: disk)
            }
            start = end
        }
        guard fsync(disk) == 0 else { throw Self.failure("cannot be flushed", path) }
    }
}

/// A GPT's header (UEFI 2.10, table 5.5), as far as it says whether the table is whole.
enum GPTHeader {
    private static let signature: [UInt8] = Array("EFI PART".utf8)
    private static let minimum = 92
    private static let entriesLimit = 1 << 20

    /// Whether the header at `offset` and the entries that it names have the checksums that it says.
    static func isWhole(
        at offset: Int64, sectorSize: Int, read: (Range<Int64>) throws(PartitionTableFault) -> [UInt8]
    ) -> Bool {
        guard let header = try? read(offset..<offset + Int64(sectorSize)), header.starts(with: signature) else {
            return false
        }
        func number(_ position: Int, _ count: Int) -> UInt64 {
            header[position..<position + count].reversed().reduce(0) { $0 << 8 | UInt64($1) }
        }
        let size = Int(number(12, 4))
        guard minimum...sectorSize ~= size else { return false }
        var plain = Array(header[..<size])
        plain.replaceSubrange(16..<20, with: [0, 0, 0, 0])
        guard crc32(plain) == UInt32(number(16, 4)), number(24, 8) == UInt64(offset) / UInt64(sectorSize) else {
            return false
        }
        let count = number(80, 4).multipliedReportingOverflow(by: number(84, 4))
        let (first, overflow) = number(72, 8).multipliedReportingOverflow(by: UInt64(sectorSize))
        guard !count.overflow, !overflow, count.partialValue <= entriesLimit, first < 1 << 62,
            let entries = try? read(Int64(first)..<Int64(first) + Int64(count.partialValue))
        else { return false }
        return crc32(entries) == UInt32(number(88, 4))
    }

    /// CRC-32 as of ISO 3309, which UEFI takes from there.
    static func crc32(_ bytes: [UInt8]) -> UInt32 {
        var crc = UInt32.max
        for byte in bytes {
            crc ^= UInt32(byte)
            for _ in 0..<8 { crc = crc & 1 == 1 ? crc >> 1 ^ 0xEDB8_8320 : crc >> 1 }
        }
        return ~crc
    }
}
