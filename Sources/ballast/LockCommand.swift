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
            The lock is the only input of a build that names packages. Commit it beside its manifest.

            Example: ballast lock manifests/containerd.yaml
            Example: ballast lock manifests/containerd.yaml --update runc
            """.flowing)

    @Argument(help: "The manifest.", completion: .file(extensions: ["yaml", "yml"]))
    var manifest: String

    @Option(name: [.short, .long], help: "The lock to write. (default: the manifest's name with the extension 'lock')")
    var output: String?

    @Option(help: "Suites to look at instead of the manifest's, separated by commas.")
    var suites: String?

    @Option(
        name: .customLong("update"),
        help: ArgumentHelp("Move only this package to the archive's version; may be given again.", valueName: "package")
    )
    var updates: [String] = []

    @OptionGroup var archive: ArchiveOptions

    @Option(help: "How to print the changes.")
    var format = OutputFormat.text
    @OptionGroup var common: CommonOptions

    func run() async throws {
        let source = FilePath(manifest)
        let manifest = try Manifest.load(source)
        let path = output.map { FilePath($0) } ?? Self.path(forManifest: source)
        let old = path.exists ? try? Lock.load(path) : nil
        // Only who keeps versions depends on the old lock being whole.
        let kept = updates.isEmpty ? nil : try Lock.load(path)
        let names = suites?.split(separator: ",").map(String.init) ?? kept?.suites.map(\.name)
        let lock = try await Lock.resolve(
            manifest, suites: names, from: try archive.client(), keeping: kept, updating: updates)
        try lock.write(to: path)
        report(lock, changes: LockChanges(from: old, to: lock), isNew: old == nil, path: path)
    }

    /// `containerd.yaml` has `containerd.lock` beside it.
    static func path(forManifest manifest: FilePath) -> FilePath {
        var path = manifest
        path.extension = "lock"
        return path
    }

    private func report(_ lock: Lock, changes: LockChanges, isNew: Bool, path: FilePath) {
        switch format {
        case .text:
            if !isNew { changes.lines.forEach(StandardStreams.print) }
            let suites = lock.suites.map { "\($0.name)" }.joined(separator: ", ")
            StandardStreams.print(
                "\(path): \(lock.packages.count) packages, \(Progress.bytes(lock.downloadSize)), from \(suites)"
                    + (isNew
                        ? "" : changes.changes.isEmpty ? "; nothing changed" : "; \(changes.changes.count) changed"))
        case .json:
            let document: JSONValue = [
                "changes": changes.json, "epoch": .integer(lock.epoch), "lock": .string(path.string),
                "packages": .integer(Int64(lock.packages.count)), "bytes": .integer(lock.downloadSize),
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

    /// A client of that mirror.
    func client() throws(DebianArchiveFault) -> ArchiveClient {
        ArchiveClient(
            mirror: try chosenMirror(), cache: cacheDirectory,
            keyring: keyring.map { Keyring(FilePath($0)) } ?? .debianArchive)
    }
}
