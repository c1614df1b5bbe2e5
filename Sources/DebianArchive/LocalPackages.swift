import Cryptography
import Fault
import FileIO
import Glibc
import Manifest
import SystemPackage

/// Package files beside the manifest, which are locked by their SHA-256 like an archive's.
struct LocalPackages {
    /// The name of their suite in a lock.
    static let suite = "local"
    /// Of them, the manifest's version comes before any archive's.
    static let priority = 2000

    /// What the files are, as entries of an index.
    let index: PackageIndex
    /// Where each is, by its SHA-256.
    let files: [SHA256Digest: FilePath]

    /// Reads the files that the manifest names.
    init(_ manifest: Manifest) throws(DebianArchiveFault) {
        var text = ""
        var files: [SHA256Digest: FilePath] = [:]
        var seen: [String: FilePath] = [:]
        for (pattern, file) in try Self.files(manifest) {
            let package: DebianPackageFile
            do throws(DebianArchiveFault) { package = try DebianPackageFile(file) } catch {
                throw DebianArchiveFault(
                    error.code, error.message, at: pattern.place ?? error.place,
                    remedy: "build '\(file)' again, or take it out of 'packages.local'", cause: error.cause)
            }
            let architecture = manifest.architecture.rawValue
            guard package.architecture == architecture || package.architecture == "all" else {
                throw DebianArchiveFault(
                    .unsatisfiable,
                    "'\(file)' is a package for \(package.architecture), and the image is for \(architecture)",
                    at: pattern.place,
                    remedy: "build it for \(architecture), or name it by a pattern that leaves it out")
            }
            if let other = seen.updateValue(file, forKey: package.name) {
                throw DebianArchiveFault(
                    .unsatisfiable, "'\(other)' and '\(file)' are both the package '\(package.name)'",
                    at: pattern.place,
                    remedy: "remove one of them")
            }
            let found = try DebianArchiveFault.reading(file) { () throws(FileIOFault) in
                try SHA256Digest.ofFile(file)
            }
            let version = package.version.split(separator: ":").last.map(String.init) ?? package.version
            text += Self.paragraph(
                of: package, path: "\(package.name)_\(version)_\(package.architecture).deb", size: found.size,
                digest: found.digest)
            files[found.digest] = file
        }
        index = PackageIndex(
            text: Array(text.utf8), suite: Self.suite, priority: Self.priority, isDebian: false,
            source: "packages.local")
        if let (name, fault) = index.odd.min(by: { $0.key < $1.key }) {
            throw DebianArchiveFault(
                .malformed, "'\(name)' cannot be used: \(fault.message)", at: seen[name].map { .path($0.string) })
        }
        self.files = files
    }

    /// The file that was locked as `package`.
    func file(of package: LockedPackage) throws(DebianArchiveFault) -> FilePath {
        guard let file = files[package.digest] else {
            throw DebianArchiveFault(
                .lockStale,
                "no file of 'packages.local' is the '\(package.name)' \(package.version) that the lock names (SHA-256 "
                    + "\(package.digest))", remedy: "run 'ballast lock' again")
        }
        return file
    }

    /// Refuses a lock whose `packages` are not those that a new lock would take from these files.
    func requireLocked(in packages: [LockedPackage], by manifest: Manifest) throws(DebianArchiveFault) {
        let requests = manifest.packages.install.map { PackageRequest($0) }
        let choices = Dictionary(requests.map { ($0.name, $0.choice) }) { first, _ in first }
        // A dependency of a NAME/SUITE request may come from that suite although a local package has its name.
        let hasSuites = requests.contains { if case .suite? = $0.choice { true } else { false } }
        for package in packages {
            if package.suite == Self.suite {
                _ = try file(of: package)
                continue
            }
            guard let entry = index.entries.first(where: { $0.name == package.name }) else { continue }
            switch choices[package.name] {
            case .version(let version)?? where version != entry.version: continue
            case .suite(let suite)?? where suite != Self.suite: continue
            case nil where hasSuites: continue
            default:
                throw DebianArchiveFault(
                    .lockStale,
                    "'packages.local' has \(entry.name) \(entry.version), and the lock has \(package.version) of "
                        + "'\(package.suite)'", at: files[entry.digest].map { .path($0.string) },
                    remedy: "run 'ballast lock' again")
            }
        }
    }

    /// The files of all patterns, each with the first pattern that names it.
    private static func files(
        _ manifest: Manifest
    ) throws(DebianArchiveFault) -> [(pattern: Manifest.LocalPattern, file: FilePath)] {
        var found: [(Manifest.LocalPattern, FilePath)] = []
        var seen: Set<FilePath> = []
        for pattern in manifest.packages.local {
            let directory = pattern.path.removingLastComponent()
            let name = pattern.path.lastComponent?.string ?? ""
            let entries = (try? directory.directoryEntries()) ?? []
            let matching = entries.filter { fnmatch(name, $0, FNM_PERIOD) == 0 }
            guard !matching.isEmpty else {
                throw DebianArchiveFault(
                    .unknownPackage, "no file matches '\(pattern.name)', expected one like \(pattern.path)",
                    at: pattern.place,
                    remedy: Spelling.nearest(to: name, among: entries).map { "did you mean '\($0)'?" }
                        ?? "build the packages first, or correct 'packages.local'")
            }
            for entry in matching.sorted() where seen.insert(directory.appending(entry)).inserted {
                found.append((pattern, directory.appending(entry)))
            }
        }
        return found
    }

    /// A paragraph of an index: what the package says of itself, and where its file is.
    static func paragraph(of package: DebianPackageFile, path: String, size: Int64, digest: SHA256Digest) -> String {
        var text = package.controlText
        while text.last?.isNewline == true { text.removeLast() }
        return text + "\nFilename: \(path)\nSize: \(size)\nSHA256: \(digest)\n\n"
    }
}

extension Fault where Code == DebianArchiveFaultCode {
    static func reading<Result>(
        _ file: FilePath, _ body: () throws(FileIOFault) -> Result
    ) throws(DebianArchiveFault) -> Result {
        do throws(FileIOFault) { return try body() } catch {
            throw DebianArchiveFault(.system, "cannot be read", at: .path(file.string), cause: error)
        }
    }
}
