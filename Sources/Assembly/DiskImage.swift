import CLinux
import Command
import Cryptography
import Fault
import FileIO
import Glibc
import Manifest
import PartitionTable
import SystemPackage

/// Writes the disk: the GPT, the ESP with boot loader and kernel, and slot A.
struct DiskImage {
    let layout: DiskLayout
    let identity: ImageIdentity
    let epoch: Int64
    let work: FilePath

    /// What goes on the ESP, by path on it.
    struct BootFile {
        let path: String
        let bytes: [UInt8]
    }

    func write(
        to disk: FilePath, root: FilePath, hashes: FilePath, rootHash: SHA256Digest, bootFiles: [BootFile]
    ) async throws(AssemblyFault) {
        try attempt("cannot make the disk image", at: .path(disk.string)) {
            let file = try OpenFile(
                disk, .readWrite, options: [.create, .exclusiveCreate], permissions: FilePermissions(rawValue: 0o644))
            try file.resize(to: layout.diskSize)
            try Self.copy(root, into: file, at: layout.slotOffsets[0])
            try Self.copy(hashes, into: file, at: layout.verityOffsets[0])
        }
        let partitions = try layout.partitions(identity, rootHash: rootHash)
        try attempt("cannot write the partition table", at: .path(disk.string)) {
            try PartitionTable.create(
                on: disk, identifier: DerivedUUID.text("\(identity.product) disk"), sectorSize: layout.disk.sectorSize,
                partitions: partitions)
        }
        try await writeSystemPartition(on: disk, bootFiles)
    }

    /// The FAT file system's tools write into the image in place. Times, serial number and order are given to them.
    private func writeSystemPartition(on disk: FilePath, _ files: [BootFile]) async throws(AssemblyFault) {
        let sector = layout.disk.sectorSize
        let serial = SHA256Digest(of: "\(identity.product) esp".utf8).bytes.prefix(4).hexadecimal
        let environment = [
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "SOURCE_DATE_EPOCH": String(epoch), "TZ": "UTC",
            "MTOOLS_SKIP_CHECK": "1",
        ]
        let target = "\(disk)@@\(layout.espOffset)"
        do throws(CommandFault) {
            try await Command(
                "mkfs.vfat",
                [
                    "-F", "32", "-n", "ESP", "-i", serial, "--invariant", "-S", String(sector),
                    "--offset=\(layout.espOffset / Int64(sector))", disk.string, String(layout.disk.esp / 1024),
                ], environment: environment
            ).run()
            var directories: [String] = []
            for file in files {
                let parts = file.path.split(separator: "/").dropLast()
                for length in parts.indices {
                    let directory = parts[...length].joined(separator: "/")
                    if !directories.contains(directory) { directories.append(directory) }
                }
            }
            for directory in directories {
                try await Command("mmd", ["-i", target, "::/\(directory)"], environment: environment).run()
            }
            for (index, file) in files.enumerated() {
                let source = work.appending("boot-file-\(index)")
                do throws(FileIOFault) { try source.replaceContents(with: file.bytes) } catch {
                    throw CommandFault(.failed, "cannot write a boot file", cause: error)
                }
                try await Command("mcopy", ["-i", target, source.string, "::/\(file.path)"], environment: environment)
                    .run()
            }
        } catch {
            throw AssemblyFault(
                .inputOutput, "cannot write the EFI system partition", at: .path(disk.string),
                remedy: error.code == .notStarted ? "install the packages 'dosfstools' and 'mtools'" : nil, cause: error
            )
        }
    }

    private static func copy(_ source: FilePath, into disk: borrowing OpenFile, at offset: Int64) throws {
        let file = try OpenFile(reading: source)
        let size = try file.status().size
        var from: Int64 = 0
        var to = offset
        while from < size {
            let count = ballast_copy_range(
                file.descriptor.rawValue, &from, disk.descriptor.rawValue, &to, Int(size - from))
            guard count > 0 else {
                throw FileIOFault(Errno(rawValue: errno), "cannot copy into the disk image", at: source)
            }
        }
    }
}
