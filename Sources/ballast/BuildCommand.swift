import ArgumentParser
import Assembly
import DebianArchive
import Fault
import FileIO
import Manifest
import Release
import SystemPackage
import Terminal

/// `ballast build`.
struct BuildCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "build",
        abstract: "Build an image from a manifest and its lock.",
        discussion: """
            Only packages that the lock names are used; those that are not in the cache yet are fetched. The same manifest,
            lock and agent give the same bytes with the same build tools (build.json has their versions), whoever builds:
            root, or an ordinary user with a range in /etc/subuid and /etc/subgid.

            It works below $TMPDIR, or /var/tmp, and removes what a build that was killed more than ten minutes ago has left
            there.

            Example: ballast build manifests/containerd.yaml --version 1.0.0 -o out
            Example: ballast build manifests/containerd.yaml --version 1.0.0 -o out --check --locked
            Example: ballast build manifests/containerd.yaml --version 1.0.0 -o out --offline --packages exported
            """.flowing)

    @Argument(help: "The manifest.", completion: .file(extensions: ["yaml", "yml"]))
    var manifest: String

    @Option(name: .customLong("version"), help: "The image's version, such as 1.0.0.")
    var imageVersion: String

    @Option(name: [.short, .long], help: "The directory for the outputs.")
    var output: String

    @Option(help: "The lock. (default: the manifest's name with the extension 'lock')")
    var lock: String?

    @Option(help: "The directory that has ballastd and ballastctl for the image. (default: where ballast itself is)")
    var agent: String?

    @Option(
        help: ArgumentHelp(
            "Take packages from this directory first, as 'ballast lock --export' writes it.", valueName: "directory"))
    var packages: String?

    @Flag(help: "Ask no network: fail where a package is not at hand.")
    var offline = false

    @Flag(
        help: """
            Build the tree twice, the second time with another clock and other randomness, and fail where anything differs. \
            For CI.
            """)
    var check = false

    @Flag(help: "Fail where the lock would have to change, since it has no numbers for new accounts: for CI.")
    var locked = false

    @Option(
        help: ArgumentHelp("By how many seconds the clock of the programs that are run is ahead.", visibility: .hidden))
    var clockOffset = 0

    @OptionGroup var archive: ArchiveOptions
    @OptionGroup var common: CommonOptions

    func validate() throws { _ = try ImageVersion.all([imageVersion], of: "--version") }

    func run() async throws {
        try BuildPrivileges.acquire(
            for: FilePath(try FilePath("/proc/self/exe").symbolicLinkTarget()),
            arguments: Array(CommandLine.arguments.dropFirst()))
        let source = FilePath(manifest)
        let manifest = try Manifest.load(source)
        let lockPath = lock.map { FilePath($0) } ?? LockCommand.path(forManifest: source)
        let words = source.string + (lock.map { " -o \($0)" } ?? "")
        let lock = try Lock.load(lockPath, of: words)
        try lock.requireFresh(for: manifest.requestDigest, path: lockPath.string, of: words)
        let cache = try await packages(of: lock, manifest)
        var build = ImageBuild(
            manifest: manifest, lock: lock, lockPath: lockPath, version: imageVersion, cache: cache,
            agent: try agentExecutables(), output: FilePath(output))
        build.isLocked = locked
        build.isChecked = check
        build.surroundings.clockOffset = clockOffset
        let report = try await EndingSignals.cancelling { [build] in try await build.run { StandardStreams.report($0) }
        }
        let total = report.stages.reduce(0) { $0 + $1.milliseconds }
        for stage in report.stages { StandardStreams.report("  \(stage.name): \(stage.milliseconds) ms") }
        StandardStreams.print(
            "\(report.identity.label): root hash \(report.rootHash), \(total) ms, in \(output)")
    }

    /// The cache with the lock's packages in it.
    private func packages(of lock: Lock, _ manifest: Manifest) async throws -> PackageCache {
        let cache = PackageCache(archive.cacheDirectory)
        if let packages {
            guard FilePath(packages).exists else {
                throw DebianArchiveFault(
                    .system, "there is no directory '\(packages)'", at: .named("--packages"),
                    remedy: "name one that 'ballast lock --export' has written")
            }
            try cache.add(cache.missing(of: lock.packages), fromExport: FilePath(packages))
        }
        guard offline else { return try await archive.fetch(lock.packages, of: manifest) }
        try cache.addLocal(lock.packages, of: manifest)
        let missing = cache.missing(of: lock.packages)
        guard missing.isEmpty else {
            let names = missing.prefix(8).map { "\($0.name) \($0.version)" }.joined(separator: ", ")
            throw DebianArchiveFault(
                .system,
                "\(missing.count) packages are not in the cache: \(names)\(missing.count > 8 ? ", …" : "")",
                at: .named("--offline"), remedy: "build once without it, or name an export of the lock with --packages")
        }
        return cache
    }

    private func agentExecutables() throws -> AgentExecutables {
        let own = try FilePath("/proc/self/exe").symbolicLinkTarget()
        let directory = agent.map { FilePath($0) } ?? FilePath(own).removingLastComponent()
        return AgentExecutables(daemon: directory.appending("ballastd"), control: directory.appending("ballastctl"))
    }
}
