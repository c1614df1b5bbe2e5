import FileIO
import Manifest
import SystemPackage

/// A directory with manifests in it, removed with the last use of it.
final class ManifestFiles {
    private let directory: TemporaryDirectoryBox
    var path: FilePath { directory.path }

    /// Writes `files`, by name. Names that end in `/` are directories, in `.sh` programs.
    init(_ files: [String: String]) throws {
        directory = try TemporaryDirectoryBox()
        for (name, text) in files {
            let path = directory.path.appending(name)
            if name.hasSuffix("/") {
                try path.makeDirectories()
            } else {
                try path.removingLastComponent().makeDirectories()
                try path.replaceContents(
                    with: text, permissions: FilePermissions(rawValue: name.hasSuffix(".sh") ? 0o755 : 0o644))
            }
        }
    }

    func load(_ name: String) throws -> Manifest { try Manifest.load(path.appending(name)) }

    /// The problems of a manifest, a line each, without the directory.
    func problems(_ name: String = "m.yaml") -> [String] {
        guard case .failure(let found) = MergedManifest.load(path.appending(name)) else { return [] }
        return found.problems.map { "\($0)".replacing("\(path)/", with: "") }
    }
}

final class TemporaryDirectoryBox {
    private let directory: TemporaryDirectory
    var path: FilePath { directory.path }
    init() throws { directory = try TemporaryDirectory(prefix: "ballast-manifest-tests") }
}
