import CLinux
import Compression
import Cryptography
public import DebianArchive
import Erofs
public import Fault
import FileIO
package import FileTree
import Glibc
import JSON
public import Manifest
import Release
public import SystemPackage
import Terminal
import UnifiedKernel
import Verity

/// Builds an image: manifest, lock and the bytes that the lock names in, a directory of outputs out.
///
/// Nothing here asks the network for anything. Outputs appear by rename, `build.json` last, so that a directory with a
/// `build.json` is whole.
public struct ImageBuild: Sendable {
    /// What the image is to be.
    public let manifest: Manifest
    /// The exact packages.
    public let lock: Lock
    /// The lock's file, for messages and for its digest.
    public let lockPath: FilePath
    /// The version, by the UAPI version format.
    public let version: String
    /// Where the packages are.
    public let cache: PackageCache
    /// The host's executables.
    public let agent: AgentExecutables
    /// Where the outputs go; made where it is missing.
    public let output: FilePath

    /// Whether a lock that would have to be changed, for new accounts, ends the build.
    public var isLocked = false
    /// Where the build works; the file system of `$TMPDIR` or /var/tmp unless set.
    public var scratch: FilePath?
    /// Called with the tree and the file system written from it, while the tree's content is still there: for tests.
    package var inspect: (@Sendable (_ tree: FileTree, _ image: FilePath) async throws -> Void)?

    /// A build of these inputs.
    public init(
        manifest: Manifest, lock: Lock, lockPath: FilePath, version: String, cache: PackageCache,
        agent: AgentExecutables,
        output: FilePath
    ) {
        self.manifest = manifest
        self.lock = lock
        self.lockPath = lockPath
        self.version = version
        self.cache = cache
        self.agent = agent
        self.output = output
    }

    private var identity: ImageIdentity {
        ImageIdentity(product: manifest.product, version: version, architecture: manifest.architecture.rawValue)
    }

    /// Level of the initrd's compression: higher ones take seconds more for a few hundred kilobytes.
    private static let initrdLevel = 9
    /// Part of the format, as it were: any number of threads but none gives the same bytes.
    private static let initrdWorkers = 2

    /// Builds, printing the size budget by `note` before anything is written to `output`.
    public func run(note: @Sendable (String) -> Void) async throws(AssemblyFault) -> BuildReport {
        let hadOutput = output.exists
        do { return try await build(note: note) } catch {
            // Goes only where it is empty.
            if !hadOutput { rmdir(output.string) }
            // What a cancelled program or stage fails with says nothing.
            throw .during("cannot build the image", Task.isCancelled ? CancellationError() : error)
        }
    }

