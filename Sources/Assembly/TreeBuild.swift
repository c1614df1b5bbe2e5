import DebianArchive
import Fault
import FileIO
import FileTree
import Glibc
import Manifest
import SystemPackage

/// The first part of a build: packages and manifest in, the tree of an image out.
struct TreeBuild {
    let manifest: Manifest
    let lock: Lock
    let identity: ImageIdentity
    let agent: AgentExecutables
    let brought: BroughtFiles
    /// The lock's packages, checked.
    let packages: [DebianPackageFile]
    /// Where the log of an installation that failed is left.
    let keptLog: FilePath
    /// What is otherwise than usual around the maintainer scripts, to see what depends on it.
    var surroundings = Surroundings()

    /// What the build came to. The tree's contents are files below `root`.
    struct Result: Sendable {
        let root: FilePath
        let tree: FileTree
        /// The lock's accounts, and those that the image has beyond.
        let accounts: LockedAccounts
        let kernelRelease: String
        let kernel: [UInt8]
    }

    /// Builds the tree in `directory`.
    ///
    /// - Parameter logs: a directory for the logs.
    func run(in directory: FilePath, logs: FilePath, _ clock: inout StageClock) async throws -> Result {
        let start = Int64(time(nil))
        let root = directory.appending("root")
        let work = directory.appending("sandbox")
        for path in [root, work] { try path.makeDirectories() }
        let epoch = lock.epoch
        let decompression = ModuleDecompression(root: root, work: work.appending("modules"))
        var sandbox = Sandbox(root: root, work: work, epoch: epoch)
        sandbox.surroundings = surroundings
        let decompressed = try await Installation(
            root: root, work: work, packages: packages, excludedPaths: PathPatterns(manifest.packages.excludedPaths),
            debconf: manifest.debconf, sandbox: sandbox, log: InstallationLog(in: logs, kept: keptLog)
        ).run(&clock) { () throws(AssemblyFault) in try decompression.prepare() }
        try decompression.finish(decompressed)
        let modules = try KernelModules(root: RootDirectory(root))
        try await Customization(manifest: manifest, identity: identity, agent: agent, root: root, sandbox: sandbox)
            .apply()
        try await removeBuildOnly(sandbox)
        try await sandbox.run("index the kernel modules", ["/usr/sbin/depmod", modules.release])
        if try modules.keepOnly(manifest.kernel.modules, place: { manifest.place(of: "kernel.modules", element: $0) }) {
            try await sandbox.run("index the kernel modules", ["/usr/sbin/depmod", modules.release])
        }
        try await sandbox.run("cache the libraries", ["/usr/sbin/ldconfig"])
        try clock.end("customize")

        let kernel = try modules.image()
        var tree = try FinishedTree(
            manifest: manifest, packages: lock.imagePackages, brought: brought, epoch: epoch,
            built: start - 1...Int64(time(nil)) + 1
        ).make(scanning: root)
        let accounts = try AccountNumbers(lock.accounts, manifest: manifest).apply(to: &tree)
        try NamedTargets(manifest: manifest).check(tree)
        try PrivateKeys(manifest: manifest).check(tree)
        try clock.end("scan")
        return Result(
            root: root, tree: tree, accounts: accounts, kernelRelease: modules.release, kernel: kernel)
    }

    /// Has dpkg remove what was there for scripts only, with its configuration.
    private func removeBuildOnly(_ sandbox: Sandbox) async throws(AssemblyFault) {
        let names = packages.filter { package in
            lock.packages.contains { $0.name == package.name && $0.isBuildOnly }
        }.map(\.databaseName)
        guard !names.isEmpty else { return }
        try await sandbox.run(
            "remove the packages of 'packages.build_only'",
            ["/usr/bin/dpkg", "--purge", "--force-depends", "--"] + names)
    }
}
