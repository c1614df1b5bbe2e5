import Cryptography
import FileIO
import Glibc
import Release
import SystemPackage

/// A blob that is being written: its name, which is its SHA-256, is known only at the end. Whatever ends before that leaves
/// nothing that a server would show.
final class PendingBlob {
    /// Files with this prefix are what a run that was killed has left.
    static let prefix = ".incoming-"

    private let file: OpenFile
    private let temporary: FilePath
    private let directory: FilePath
    private var hasher = SHA256Hasher()
    private var size: Int64 = 0
    private var sealed: Blob?

    init(in directory: FilePath) throws(FileIOFault) {
        self.directory = directory
        temporary = directory.appending("\(Self.prefix)\(getpid())-\(UInt64.random(in: 0...(.max)))")
        file = try OpenFile(
            temporary, .writeOnly, options: [.create, .exclusiveCreate],
            permissions: [.ownerReadWrite, .groupRead, .otherRead])
    }

    deinit { unlink(temporary.string) }

    func append(_ bytes: UnsafeRawBufferPointer) throws(FileIOFault) {
        try file.append(bytes)
        hasher.update(bytes)
        size += Int64(bytes.count)
    }

    func append(_ bytes: [UInt8]) throws(FileIOFault) {
        try file.append(bytes)
        hasher.update(bytes)
        size += Int64(bytes.count)
    }

    /// Says that there is no more to come, and what the blob is then.
    func seal() throws(FileIOFault) -> Blob {
        if let sealed { return sealed }
        try file.flush()
        let blob = Blob(digest: hasher.finish(), size: size)
        sealed = blob
        return blob
    }

    /// Gives the blob its name. One that is there already has the same bytes.
    func commit() throws(FileIOFault) {
        try temporary.rename(to: directory.appending(try seal().digest.description))
    }
}
