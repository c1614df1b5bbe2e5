import ArgumentParser
import DebianArchive
import Fault
import FileIO
import JSON
import Manifest
import SystemPackage
import Terminal

/// `ballast lock`.
struct LockCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "lock",
        abstract: "Choose the exact packages of an image and write them down.",
        discussion: """
            The lock is the only input of a build that names packages. Commit it beside its manifest. If there is a lock already, \
            the packages that came, went and moved are printed, with the changelog entries between the two versions and the CVE \
            numbers in these entries. So is each package that is left out although one of the manifest's own recommends it.

            Example: ballast lock manifests/containerd.yaml
            Example: ballast lock manifests/containerd.yaml --update runc
            Example: ballast lock manifests/containerd.yaml --check
            Example: ballast lock manifests/containerd.yaml --format markdown
            Example: ballast lock manifests/containerd.yaml --export /srv/containerd-packages
            """)

    /// How the changes are printed.
    enum Format: String, ExpressibleByArgument, CaseIterable {
        case text, json, markdown
    }

    @Argument(help: "The manifest.", completion: .file(extensions: ["yaml", "yml"]))
    var manifest: String

    @Option(name: [.short, .long], help: "The lock to write. (default: the manifest's name with the extension 'lock')")
    var output: String?

    @Option(help: "Debian's suites to look at instead of the manifest's, separated by commas.")
    var suites: String?

    @Option(
        name: .customLong("update"),
        help: ArgumentHelp(
            "Move only this package to the archive's version, and keep all others; may be given again.",
            valueName: "package")
    )
    var updates: [String] = []

    @Flag(help: "Accept a suite whose Release file is older than the one that the lock was made from.")
    var allowOlder = false

    @Flag(help: "Only say, by the exit status, whether the lock fits the manifest. Asks no network.")
    var check = false

    @Option(
        help: ArgumentHelp(
            "Write the lock's packages to this directory, for 'ballast build --packages' and for apt. Locks nothing.",
            valueName: "directory"))
    var export: String?

    @OptionGroup var archive: ArchiveOptions

    @Option(help: "How to print the changes: text, json or markdown.")
    var format = Format.text
    @OptionGroup var common: CommonOptions

    func validate() throws {
        let modes = [check, export != nil, suites != nil || !updates.isEmpty].filter { $0 }
        for suite in (suites ?? "").split(separator: ",") where !LockedSuite.isName(String(suite)) {
            throw ValidationError("--suites: '\(suite)' is not the name of a suite, such as trixie-updates")
        }
        guard modes.count <= 1 else {
            throw ValidationError(
                "--check, --export and what chooses packages (--suites, --update) exclude one another")
        }
    }

    func run() async throws {
        let source = FilePath(manifest)
        let manifest = try Manifest.load(source)
        let path = output.map { FilePath($0) } ?? Self.path(forManifest: source)
        let words = source.string + (output.map { " -o \($0)" } ?? "")
        if check { return try checkLock(path, manifest, words) }
        if let export { return try await exportLock(path, manifest, words, to: FilePath(export)) }

        // A damaged lock is not overwritten: it has the numbers of the accounts.
        let old = path.exists ? try Lock.load(path, of: words) : nil
        if old == nil, !updates.isEmpty { _ = try Lock.load(path, of: words) }
        let moving = updates.isEmpty ? nil : updates
        // Suites that were given by --suites stay as long as what the manifest says does.
        let given = old.flatMap {
            moving != nil && $0.requestDigest == manifest.requestDigest ? $0.debianSuites : nil
        }
        var leftOut: [Recommendation] = []
        let lock = try await Lock.resolve(
            manifest, suites: suites?.split(separator: ",").map(String.init) ?? given, from: try archive.client(),
            replacing: old, updating: moving, leftOut: { leftOut = $0 })
        if let old, !allowOlder { try lock.requireNotOlder(than: old) }
        var changes = LockChanges(from: old, to: lock)
        if old != nil { try await readChangelogs(&changes, manifest) }
        try lock.write(to: path)
        // What comes only because something else needs it is the business of who asked for that.
        let names = Set(manifest.packages.install.map { PackageRequest($0).name })
        leftOut.removeAll { names.isDisjoint(with: $0.recommenders) }
        report(lock, changes: changes, leftOut: leftOut, isNew: old == nil, path: path)
    }

    private func checkLock(_ path: FilePath, _ manifest: Manifest, _ words: String) throws {
        let lock = try Lock.load(path, of: words)
        try lock.requireFresh(for: manifest.requestDigest, path: path.string, of: words)
        try PackageCache(archive.cacheDirectory).checkLocal(lock, of: manifest)
        switch format {
        case .json:
            let document: JSONValue = ["fits": true, "lock": .string(path.string)]
            StandardStreams.print(document.compactText)
        case .text, .markdown: StandardStreams.print("\(path): fits \(manifest.source)")
        }
    }

    private func exportLock(_ path: FilePath, _ manifest: Manifest, _ words: String, to directory: FilePath)
        async throws
    {
        let lock = try Lock.load(path, of: words)
        try lock.requireFresh(for: manifest.requestDigest, path: path.string, of: words)
        let cache = try await archive.fetch(lock.packages, of: manifest)
        let progress = Progress("exporting", total: lock.downloadSize, unit: .bytes)
        defer { progress.finish() }
        try LockExport(lock, from: cache).write(to: directory) { progress.advance(by: $0) }
        progress.finish()
        let place = try directory.resolved()
        StandardStreams.print(
            "\(directory): \(lock.packages.count) packages, \(Progress.bytes(lock.downloadSize)); apt takes them by "
                + "'deb [trusted=yes] file:\(place) ./', a build by --packages \(directory)")
    }

    private func readChangelogs(_ changes: inout LockChanges, _ manifest: Manifest) async throws {
        guard changes.changes.contains(where: { $0.old != nil && $0.new != nil }) else { return }
        let cache = try await archive.fetch(changes.arrived, of: manifest)
        try changes.readChangelogs(in: cache)
    }

    /// `containerd.yaml` has `containerd.lock` beside it.
    static func path(forManifest manifest: FilePath) -> FilePath {
        var path = manifest
        path.extension = "lock"
        return path
    }

    private func report(
        _ lock: Lock, changes: LockChanges, leftOut: [Recommendation], isNew: Bool, path: FilePath
    ) {
        switch format {
        case .text:
            // Once is enough, as long as nothing changes.
            for package in leftOut where isNew || !changes.changes.isEmpty {
                StandardStreams.print(
                    "left out: \(package.name), recommended by \(package.recommenders.joined(separator: ", "))")
            }
            if !isNew { changes.lines(size: Progress.bytes).forEach(StandardStreams.print) }
            let suites = lock.suites.map { "\($0.name)" }.joined(separator: ", ")
            StandardStreams.print(
                "\(path): \(lock.packages.count) packages, \(Progress.bytes(lock.downloadSize)), from \(suites)"
                    + (isNew
                        ? "" : changes.changes.isEmpty ? "; nothing changed" : "; \(changes.changes.count) changed"))
        case .markdown:
            (isNew ? ["\(lock.packages.count) packages."] : changes.markdown(size: Progress.bytes))
                .forEach(StandardStreams.print)
        case .json:
            let document: JSONValue = [
                "changes": changes.json, "changelogs": changes.sourcesJSON, "epoch": .integer(lock.epoch),
                "lock": .string(path.string), "packages": .integer(Int64(lock.packages.count)),
                "bytes": .integer(lock.downloadSize),
                "left_out": .array(
                    leftOut.map {
                        ["package": .string($0.name), "recommended_by": .array($0.recommenders.map { .string($0) })]
                    }),
            ]
            StandardStreams.print(String(document.text(inlineDepth: 2).dropLast()))
        }
    }
}

