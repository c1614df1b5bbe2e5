public import Fault
import Glibc
public import SystemPackage

/// An open file that is closed when it goes out of scope. All transfers are whole: a short read or write is retried or is
/// an error, never passed on.
public struct OpenFile: ~Copyable, Sendable {
    /// The descriptor, for calls that this type does not wrap. Valid as long as this value lives.
    public let descriptor: FileDescriptor
    /// The path it was opened by, for messages.
    public let path: FilePath

    /// Takes over `descriptor`, which must be open.
    public init(owning descriptor: FileDescriptor, path: FilePath) {
        self.descriptor = descriptor
        self.path = path
    }

    /// Opens `path` for reading.
    public init(reading path: FilePath) throws(FileIOFault) {
        try self.init(path, .readOnly)
    }

    /// Opens `path`; a file that is created gets `permissions`.
    public init(
        _ path: FilePath, _ mode: FileDescriptor.AccessMode, options: FileDescriptor.OpenOptions = [],
        permissions: FilePermissions = .ownerReadWrite
    ) throws(FileIOFault) {
        do {
            descriptor = try FileDescriptor.open(
                path, mode, options: options.union(.closeOnExec), permissions: permissions)
        } catch {
            throw FileIOFault(error as? Errno ?? .ioError, "cannot open", at: path)
        }
        self.path = path
    }

    deinit { try? descriptor.close() }

    /// Fills `buffer` from `offset`.
    ///
    /// - Throws: `truncated` when the file ends inside the range.
    public borrowing func read(into buffer: UnsafeMutableRawBufferPointer, at offset: Int64) throws(FileIOFault) {
        guard try readPrefix(into: buffer, at: offset) == buffer.count else {
            throw FileIOFault(
                .truncated, "the file ends before byte \(offset + Int64(buffer.count))", at: .path(path.string))
        }
    }

    /// Reads up to `buffer.count` bytes from `offset`, fewer only at the end of the file.
    ///
    /// - Returns: how many bytes were read.
    public borrowing func readPrefix(
        into buffer: UnsafeMutableRawBufferPointer, at offset: Int64
    ) throws(FileIOFault) -> Int {
        var done = 0
        while done < buffer.count {
            let count = pread(
                descriptor.rawValue, buffer.baseAddress.map { $0 + done }, buffer.count - done,
                off_t(offset) + off_t(done))
            if count < 0 {
                if Glibc.errno == EINTR { continue }
                throw .last("cannot read at byte \(offset + Int64(done))", at: path)
            }
            if count == 0 { break }
            done += count
        }
        return done
    }

    /// The bytes of `range`, counted from the start of the file.
    public borrowing func bytes(at offset: Int64, count: Int) throws(FileIOFault) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: count)
        let done: Int
        do {
            done = try bytes.withUnsafeMutableBytes { try readPrefix(into: $0, at: offset) }
        } catch let fault as FileIOFault {
            throw fault
        } catch {
            throw FileIOFault(.ioError, "cannot read", at: path)
        }
        guard done == count else {
            throw FileIOFault(.truncated, "the file ends before byte \(offset + Int64(count))", at: .path(path.string))
        }
        return bytes
    }

    /// Writes all of `bytes` at `offset`.
    public borrowing func write(_ bytes: UnsafeRawBufferPointer, at offset: Int64) throws(FileIOFault) {
        var done = 0
        while done < bytes.count {
            let count = pwrite(
                descriptor.rawValue, bytes.baseAddress.map { $0 + done }, bytes.count - done,
                off_t(offset) + off_t(done))
            if count < 0 {
                if Glibc.errno == EINTR { continue }
                throw .last("cannot write at byte \(offset + Int64(done))", at: path)
            }
            done += count
        }
    }

    /// Writes all of `bytes` at `offset`.
    public borrowing func write(_ bytes: [UInt8], at offset: Int64) throws(FileIOFault) {
        var failure: FileIOFault?
        bytes.withUnsafeBytes { buffer in
            do throws(FileIOFault) { try write(buffer, at: offset) } catch { failure = error }
        }
        if let failure { throw failure }
    }

    /// Writes all of `bytes` at the file's own position.
    public borrowing func append(_ bytes: UnsafeRawBufferPointer) throws(FileIOFault) {
        var done = 0
        while done < bytes.count {
            let count = Glibc.write(descriptor.rawValue, bytes.baseAddress.map { $0 + done }, bytes.count - done)
            if count < 0 {
                if Glibc.errno == EINTR { continue }
                throw .last("cannot write", at: path)
            }
            done += count
        }
    }

    /// Writes all of `bytes` at the file's own position.
    public borrowing func append(_ bytes: [UInt8]) throws(FileIOFault) {
        var failure: FileIOFault?
        bytes.withUnsafeBytes { buffer in
            do throws(FileIOFault) { try append(buffer) } catch { failure = error }
        }
        if let failure { throw failure }
    }

    /// Makes the file `size` bytes long, as a hole where it grows.
    public borrowing func resize(to size: Int64) throws(FileIOFault) {
        guard ftruncate(descriptor.rawValue, off_t(size)) == 0 else {
            throw .last("cannot resize to \(size) bytes", at: path)
        }
    }

    /// Returns when the file's data and size are on the medium.
    public borrowing func flush() throws(FileIOFault) {
        guard fsync(descriptor.rawValue) == 0 else { throw .last("cannot flush", at: path) }
    }

    /// The next run of the file that has data, at `offset` or after it; an empty one at the end of a file that ends with a hole,
    /// and nil at the end of the file. A file system that knows no holes says that all is data.
    public borrowing func nextData(after offset: Int64) -> Range<Int64>? {
        let raw = descriptor.rawValue
        let end = lseek(raw, 0, SEEK_END)
        guard offset < Int64(end) else { return nil }
        let data = lseek(raw, off_t(offset), Self.seekData)
        guard data >= 0 else { return Glibc.errno == ENXIO ? Int64(end)..<Int64(end) : offset..<Int64(end) }
        let hole = lseek(raw, data, Self.seekHole)
        return Int64(data)..<Int64(hole < 0 ? end : hole)
    }

    // lseek(2); the Glibc module has neither.
    private static let seekData: CInt = 3
    private static let seekHole: CInt = 4

    /// The file's status now.
    public borrowing func status() throws(FileIOFault) -> FileStatus {
        var raw = stat()
        guard fstat(descriptor.rawValue, &raw) == 0 else { throw .last("cannot read the status", at: path) }
        return FileStatus(raw)
    }
}
