import CLinux
public import Fault
import FileIO
import Glibc
public import SystemPackage

/// A block device, or a file that stands for one.
public final class BlockDevice: BlockStorage {
    private let file: OpenFile
    private let isDevice: Bool
    /// The number of bytes.
    public let size: Int64

    /// Opens `path`.
    public init(_ path: FilePath, writable: Bool) throws(BlockDeviceFault) {
        do throws(FileIOFault) {
            file = try OpenFile(path, writable ? .readWrite : .readOnly)
            let status = try file.status()
            isDevice = status.kind == .blockDevice
            if isDevice {
                var bytes: UInt64 = 0
                guard ballast_block_device_size(file.descriptor.rawValue, &bytes) == 0, let size = Int64(exactly: bytes)
                else { throw FileIOFault.last("cannot read the device's size", at: path) }
                self.size = size
            } else {
                size = status.size
            }
        } catch {
            throw BlockDeviceFault(.notOpened, "cannot be used as a disk", at: .path(path.string), cause: error)
        }
    }

    private func attempt<Result>(
        _ what: String, at offset: Int64, _ body: () throws(FileIOFault) -> Result
    ) throws(BlockDeviceFault) -> Result {
        do throws(FileIOFault) { return try body() } catch {
            throw BlockDeviceFault(
                .inputOutput, what, at: .offset(path: file.path.string, UInt64(clamping: offset)),
                remedy: "check the disk and the kernel's messages", cause: error)
        }
    }

    private func check(_ count: Int, at offset: Int64) throws(BlockDeviceFault) {
        guard offset >= 0, offset <= size, Int64(count) <= size - offset else {
            throw BlockDeviceFault(
                .outOfRange, "\(count) bytes at \(offset) of a disk that has \(size)", at: .path(file.path.string))
        }
    }

    /// Fills `buffer` from `offset`.
    public func read(into buffer: UnsafeMutableRawBufferPointer, at offset: Int64) throws(BlockDeviceFault) {
        try check(buffer.count, at: offset)
        try attempt("cannot read", at: offset) { () throws(FileIOFault) in try file.read(into: buffer, at: offset) }
    }

    /// Writes all of `bytes` at `offset`.
    public func write(_ bytes: UnsafeRawBufferPointer, at offset: Int64) throws(BlockDeviceFault) {
        try check(bytes.count, at: offset)
        try attempt("cannot write", at: offset) { () throws(FileIOFault) in try file.write(bytes, at: offset) }
    }

    /// Returns when everything written is on the medium.
    public func flush() throws(BlockDeviceFault) {
        try attempt("cannot flush", at: 0) { () throws(FileIOFault) in try file.flush() }
    }

    /// Flushes, and forgets what memory knows.
    public func dropCache() throws(BlockDeviceFault) {
        try flush()
        // Whoever may write the device may drop its cache; where that fails, the bytes are compared as the kernel has them.
        if isDevice {
            _ = ballast_block_device_drop_cache(file.descriptor.rawValue)
        } else {
            _ = posix_fadvise(file.descriptor.rawValue, 0, 0, POSIX_FADV_DONTNEED)
        }
    }
}