/// Where packages come from and where they are kept.
struct ArchiveOptions: ParsableArguments {
    @Option(help: ArgumentHelp("The Debian mirror. (default: the one of this machine's apt)", valueName: "url"))
    var mirror: String?

    @Option(
        help: ArgumentHelp(
            "The security archive's mirror. (default: apt's, or the mirror's address with '-security')",
            valueName: "url"))
    var securityMirror: String?

    @Option(
        help: ArgumentHelp(
            "Where indices and packages are kept. (default: $XDG_CACHE_HOME/ballast)", valueName: "directory"))
    var cache: String?

    @Option(
        help: ArgumentHelp(
            "The keys that sign the archive. (default: the package debian-archive-keyring's)", valueName: "file"))
    var keyring: String?

    /// The directory for indices and packages.
    var cacheDirectory: FilePath { cache.map { FilePath($0) } ?? ArchiveClient.defaultCache }

    /// The mirror that was given, or this machine's own.
    func chosenMirror() throws(DebianArchiveFault) -> Mirror {
        try Mirror.choose(main: mirror, security: securityMirror)
    }

    /// The cache, with these packages in it: from the manifest's local files and from the archives.
    func fetch(_ packages: [LockedPackage], of manifest: Manifest) async throws -> PackageCache {
        let cache = PackageCache(cacheDirectory)
        try cache.addLocal(packages, of: manifest)
        let missing = cache.missing(of: packages)
        guard !missing.isEmpty else { return cache }
        let progress = Progress("fetching", total: missing.reduce(0) { $0 + $1.size }, unit: .bytes)
        defer { progress.finish() }
        let sources = PackageSources(mirror: try chosenMirror(), archives: manifest.distribution.archives)
        try await cache.fetch(missing, from: sources) { progress.advance(by: $0) }
        return cache
    }

    /// A client of that mirror.
    func client() throws(DebianArchiveFault) -> ArchiveClient {
        ArchiveClient(
            mirror: try chosenMirror(), cache: cacheDirectory,
            keyring: keyring.map { Keyring(FilePath($0)) } ?? .debianArchive)
    }
}
