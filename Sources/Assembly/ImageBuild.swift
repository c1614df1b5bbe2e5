import BootLoader
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

    /// Whether the tree is built a second time, at another time and with other randomness, and refused where it differs.
    public var isChecked = false
    /// What is around the programs that the build runs.
    public var surroundings = Surroundings()
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
        var inputs = try inputs()
        var clock = StageClock()
        try output.makeDirectories()
        for path in TemporaryDirectory.removeAbandoned(prefix: "ballast-build", in: scratch) {
            note("removed \(path), which a build that was killed had left")
        }
        let work = try TemporaryDirectory(prefix: "ballast-build", in: scratch)
        var treeBuild = try await treeBuild()
        try clock.end("verify packages")

        let built = try await treeBuild.run(in: try work.makeRoomyDirectory("tree"), logs: work.path, &clock)
        try checkAccounts(built.accounts)
        if isChecked {
            treeBuild.surroundings = .other
            try await check(built, by: treeBuild, in: work, &clock)
        }
        let image = try FinishedImage(built, manifest: manifest, identity: identity, epoch: lock.epoch)
        try clock.end("initrd")
        let (disk, budget) = try budget(of: image)
        DiskLayout.table(budget).forEach(note)
        try disk.check(budget) { manifest.place(of: $0) }

        let names = OutputNames(directory: work.path, identity: identity)
        let outputs = try await write(image, disk, names, removing: built.root, &clock)
        let delivery = try Delivery(of: outputs.files.values.map(\.path), to: output)
        if let digest = try keepAccounts(built.accounts, note) { inputs["lock"] = digest }
        let report = BuildReport(
            identity: identity, epoch: lock.epoch, kernelRelease: image.kernelRelease,
            rootHash: outputs.verity.rootHash, dataBlockCount: outputs.verity.dataBlockCount,
            hashDeviceSize: Int64(outputs.verity.hashDeviceSize), initrdSize: Int64(image.initrd.count),
            outputs: outputs.files, repository: manifest.update.url,
            hostFiles: HostFiles(manifest: manifest, packages: lock.imagePackages).makers.flatMap(\.patterns),
            inputs: inputs, tools: try await BuildTools.versions(),
            stages: clock.stages)
        try delivery.commit(index: report.json.text(inlineDepth: 2), name: BuildReport.fileName)
        return report
    }

    /// The part of the build that makes the tree, once what goes into it has been checked.
    package func treeBuild() async throws -> TreeBuild {
        let brought = try BroughtFiles(manifest)
        try brought.checkPlaces()
        return TreeBuild(
            manifest: manifest, lock: lock, identity: identity, agent: agent, brought: brought,
            packages: try await readPackages(), keptLog: keptLog, surroundings: surroundings)
    }

    /// Builds the tree again, elsewhere and in other surroundings, and refuses what differs.
    private func check(
        _ built: TreeBuild.Result, by other: TreeBuild, in work: borrowing TemporaryDirectory, _ clock: inout StageClock
    ) async throws {
        var unused = StageClock()
        let again = try await other.run(in: try work.makeRoomyDirectory("again"), logs: work.path, &unused)
        try TreeDifferences(between: built.tree, and: again.tree).refuse()
        guard again.kernel == built.kernel, again.kernelRelease == built.kernelRelease else {
            throw AssemblyFault(
                .configuration, "the kernel image differs between two runs",
                at: .path("/boot/vmlinuz-\(built.kernelRelease)"),
                remedy: "look for a script that changes it")
        }
        try again.root.removeTree()
        try clock.end("check")
    }

    /// The disk and how much of its partitions the image takes. What does not fit at all is refused.
    private func budget(of image: FinishedImage) throws -> (DiskLayout, [DiskLayout.Line]) {
        let disk = DiskLayout(manifest.disk)
        try disk.check([.init(name: "root", size: disk.disk.slot, used: image.layout.imageSize)]) {
            manifest.place(of: $0)
        }
        // Any root hash is as long as the one that is not known yet.
        let kernelSize = try image.unifiedKernel(rootHash: SHA256Digest(of: [])).count
        return (
            disk,
            Self.budget(disk, imageSize: image.layout.imageSize, kernelSize: kernelSize, loaderSize: image.loader.count)
        )
    }

    /// Writes all files but the report.
    ///
    /// - Parameter root: the directory that the tree's contents come from, which goes as soon as they are written.
    private func write(
        _ image: FinishedImage, _ disk: DiskLayout, _ names: OutputNames, removing root: FilePath,
        _ clock: inout StageClock
    ) async throws -> (files: [String: BuildReport.Output], verity: VerityTree) {
        let diskImage = DiskImage(
            path: names.disk, layout: disk, identity: identity, epoch: lock.epoch,
            work: names.disk.removingLastComponent())
        try diskImage.create()
        let architecture = manifest.architecture
        async let formatted: Void = diskImage.formatSystemPartition([
            .init(path: "EFI/BOOT/\(architecture.fallbackLoaderName)", bytes: image.loader),
            .init(path: "EFI/systemd/\(architecture.loaderName)", bytes: image.loader),
            .init(path: "loader/loader.conf", bytes: Array("timeout \(manifest.boot.timeout)\n".utf8)),
        ])
        let parts = try RootImage.write(image, root: names.root, hashes: names.hashes)
        let unified = try image.unifiedKernel(rootHash: parts.tree.rootHash)
        try await formatted
        try clock.end("write root")

        let entry = BootEntryName(
            product: identity.product, sequence: 1, version: identity.version,
            standing: .trying(left: manifest.boot.tries, done: 0))
        let kernelName = KernelName(
            product: identity.product, version: identity.version, digest: SHA256Digest(of: unified))
        try await diskImage.add([
            .init(path: "\(kernelName)", bytes: unified),
            .init(
                path: "\(BootEntryName.directory)/\(entry)",
                bytes: Array(BootEntryText.make(entry, kernel: kernelName).utf8)),
        ])
        try diskImage.copy(names.root, to: disk.slotOffsets[0])
        try diskImage.copy(names.hashes, to: disk.verityOffsets[0])
        try diskImage.writeTable(rootHash: parts.tree.rootHash)
        try clock.end("write disk")

        async let digest = Self.digest(of: names.disk)
        let kernel = try Self.write(unified, to: names.kernel)
        let list = try Self.write(
            Array(BuildReport.packageList(lock, identity: identity).text(inlineDepth: 2).utf8), to: names.packages)
        try await inspect?(image.tree, names.root)
        // Twenty thousand files take a while to go, and the digest of the disk takes longer.
        try root.removeTree()
        let raw = try await digest
        try clock.end("digest")
        return (
            [
                "raw": .init(path: names.disk, size: raw.size, digest: raw.digest), "root.erofs": parts.root,
                "root.verity": parts.hashes, "efi": kernel, "packages": list,
            ], parts.tree
        )
    }

    private static func write(_ bytes: [UInt8], to path: FilePath) throws -> BuildReport.Output {
        let file = try PendingFile(path)
        try file.file.append(bytes)
        try file.commitWithoutFlush()
        return .init(path: path, size: Int64(bytes.count), digest: SHA256Digest(of: bytes))
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
        // The nearest directory that is there already.
        var nearest = output.isAbsolute ? output : FilePath(".").pushing(output)
        while !nearest.exists, nearest.removeLastComponent() {}
        guard access(nearest.string, W_OK | X_OK) == 0 else {
            throw AssemblyFault(
                .invalidRequest, "the output cannot be written there", at: .path(nearest.string),
                remedy: "name another directory with -o", cause: Errno(rawValue: errno))
        }
        let path = output.appending(BuildReport.fileName)
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

    private static func digest(of file: FilePath) async throws -> (digest: SHA256Digest, size: Int64) {
        try SHA256Digest.ofFile(file)
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
        for script in manifest.scripts {
            inputs["script \(script.name)"] = try digest("a script", script.file, "correct 'scripts' in the manifest")
        }
        for overlay in manifest.overlays {
            inputs["overlay \(overlay.name)"] = try OverlayCopy.digest(of: overlay.directory)
        }
        return inputs
    }
}
