import Cryptography
import Dispatch
import Erofs
import Fault
import FileIO
import PartitionTable
import Synchronization
import SystemPackage
import Verity

/// The root file system with its hash tree, in slot A of a disk.
struct RootImage {
    let layout: DiskLayout
    /// The root file system's size in bytes.
    let size: Int64
    let tree: VerityTree

    /// Writes the image that `content` describes into slot A of the disk at `path`, with its hash tree.
    static func write(
        _ content: ErofsLayout, identity: ImageIdentity, to path: FilePath, layout: DiskLayout
    ) throws -> RootImage {
        let name = String(identity.product.prefix(15))
        let writer = try ErofsWriter(content, uuid: DerivedUUID.bytes("\(identity.label) root"), volumeName: name)
        let parameters = try VerityParameters(
            salt: identity.veritySalt, uuid: DerivedUUID.bytes("\(identity.label) verity"))
        let disk = try OpenFile(path, .readWrite)
        let hashing = BackgroundVerity(VerityHasher(parameters, expecting: Int(content.imageSize / 4096)))
        var offset = layout.slotOffsets[0]
        try writer.write { (bytes) throws(ErofsFault) in
            do throws(FileIOFault) { try disk.write(bytes, at: offset) } catch {
                throw ErofsFault(.unwritable, "cannot write the root file system", at: .path(path.string), cause: error)
            }
            hashing.update(bytes)
            offset += Int64(bytes.count)
        }
        let tree = hashing.finish()
        try tree.hashDevice().withUnsafeBytes { try disk.write($0, at: layout.verityOffsets[0]) }
        return RootImage(layout: layout, size: offset - layout.slotOffsets[0], tree: tree)
    }

    /// Copies root file system and hash tree from the disk into files of their own.
    func extract(
        from path: FilePath, root: FilePath, hashes: FilePath
    ) throws -> (root: BuildReport.Output, hashes: BuildReport.Output) {
        let disk = try OpenFile(reading: path)
        return (
            try Self.copy(disk, from: layout.slotOffsets[0], size: size, to: root),
            try Self.copy(disk, from: layout.verityOffsets[0], size: Int64(tree.hashDeviceSize), to: hashes)
        )
    }

    private static func copy(
        _ disk: borrowing OpenFile, from offset: Int64, size: Int64, to path: FilePath
    ) throws -> BuildReport.Output {
        let file = try PendingFile(path)
        var digest = SHA256Hasher()
        let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 20, alignment: 4096)
        defer { buffer.deallocate() }
        var done: Int64 = 0
        while done < size {
            let count = Int(min(Int64(buffer.count), size - done))
            let piece = UnsafeMutableRawBufferPointer(rebasing: buffer[..<count])
            try disk.read(into: piece, at: offset + done)
            try file.file.append(UnsafeRawBufferPointer(piece))
            digest.update(UnsafeRawBufferPointer(piece))
            done += Int64(count)
        }
        try file.commitWithoutFlush()
        return .init(path: path, size: size, digest: digest.finish())
    }
}

/// A hash tree made on another thread than the one that has the data.
private final class BackgroundVerity: Sendable {
    /// How many pieces may wait: what the writer may be ahead.
    private static let depth = 8

    private let hasher: Mutex<VerityHasher?>
    private let queue = DispatchQueue(label: "io.ballast.verity")
    private let room = DispatchSemaphore(value: depth)

    init(_ hasher: consuming sending VerityHasher) { self.hasher = Mutex(consume hasher) }

    /// Takes in a copy of `blocks`.
    func update(_ blocks: UnsafeRawBufferPointer) {
        let copy = Array(blocks)
        room.wait()
        queue.async { [self] in
            hasher.withLock { hasher in copy.withUnsafeBytes { hasher?.update($0) } }
            room.signal()
        }
    }

    /// The tree over all of it. To be called once.
    func finish() -> VerityTree {
        queue.sync {
            hasher.withLock { hasher in
                guard let last = hasher.take() else { preconditionFailure("a tree is finished once") }
                return last.finish()
            }
        }
    }
}
