import Cryptography
import Fault
import FileIO
import Glibc
import SystemPackage

/// `NAME.part`: the beginning of a file that is still being fetched, held by one process at a time.
struct PartialFile: ~Copyable {
    let file: OpenFile
    private let path: FilePath
    private let destination: FilePath

    /// Opens or makes the partial file of `destination`, and waits for another process that has it.
    init(for destination: FilePath) throws(FileIOFault) {
        let path = FilePath(destination.string + ".part")
        while true {
            let file = try OpenFile(path, .readWrite, options: [.create], permissions: [.ownerReadWrite, .groupRead])
            while flock(file.descriptor.rawValue, LOCK_EX) != 0 {
                guard errno == EINTR else { throw .last("cannot lock", at: path) }
            }
            // Who held the lock may have renamed or removed the file under us: then this is no longer the one by that name.
            let ours = try file.status()
            if let named = try? FileStatus(of: path), named.inode == ours.inode, named.device == ours.device {
                self.file = file
                self.path = path
                self.destination = destination
                return
            }
        }
    }

    /// Whether the process that we waited for left the finished file; the partial one, just made, is then removed.
    func isFinishedByAnother(size: Int64, digest: SHA256Digest) throws(FileIOFault) -> Bool {
        guard let status = try? FileStatus(of: destination), status.kind == .regular, status.size == size,
            try SHA256Digest.ofFile(destination).digest == digest
        else { return false }
        try discard()
        return true
    }

    /// Takes what is there into `sink`, or nothing where there is more than `limit`.
    func hashPresent(into sink: HashingSink, limit: Int64) throws(FileIOFault) {
        let size = try file.status().size
        guard size <= limit else { return }
        let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 18, alignment: 4096)
        defer { buffer.deallocate() }
        while sink.position < size {
            let count = try file.readPrefix(into: buffer, at: sink.position)
            if count == 0 { return }
            sink.takeIn(UnsafeRawBufferPointer(rebasing: buffer[..<count]))
        }
    }

    func commit() throws(FileIOFault) {
        try file.flush()
        guard fchmod(file.descriptor.rawValue, 0o644) == 0 else { throw .last("cannot set the permissions", at: path) }
        try path.rename(to: destination)
        let directory = destination.removingLastComponent()
        try OpenFile(reading: directory.isEmpty ? "." : directory).flush()
    }

    func discard() throws(FileIOFault) { try path.removeTree() }
}

/// Where a download's bytes go: into the digest and to their place in the file.
final class HashingSink {
    private var hasher = SHA256Hasher()
    private(set) var position: Int64 = 0

    func takeIn(_ bytes: UnsafeRawBufferPointer) {
        hasher.update(bytes)
        position += Int64(bytes.count)
    }

    /// Writes at the current position, without taking over `descriptor`.
    func write(_ bytes: UnsafeRawBufferPointer, to descriptor: FileDescriptor, path: FilePath) throws(FileIOFault) {
        do {
            try descriptor.writeAll(toAbsoluteOffset: position, bytes)
        } catch {
            throw FileIOFault(error as? Errno ?? .ioError, "cannot write at byte \(position)", at: path)
        }
        takeIn(bytes)
    }

    func finish() -> SHA256Digest { hasher.finish() }
}
