import BootLoader
import Command
import Cryptography
import Fault
import FileIO
import Manifest
import PartitionTable
import SystemPackage

/// The disk while it is written, out of an image's parts.
struct DiskImage {
    let path: FilePath
    let layout: DiskLayout
    let identity: ImageIdentity
    let epoch: Int64
    let work: FilePath

    /// What goes on the ESP, by path on it.
    struct BootFile {
        let path: String
        let bytes: [UInt8]
    }

    /// Makes the file, all of it a hole.
    func create() throws(AssemblyFault) {
        try attempt("cannot make the disk image", at: .path(path.string)) {
            let file = try OpenFile(
                path, .readWrite, options: [.create, .exclusiveCreate], permissions: FilePermissions(rawValue: 0o644))
            try file.resize(to: layout.diskSize)
        }
    }

    /// Copies the file `part` to `offset`.
    func copy(_ part: FilePath, to offset: Int64) throws(AssemblyFault) {
        try attempt("cannot write the disk image", at: .path(path.string)) {
            let source = try OpenFile(reading: part)
            let disk = try OpenFile(path, .readWrite)
            let size = try source.status().size
            let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 20, alignment: 4096)
            defer { buffer.deallocate() }
            var done: Int64 = 0
            while done < size {
                let piece = UnsafeMutableRawBufferPointer(
                    rebasing: buffer[..<Int(min(Int64(buffer.count), size - done))])
                try source.read(into: piece, at: done)
                try disk.write(UnsafeRawBufferPointer(piece), at: offset + done)
                done += Int64(piece.count)
            }
        }
    }

    /// Writes the table of a disk whose slot A has `rootHash`.
    func writeTable(rootHash: SHA256Digest) throws(AssemblyFault) {
        let partitions = try layout.partitions(identity, rootHash: rootHash)
        try attempt("cannot write the partition table", at: .path(path.string)) {
            try PartitionTable.create(
                on: path, identifier: DerivedUUID.text("\(identity.product) disk"), sectorSize: layout.disk.sectorSize,
                partitions: partitions)
        }
    }

    // The FAT file system's tools write into the image in place. Times, serial number and order are given to them.

    /// Makes the ESP's file system with `files` on it.
    func formatSystemPartition(_ files: [BootFile]) async throws(AssemblyFault) {
        let sector = layout.disk.sectorSize
        let serial = SHA256Digest(of: "\(identity.product) esp".utf8).bytes.prefix(4).hexadecimal
        try await run(
            "mkfs.vfat",
            [
                "-n", "ESP", "-i", serial, "--invariant", "-S", String(sector),
                "--offset=\(layout.espOffset / Int64(sector))",
            ] + fatGeometry + [path.string, String(layout.disk.esp / 1024)])
        try await add(
            files,
            to: [
                "EFI", "EFI/BOOT", "EFI/systemd", "EFI/ballast", KernelName.directory(product: identity.product),
                "loader",
                BootEntryName.directory,
            ])
    }

    /// Width and clusters, which mkfs.vfat would choose by the size of the whole image. Readers tell FAT16 from FAT32 by the
    /// number of clusters: from 65,525 on it is FAT32 (Microsoft's specification of FAT, "FAT type determination").
    private var fatGeometry: [String] {
        let sector = layout.disk.sectorSize
        // Clusters of 4 KiB make FAT32 from 256 MiB on, and a little for the tables.
        if layout.disk.esp >= 260 << 20 { return ["-F", "32", "-s", String(4096 / sector)] }
        return sector == 512 ? ["-F", "32", "-s", "1"] : ["-F", "16", "-s", "2"]
    }

    /// Adds `files` to the ESP, whose new `directories` are made first.
    func add(_ files: [BootFile], to directories: [String] = []) async throws(AssemblyFault) {
        let target = ["-i", "\(path)@@\(layout.espOffset)"]
        if !directories.isEmpty { try await run("mmd", target + directories.map { "::/\($0)" }) }
        for file in files {
            let source = work.appending("boot-file")
            try attempt("cannot write a boot file", at: .path(source.string)) {
                try source.replaceContents(with: file.bytes)
            }
            try await run("mcopy", target + [source.string, "::/\(file.path)"])
        }
    }

    private func run(_ program: String, _ arguments: [String]) async throws(AssemblyFault) {
        let environment = [
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "SOURCE_DATE_EPOCH": String(epoch), "TZ": "UTC",
            "MTOOLS_SKIP_CHECK": "1",
        ]
        do throws(CommandFault) { try await Command(program, arguments, environment: environment).run() } catch {
            throw AssemblyFault(
                .inputOutput, "cannot write the EFI system partition", at: .path(path.string),
                remedy: error.code == .notStarted ? "install the packages 'dosfstools' and 'mtools'" : nil, cause: error
            )
        }
    }
}