    private func build(note: @Sendable (String) -> Void) async throws -> BuildReport {
        try checkVersion()
        try checkOutput()
        // First of all, so that one that is missing ends the build before it began.
        let inputs = try inputs()
        let brought = try BroughtFiles(manifest)
        try brought.checkPlaces()
        let epoch = lock.epoch
        let identity = identity
        var clock = StageClock()
        try output.makeDirectories()
        for path in TemporaryDirectory.removeAbandoned(prefix: "ballast-build", in: scratch) {
            note("removed \(path), which a build that was killed had left")
        }
        let work = try TemporaryDirectory(prefix: "ballast-build", in: scratch)
        let files = try work.makeRoomyDirectory()
        let root = files.appending("root")
        try root.makeDirectories()

        let packages = try await readPackages()
        try clock.end("verify packages")
        let sandboxed = files.appending("sandbox")
        try sandboxed.makeDirectories()
        let decompression = ModuleDecompression(root: root, work: sandboxed.appending("modules"))
        let decompressed = try await Installation(
            root: root, work: sandboxed, packages: packages,
            excludedPaths: PathPatterns(manifest.packages.excludedPaths), epoch: epoch,
            log: InstallationLog(in: work.path, kept: keptLog)
        ).run(&clock) { () throws(AssemblyFault) in try decompression.prepare() }
        try decompression.finish(decompressed)
        let modules = try KernelModules(root: RootDirectory(root))
        let sandbox = Sandbox(root: root, work: sandboxed, epoch: epoch)
        try await Customization(manifest: manifest, identity: identity, agent: agent, root: root, sandbox: sandbox)
            .apply()
        try await sandbox.run("index the kernel modules", ["/usr/sbin/depmod", modules.release])
        if try modules.keepOnly(manifest.kernel.modules, place: { manifest.place(of: "kernel.modules", element: $0) }) {
            try await sandbox.run("index the kernel modules", ["/usr/sbin/depmod", modules.release])
        }
        try await sandbox.run("cache the libraries", ["/usr/sbin/ldconfig"])
        try clock.end("customize")

        let kernel = try modules.image()
        var tree = try FinishedTree(
            manifest: manifest, packages: lock.packages, brought: brought, epoch: epoch
        ).make(scanning: root)
        let accounts = try AccountNumbers(lock.accounts, manifest: manifest).apply(to: &tree)
        try checkAccounts(accounts)
        try NamedTargets(manifest: manifest).check(tree)
        try PrivateKeys(manifest: manifest).check(tree)
        let initrdTree = try InitrdBuilder(
            manifest: manifest, identity: identity, image: tree, kernelRelease: modules.release, epoch: epoch
        ).build()
        let layout = try ErofsLayout(tree, buildTime: epoch)
        let disk = DiskLayout(manifest.disk)
        try disk.check([.init(name: "root", size: disk.disk.slot, used: layout.imageSize)]) { manifest.place(of: $0) }
        try clock.end("scan")

        let initrd = try Self.compress(initrdTree)
        try clock.end("initrd")
        let stub = try tree.contents(of: "usr/lib/systemd/boot/efi/linuxx64.efi.stub")
        let osRelease = String(decoding: try tree.contents(of: "usr/lib/os-release"), as: UTF8.self)
        func kernelImage(rootHash: SHA256Digest) throws -> [UInt8] {
            try UnifiedKernel(
                stub: stub, kernel: kernel, initrd: initrd, osRelease: osRelease,
                commandLine: commandLine(rootHash: rootHash), release: modules.release
            ).encode()
        }
        let loader = try tree.contents(of: "usr/lib/systemd/boot/efi/systemd-bootx64.efi")
        // Any root hash is as long as the one that is not known yet.
        let kernelSize = try kernelImage(rootHash: SHA256Digest(of: [])).count
        let budget = Self.budget(disk, imageSize: layout.imageSize, kernelSize: kernelSize, loaderSize: loader.count)
        DiskLayout.table(budget).forEach(note)
        try disk.check(budget) { manifest.place(of: $0) }

        let names = OutputNames(directory: work.path, identity: identity)
        let diskImage = DiskImage(
            path: names.disk, layout: disk, identity: identity, epoch: epoch, work: work.path)
        try diskImage.create()
        async let formatted: Void = diskImage.formatSystemPartition([
            .init(path: "EFI/BOOT/BOOTX64.EFI", bytes: loader),
            .init(path: "EFI/systemd/systemd-bootx64.efi", bytes: loader),
            .init(path: "loader/loader.conf", bytes: Array("timeout \(manifest.boot.timeout)\n".utf8)),
        ])
        let image = try RootImage.write(layout, identity: identity, to: names.disk, layout: disk)
        try await formatted
        try clock.end("write root")
        let unified = try kernelImage(rootHash: image.tree.rootHash)
        try await diskImage.add([
            .init(path: "EFI/Linux/\(identity.label)+\(manifest.boot.tries).efi", bytes: unified)
        ])
        try diskImage.writeTable(rootHash: image.tree.rootHash)
        try clock.end("write kernel, table")

        async let digest = Self.digest(of: names.disk)
        let parts = try image.extract(from: names.disk, root: names.root, hashes: names.hashes)
        let kernelFile = try PendingFile(names.kernel)
        try kernelFile.file.append(unified)
        try kernelFile.commitWithoutFlush()
        let packageList = Array(BuildReport.packageList(lock, identity: identity).text(inlineDepth: 2).utf8)
        let packagesFile = try PendingFile(names.packages)
        try packagesFile.file.append(packageList)
        try packagesFile.commitWithoutFlush()
        try await inspect?(tree, names.root)
        try keepAccounts(accounts, note)
        // Twenty thousand files take a while to go, and the digest of the disk takes longer.
        try root.removeTree()
        let raw = try await digest
        try clock.end("extract parts, digest")
        let report = BuildReport(
            identity: identity, epoch: epoch, kernelRelease: modules.release, rootHash: image.tree.rootHash,
            dataBlockCount: image.tree.dataBlockCount, hashDeviceSize: Int64(image.tree.hashDeviceSize),
            initrdSize: Int64(initrd.count),
            outputs: [
                "raw": .init(path: names.disk, size: raw.size, digest: raw.digest), "root.erofs": parts.root,
                "root.verity": parts.hashes,
                "efi": .init(path: names.kernel, size: Int64(unified.count), digest: SHA256Digest(of: unified)),
                "packages": .init(
                    path: names.packages, size: Int64(packageList.count), digest: SHA256Digest(of: packageList)),
            ], repository: manifest.update.url,
            hostFiles: HostFiles(manifest: manifest, packages: lock.packages).makers.flatMap(\.patterns),
            inputs: inputs, tools: try await BuildTools.versions(),
            stages: clock.stages)
        try Self.deliver(report, from: names, to: output)
        return report
    }

