public import Fault

/// Bytes with a fixed number of places that stay after a power cut once they are flushed.
public protocol BlockStorage: Sendable {
    /// The number of bytes.
    var size: Int64 { get }

    /// Fills `buffer` from `offset`.
    func read(into buffer: UnsafeMutableRawBufferPointer, at offset: Int64) throws(BlockDeviceFault)

    /// Writes all of `bytes` at `offset`. They may be lost by a power cut before the next flush.
    func write(_ bytes: UnsafeRawBufferPointer, at offset: Int64) throws(BlockDeviceFault)

    /// Returns when everything written is on the medium.
    func flush() throws(BlockDeviceFault)

    /// Flushes, and forgets what memory knows of it, so that what is read next comes from the medium.
    func dropCache() throws(BlockDeviceFault)
}

/// A part of a storage, outside of which nothing can be read or written through it.
public struct BlockSlice: BlockStorage {
    private let base: any BlockStorage
    private let start: Int64
    /// The number of bytes.
    public let size: Int64

    /// The bytes of `base` from `start` on, `size` of them.
    public init(of base: any BlockStorage, start: Int64, size: Int64) throws(BlockDeviceFault) {
        let (end, overflow) = start.addingReportingOverflow(size)
        guard start >= 0, size >= 0, !overflow, end <= base.size else {
            throw BlockDeviceFault(.outOfRange, "bytes \(start) and \(size) more are not all on the device")
        }
        self.base = base
        self.start = start
        self.size = size
    }

    private func place(of count: Int, at offset: Int64) throws(BlockDeviceFault) -> Int64 {
        guard offset >= 0, offset <= size, Int64(count) <= size - offset else {
            throw BlockDeviceFault(.outOfRange, "\(count) bytes at \(offset) of a partition that has \(size)")
        }
        return start + offset
    }

    /// Fills `buffer` from `offset`.
    public func read(into buffer: UnsafeMutableRawBufferPointer, at offset: Int64) throws(BlockDeviceFault) {
        try base.read(into: buffer, at: place(of: buffer.count, at: offset))
    }

    /// Writes all of `bytes` at `offset`.
    public func write(_ bytes: UnsafeRawBufferPointer, at offset: Int64) throws(BlockDeviceFault) {
        try base.write(bytes, at: place(of: bytes.count, at: offset))
    }

    /// Returns when everything written is on the medium.
    public func flush() throws(BlockDeviceFault) { try base.flush() }

    /// Flushes, and forgets what memory knows.
    public func dropCache() throws(BlockDeviceFault) { try base.dropCache() }
}
