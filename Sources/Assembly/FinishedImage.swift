import Compression
import Cryptography
import Erofs
import Fault
import FileTree
import Manifest
import UnifiedKernel

/// What an image is before it has a format: its tree, its file system's layout, its initrd and its kernel.
struct FinishedImage {
    let manifest: Manifest
    let identity: ImageIdentity
    let epoch: Int64
    let tree: FileTree
    let layout: ErofsLayout
    /// systemd-boot.
    let loader: [UInt8]
    let kernelRelease: String
    let initrd: [UInt8]
    private let kernel: [UInt8]
    private let stub: [UInt8]
    private let osRelease: String

    /// Level of the initrd's compression: higher ones take seconds more for a few hundred kilobytes.
    private static let initrdLevel = 9
    /// Part of the format, as it were: any number of threads but none gives the same bytes.
    private static let initrdWorkers = 2

    /// FAT has no journal: without it a boot partition stays as a power cut left it.
    private static let checker = "usr/sbin/fsck.vfat"

    init(_ built: TreeBuild.Result, manifest: Manifest, identity: ImageIdentity, epoch: Int64) throws {
        self.manifest = manifest
        self.identity = identity
        self.epoch = epoch
        tree = built.tree
        kernelRelease = built.kernelRelease
        kernel = built.kernel
        layout = try ErofsLayout(tree, buildTime: epoch)
        guard tree[Self.checker] != nil else {
            throw AssemblyFault(
                .missing, "the image has no /\(Self.checker), which checks its boot partition at each boot",
                remedy: "add 'dosfstools' to 'packages.install'")
        }
        let architecture = manifest.architecture
        stub = try tree.contents(of: architecture.stubPath)
        loader = try tree.contents(of: architecture.loaderPath)
        osRelease = String(decoding: try tree.contents(of: "usr/lib/os-release"), as: UTF8.self)
        let initrdTree = try InitrdBuilder(
            manifest: manifest, identity: identity, image: tree, kernelRelease: kernelRelease, epoch: epoch
        ).build()
        let early = manifest.kernel.microcode ? try Self.microcode(tree, epoch: epoch) : []
        let archive = CpioWriter(initrdTree)
        var size = 0
        try archive.write { size += $0.count }
        var compressor = try ZstdCompressor(level: Self.initrdLevel, workers: Self.initrdWorkers)
        initrd = early + (try compressor.compress(count: size) { try archive.write(to: $0) })
    }

    /// An archive that the kernel reads before it does anything (Documentation/arch/x86/microcode.rst): without compression, and
    /// the first.
    private static func microcode(_ tree: FileTree, epoch: Int64) throws -> [UInt8] {
        var archive = FileTree(modified: epoch)
        for (directory, name) in [("intel-ucode", "GenuineIntel"), ("amd-ucode", "AuthenticAMD")] {
            var bytes: [UInt8] = []
            for path in tree.descendants(of: "usr/lib/firmware/\(directory)").sorted() {
                guard case .regular? = tree[path]?.kind, directory == "intel-ucode" || path.hasSuffix(".bin") else {
                    continue
                }
                bytes += try tree.contents(of: path)
            }
            guard !bytes.isEmpty else { continue }
            try archive.insert(
                FileInode(.regular(.bytes(bytes)), permissions: 0o644, modified: epoch),
                at: "kernel/x86/microcode/\(name).bin")
        }
        var bytes: [UInt8] = []
        try CpioWriter(archive).write { bytes += $0 }
        // The next archive begins at a multiple of four bytes.
        return bytes + Array(repeating: 0, count: (4 - bytes.count % 4) % 4)
    }

    /// The kernel with initrd and command line, for a root file system of this hash.
    func unifiedKernel(rootHash: SHA256Digest) throws -> [UInt8] {
        // Where the root is and what it must hash to, then what the manifest adds. With "gpt" the kernel reads the second partition table
        // where a power cut has left the first one half written.
        let arguments = ["root=/dev/mapper/root", "roothash=\(rootHash)", "rootfstype=erofs", "ro", "gpt"]
        return try UnifiedKernel(
            stub: stub, kernel: kernel, initrd: initrd, osRelease: osRelease,
            commandLine: (arguments + manifest.kernel.commandLine).joined(separator: " "), release: kernelRelease
        ).encode()
    }
}
