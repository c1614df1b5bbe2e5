import Fault
import FileIO
import SystemPackage

/// What a raw disk image says of itself in the header of its GPT (UEFI specification 2.10, section 5.3.2).
struct DiskGeometry: Sendable, Hashable {
    /// Bytes a logical sector.
    let sectorSize: Int
    /// The bytes that the table says the disk has.
    let tableSize: Int64
    /// The bytes that the file has.
    let fileSize: Int64

    private static let signature = Array("EFI PART".utf8)
    /// Of the header: the signature, and at byte 32 the sector of the backup header, the disk's last one.
    private static let headerSize = 40

    /// Reads it from `disk`.
    ///
    /// - Throws: `noImage` where `disk` has no such table, or ends before the table says.
    init(of disk: FilePath) throws(VirtualMachineFault) {
        do {
            let file = try OpenFile(reading: disk)
            // A block device has no size of its own; what it has room for is the kernel's matter.
            let status = try file.status()
            for sectorSize in [512, 4096] where status.kind != .regular || status.size > 2 * sectorSize {
                let header = try file.bytes(at: Int64(sectorSize), count: Self.headerSize)
                guard header.starts(with: Self.signature) else { continue }
                let last = header[32..<40].reversed().reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
                guard last < 1 << 50 else { break }
                self.sectorSize = sectorSize
                tableSize = (Int64(last) + 1) * Int64(sectorSize)
                fileSize = status.kind == .regular ? status.size : tableSize
                guard fileSize >= tableSize else {
                    throw VirtualMachineFault(
                        .noImage,
                        "the image is cut off: it has \(fileSize) bytes, and its partition table speaks of "
                            + "\(tableSize)",
                        at: .path(disk.string), remedy: "copy or build it anew")
                }
                return
            }
        } catch let fault as VirtualMachineFault {
            throw fault
        } catch {
            throw VirtualMachineFault(.noImage, "cannot read the image", at: .path(disk.string), cause: error)
        }
        throw VirtualMachineFault(
            .noImage, "is no disk image: it has no GPT", at: .path(disk.string),
            remedy: "name the directory that 'ballast build' wrote, or a raw disk image")
    }
}