    /// The accounts of `found` that the lock does not have, by name.
    private func newAccounts(_ found: LockedAccounts) -> [String] {
        let users = found.users.filter { lock.accounts.users[$0.key] != $0.value }.keys
        let groups = found.groups.filter { lock.accounts.groups[$0.key] != $0.value }.keys
        return Set(users).union(groups).sorted()
    }

    private func checkAccounts(_ found: LockedAccounts) throws(AssemblyFault) {
        let new = newAccounts(found)
        guard isLocked, !new.isEmpty else { return }
        throw AssemblyFault(
            .invalidRequest, "the lock has no numbers for the accounts \(new.joined(separator: ", "))",
            at: .path(lockPath.string), remedy: "build once without --locked, and commit the lock")
    }

    /// Writes the accounts that the lock does not have yet into it, before any host can have files of theirs.
    private func keepAccounts(_ found: LockedAccounts, _ note: (String) -> Void) throws(AssemblyFault) {
        let new = newAccounts(found)
        guard !new.isEmpty else { return }
        var lock = lock
        lock.accounts = found
        do throws(DebianArchiveFault) { try lock.write(to: lockPath) } catch {
            throw AssemblyFault(
                .inputOutput, "the numbers of the accounts \(new.joined(separator: ", ")) cannot be kept",
                at: .path(lockPath.string),
                remedy: "let the lock be written, so that later versions have the same numbers",
                cause: error)
        }
        note("\(lockPath): has the numbers of \(new.count) more accounts now; commit it")
    }

    private static func flush(_ directory: FilePath) throws {
        let file = try OpenFile(reading: directory)
        guard ballast_sync_file_system(file.descriptor.rawValue) == 0 else {
            throw AssemblyFault(
                .inputOutput, "cannot flush the outputs", at: .path(directory.string), cause: Errno(rawValue: errno))
        }
    }

    private func checkVersion() throws(AssemblyFault) {
        do throws(ReleaseFault) { _ = try ImageVersion(version) } catch {
            throw AssemblyFault(.invalidRequest, error.message, at: .named("--version"), remedy: error.remedy)
        }
        // The label of a GPT partition has 36 UTF-16 units.
        guard identity.label.utf16.count <= 36 else {
            throw AssemblyFault(
                .invalidRequest, "'\(version)' cannot be the version of '\(manifest.product)'", at: .named("--version"),
                remedy: "make it shorter, so that '\(manifest.product)_VERSION' has at most 36 characters")
        }
    }

    /// A directory is one build's: of two, only the last would have its `build.json`.
    private func checkOutput() throws(AssemblyFault) {
        let path = output.appending("build.json")
        let own = OutputNames(directory: output, identity: identity).all
        if !path.exists, let entries = try? output.directoryEntries(),
            let other = entries.filter({ !$0.hasPrefix(".") && $0 != "lost+found" && !own.contains($0) }).min()
        {
            throw AssemblyFault(
                .invalidRequest, "holds '\(other)', and no finished build", at: .path(output.string),
                remedy: "name a directory of its own with -o, or remove it")
        }
        guard let bytes = try? path.contents(limit: 16 << 20),
            let report = try? JSONCursor(parsing: bytes, source: path.string),
            let product = try? report.field("product").string(), let version = try? report.field("version").string()
        else { return }
        guard product != identity.product || version != identity.version else { return }
        throw AssemblyFault(
            .invalidRequest, "holds \(product) \(version) already", at: .path(output.string),
            remedy: "name another directory with -o, or remove it")
    }

