import Fault
import FileIO
package import SystemPackage

/// What a raw disk image says of itself in the header of its GPT (UEFI specification 2.10, section 5.3.2).
package struct DiskGeometry: Sendable, Hashable {
    /// Bytes a logical sector.
    package let sectorSize: Int
    /// The bytes that the table says the disk has.
    package let tableSize: Int64
    /// The bytes that the file has.
    package let fileSize: Int64
    /// Whether there is a partition for /var, which the first boot makes: then the disk has been given its size.
    package let hasVariableData: Bool

    private static let signature = Array("EFI PART".utf8)
    /// Of the header: the signature, at byte 32 the sector of the backup header, the disk's last one, at 72 the first sector of
    /// the entries, at 80 their number, at 84 the size of one.
    private static let headerSize = 88
    /// The type of a partition for /var (the UAPI group's Discoverable Partitions Specification), as it is on the disk.
    private static let variableData: [UInt8] = [
        0x16, 0xB0, 0x21, 0x4D, 0x34, 0xB5, 0xC2, 0x45, 0xA9, 0xFB, 0x5C, 0x16, 0xE0, 0x91, 0xFD, 0x2D,
    ]

    /// Reads it from `disk`.
    ///
    /// - Throws: `noImage` where `disk` has no such table, or ends before the table says.
    package init(of disk: FilePath) throws(VirtualMachineFault) {
        do {
            let file = try OpenFile(reading: disk)
            // A block device has no size of its own; what it has room for is the kernel's matter.
            let status = try file.status()
            for sectorSize in [512, 4096] where status.kind != .regular || status.size > 2 * sectorSize {
                let header = try file.bytes(at: Int64(sectorSize), count: Self.headerSize)
                guard header.starts(with: Self.signature) else { continue }
                func number(_ range: Range<Int>) -> UInt64 {
                    header[range].reversed().reduce(0) { $0 << 8 | UInt64($1) }
                }
                let last = number(32..<40)
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
                let (first, count, size) = (number(72..<80), Int(number(80..<84)), Int(number(84..<88)))
                guard first < last, count <= 1024, (128...4096).contains(size) else { break }
                let entries = try file.bytes(at: Int64(first) * Int64(sectorSize), count: count * size)
                hasVariableData = (0..<count).contains { entries.dropFirst($0 * size).starts(with: Self.variableData) }
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

    /// The bytes that the disk of a machine has where nobody says.
    package var machineSize: Int64 {
        // A disk that was booted keeps the size that it got then.
        hasVariableData ? fileSize : max(8 << 30, tableSize + 4 << 30, fileSize)
    }
}
