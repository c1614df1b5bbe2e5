import Cryptography
import Dispatch
import Erofs
import Fault
import FileIO
import PartitionTable
import Synchronization
import SystemPackage
import Verity

/// The root file system and its hash tree, each in a file of its own.
struct RootImage {
    let root: BuildReport.Output
    let hashes: BuildReport.Output
    let tree: VerityTree

    /// Writes what `image` describes to the files `root` and `hashes`.
    static func write(_ image: FinishedImage, root: FilePath, hashes: FilePath) throws -> RootImage {
        let identity = image.identity
        let name = String(identity.product.prefix(15))
        let writer = try ErofsWriter(image.layout, uuid: DerivedUUID.bytes("\(identity.label) root"), volumeName: name)
        let parameters = try VerityParameters(
            salt: identity.veritySalt, uuid: DerivedUUID.bytes("\(identity.label) verity"))
        let file = try PendingFile(root)
        let hashing = BackgroundVerity(VerityHasher(parameters, expecting: Int(image.layout.imageSize / 4096)))
        var digest = SHA256Hasher()
        var size: Int64 = 0
        try writer.write { (bytes) throws(ErofsFault) in
            do throws(FileIOFault) { try file.file.append(bytes) } catch {
                throw ErofsFault(.unwritable, "cannot write the root file system", at: .path(root.string), cause: error)
            }
            hashing.update(bytes)
            digest.update(bytes)
            size += Int64(bytes.count)
        }
        let tree = hashing.finish()
        try file.commitWithoutFlush()
        let device = tree.hashDevice()
        let hashFile = try PendingFile(hashes)
        try hashFile.file.append(device)
        try hashFile.commitWithoutFlush()
        return RootImage(
            root: .init(path: root, size: size, digest: digest.finish()),
            hashes: .init(path: hashes, size: Int64(device.count), digest: SHA256Digest(of: device)), tree: tree)
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