    /// Where the log of an installation that failed is left.
    private var keptLog: FilePath {
        TemporaryDirectory.parent(scratch).appending("ballast-build-\(identity.fileStem).log")
    }

    /// Checks each package against the lock and reads what it says of itself.
    private func readPackages() async throws -> [DebianPackageFile] {
        let half = lock.packages.count / 2
        var read: [[DebianPackageFile]] = [[], []]
        try await withThrowingTaskGroup(of: (Int, [DebianPackageFile]).self) { group in
            for (index, part) in [lock.packages[..<half], lock.packages[half...]].enumerated() {
                group.addTask {
                    (
                        index,
                        try part.map { package in
                            try Task.checkCancellation()
                            try cache.verify(package)
                            let file = try DebianPackageFile(cache.path(of: package))
                            guard file.name == package.name, file.version == package.version else {
                                throw AssemblyFault(
                                    .badPackage,
                                    "is \(file.name) \(file.version), and the lock says "
                                        + "\(package.name) \(package.version)", at: .path(file.path.string),
                                    remedy: "run 'ballast lock' again")
                            }
                            return file
                        }
                    )
                }
            }
            for try await (index, packages) in group { read[index] = packages }
        }
        return read[0] + read[1]
    }

    /// The kernel's command line: where the root is and what it must hash to, then what the manifest adds.
    private func commandLine(rootHash: SHA256Digest) -> String {
        (["root=/dev/mapper/root", "roothash=\(rootHash)", "rootfstype=erofs", "ro"] + manifest.kernel.commandLine)
            .joined(separator: " ")
    }

    private static func digest(of file: FilePath) async throws -> (digest: SHA256Digest, size: Int64) {
        try SHA256Digest.ofFile(file)
    }

    private static func compress(_ tree: FileTree) throws -> [UInt8] {
        var archive: [UInt8] = []
        try CpioWriter(tree).write { archive += $0 }
        var compressor = try ZstdCompressor(level: initrdLevel, workers: initrdWorkers)
        return try compressor.compress(archive)
    }

    private static func budget(
        _ disk: DiskLayout, imageSize: Int64, kernelSize: Int, loaderSize: Int
    ) -> [DiskLayout.Line] {
        // An update puts its kernel beside the running one, and FAT takes some itself.
        let system = Int64(2 * kernelSize + 2 * loaderSize) + disk.disk.esp / 256
        return [
            .init(name: "ESP", size: disk.disk.esp, used: system),
            .init(name: "root", size: disk.disk.slot, used: imageSize),
            .init(
                name: "verity", size: disk.veritySize,
                used: Int64(
                    VerityParameters.hashDeviceSize(dataBlocks: Int(imageSize / Int64(VerityParameters.blockSize))))),
        ]
    }

    private func inputs() throws(AssemblyFault) -> [String: SHA256Digest] {
        func digest(_ what: String, _ path: FilePath, _ remedy: String) throws(AssemblyFault) -> SHA256Digest {
            do throws(FileIOFault) { return try SHA256Digest.ofFile(path).digest } catch {
                throw AssemblyFault(.missing, "cannot read \(what)", remedy: remedy, cause: error)
            }
        }
        var inputs = [
            "manifest": manifest.digest, "lock": try digest("the lock", lockPath, "run 'ballast lock' first"),
        ]
        for (name, path) in [("ballastd", agent.daemon), ("ballastctl", agent.control)] {
            inputs[name] = try digest(
                "the agent's executable", path, "name the directory that has it with --agent, or build it")
        }
        if let trusted = manifest.update.trustedRoot {
            inputs["trusted_root"] = try digest(
                "the root metadata that the hosts are to trust", trusted,
                "correct 'update.trusted_root' in the manifest, or make the repository with 'ballast repo init'")
        }
        for overlay in manifest.overlays {
            inputs["overlay \(overlay.name)"] = try OverlayCopy.digest(of: overlay.directory)
        }
        return inputs
    }

    private static func deliver(_ report: BuildReport, from names: OutputNames, to directory: FilePath) throws {
        try directory.appending("build.json").removeTree()
        for output in report.outputs.values {
            try Delivery.move(output.path, into: directory)
        }
        // Once 'build.json' is there, a power cut must not take what it names.
        try flush(directory)
        try directory.appending("build.json").replaceContents(with: report.json.text(inlineDepth: 2))
    }
}
