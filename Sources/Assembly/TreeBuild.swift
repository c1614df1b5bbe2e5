import DebianArchive
import Fault
import FileIO
import FileTree
import Glibc
import Manifest
package import SystemPackage

/// The first part of a build: packages and manifest in, the tree of an image out. It has two stages: what dpkg makes of the
/// packages, and what the manifest makes of that.
package struct TreeBuild {
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
    package struct Result: Sendable {
        let root: FilePath
        let tree: FileTree
        /// The lock's accounts, and those that the image has beyond.
        let accounts: LockedAccounts
        let kernelRelease: String
        let kernel: [UInt8]
    }

    /// The first stage's end: a directory with the packages, configured, and with their modules decompressed.
    package struct Installed: Sendable {
        /// The root directory.
        package var root: FilePath
        /// A directory on the same file system, for what is on its way.
        package var work: FilePath
        /// When the installation began, in seconds since 1970.
        let start: Int64
        let clock = ContinuousClock.now
        /// What the scripts have said, and will say.
        let log: InstallationLog
    }

    /// Builds the tree in `directory`.
    ///
    /// - Parameter logs: a directory for the logs.
    func run(in directory: FilePath, logs: FilePath, _ clock: inout StageClock) async throws -> Result {
        try await finish(try await install(in: directory, logs: logs, &clock), &clock)
    }

    /// Has the packages installed in `directory`.
    ///
    /// - Parameter logs: a directory for the logs.
    package func install(
        in directory: FilePath, logs: FilePath, _ clock: inout StageClock
    ) async throws -> Installed {
        let installed = Installed(
            root: directory.appending("root"), work: directory.appending("sandbox"), start: Int64(time(nil)),
            log: try InstallationLog(in: logs, kept: keptLog))
        for path in [installed.root, installed.work] { try path.makeDirectories() }
        let decompression = ModuleDecompression(root: installed.root, work: installed.work.appending("modules"))
        let decompressed = try await Installation(
            root: installed.root, work: installed.work, packages: packages,
            excludedPaths: PathPatterns(manifest.packages.excludedPaths), debconf: manifest.debconf,
            sandbox: sandbox(of: installed), log: installed.log
        ).run(&clock) { () throws(AssemblyFault) in try decompression.prepare() }
        try decompression.finish(decompressed)
        return installed
    }

    /// Brings what the manifest says beyond packages into the installed root, and reads it as a tree.
    package func finish(_ installed: Installed, _ clock: inout StageClock) async throws -> Result {
        let root = installed.root
        let sandbox = sandbox(of: installed)
        let modules = try KernelModules(root: RootDirectory(root))
        try await Customization(
            manifest: manifest, identity: identity, agent: agent, root: root, sandbox: sandbox, log: installed.log
        ).apply()
        try await removeBuildOnly(sandbox, installed.log)
        try await sandbox.run("index the kernel modules", ["/usr/sbin/depmod", modules.release])
        if try modules.keepOnly(manifest.kernel.modules, place: { manifest.place(of: "kernel.modules", element: $0) }) {
            try await sandbox.run("index the kernel modules", ["/usr/sbin/depmod", modules.release])
        }
        try await sandbox.run("cache the libraries", ["/usr/sbin/ldconfig"])
        try clock.end("customize")

        let kernel = try modules.image()
        var tree = try FinishedTree(
            manifest: manifest, packages: lock.imagePackages, brought: brought, epoch: lock.epoch,
            built: times(of: installed)
        ).make(scanning: root)
        let accounts = try AccountNumbers(lock.accounts, manifest: manifest).apply(to: &tree)
        try NamedTargets(manifest: manifest).check(tree)
        try PrivateKeys(manifest: manifest).check(tree)
        try clock.end("scan")
        return Result(
            root: root, tree: tree, accounts: accounts, kernelRelease: modules.release, kernel: kernel)
    }

    /// The time span of the build, by the machine's clock and by the clock that the sandbox's programs saw. The machine's clock
    /// may have been set in between.
    private func times(of installed: Installed) -> [ClosedRange<Int64>] {
        let now = Int64(time(nil))
        let elapsed = installed.clock.duration(to: .now).components.seconds
        let range = min(installed.start, now - elapsed) - 1...max(installed.start + elapsed, now) + 1
        let offset = Int64(surroundings.clockOffset)
        return [range, range.lowerBound + offset...range.upperBound + offset]
    }

    private func sandbox(of installed: Installed) -> Sandbox {
        var sandbox = Sandbox(root: installed.root, work: installed.work, epoch: lock.epoch)
        sandbox.surroundings = surroundings
        return sandbox
    }

    /// Has dpkg remove what was there for scripts only, with its configuration.
    private func removeBuildOnly(_ sandbox: Sandbox, _ log: InstallationLog) async throws {
        let names = packages.filter { package in
            lock.packages.contains { $0.name == package.name && $0.isBuildOnly }
        }.map(\.databaseName)
        guard !names.isEmpty else { return }
        try await SandboxStubs(root: RootDirectory(sandbox.root), work: sandbox.work).keepServicesDown {
            try await sandbox.run(
                "remove the packages of 'packages.build_only'",
                ["/usr/bin/dpkg", "--status-fd", "3", "--purge", "--force-depends", "--"] + names, log: log,
                remedy: "mend the package, or take it out of 'packages.build_only'")
        }
    }
}
