import Cryptography
import Erofs
import Fault
import FileIO
import PartitionTable
import SystemPackage
import Verity

/// The root file system with its hash tree, as files.
struct RootImage {
    let rootHash: SHA256Digest
    let dataBlockCount: Int
    let hashDeviceSize: Int64
    let root: BuildReport.Output
    let hashes: BuildReport.Output

    /// Writes the image that `layout` describes, hashing it in passing.
    static func write(
        _ layout: ErofsLayout, identity: ImageIdentity, root: FilePath, hashes: FilePath
    ) throws -> RootImage {
        let name = String(identity.product.prefix(15))
        let writer = try ErofsWriter(layout, uuid: DerivedUUID.bytes("\(identity.label) root"), volumeName: name)
        let parameters = try VerityParameters(
            salt: identity.veritySalt, uuid: DerivedUUID.bytes("\(identity.label) verity"))
        var verity = VerityHasher(parameters)
        var digest = SHA256Hasher()
        let file = try PendingFile(root)
        var size: Int64 = 0
        try writer.write { (bytes) throws(ErofsFault) in
            do throws(FileIOFault) { try file.file.append(bytes) } catch {
                throw ErofsFault(.unwritable, "cannot write the root file system", at: .path(root.string), cause: error)
            }
            verity.update(bytes)
            digest.update(bytes)
            size += Int64(bytes.count)
        }
        try file.commitWithoutFlush()
        let tree = verity.finish()
        let device = tree.hashDevice()
        let hashFile = try PendingFile(hashes)
        try hashFile.file.append(device)
        try hashFile.commitWithoutFlush()
        return RootImage(
            rootHash: tree.rootHash, dataBlockCount: tree.dataBlockCount, hashDeviceSize: Int64(device.count),
            root: .init(path: root, size: size, digest: digest.finish()),
            hashes: .init(path: hashes, size: Int64(device.count), digest: SHA256Digest(of: device)))
    }
}
