import Assembly
import DebianArchive
import Fault
import FileIO
import Manifest
import SystemPackage
import TestSupport

/// The shipped containerd manifest, locked against the real archive: what the tests of this module build.
enum TestImage {
    static let repository = FilePath(#filePath).removingLastComponent().removingLastComponent().removingLastComponent()
    /// Kept between runs: a package is fetched once.
    static let cache: FilePath = "/var/tmp/ballast-test-archive"

    static func agent() throws -> AgentExecutables {
        AgentExecutables(daemon: try BuiltExecutable.path("ballastd"), control: try BuiltExecutable.path("ballastctl"))
    }

    /// Writes a manifest that includes the shipped one, locks it, and fetches its packages.
    static func prepare(
        in directory: FilePath, manifest: String = "containerd", additions: String = ""
    ) async throws -> (Manifest, Lock, FilePath) {
        let path = directory.appending("image.yaml")
        let include = repository.appending("manifests/\(manifest).yaml")
        try path.replaceContents(with: "include: [\(include)]\n\(additions)")
        let manifest = try Manifest.load(path)
        let mirror = try Mirror.ofMachine()
        let lock = try await Lock.resolve(
            manifest, from: ArchiveClient(mirror: mirror, cache: cache, keyring: .debianArchive))
        let lockPath = directory.appending("image.lock")
        try lock.write(to: lockPath)
        try await PackageCache(cache).fetch(lock.packages, from: PackageSources(mirror: mirror))
        return (manifest, lock, lockPath)
    }

    static func build(
        in directory: FilePath, output: FilePath, version: String = "1.0.0", manifest: String = "containerd",
        additions: String = "",
        cache: PackageCache = PackageCache(TestImage.cache)
    ) async throws -> ImageBuild {
        let (manifest, lock, lockPath) = try await prepare(in: directory, manifest: manifest, additions: additions)
        return ImageBuild(
            manifest: manifest, lock: lock, lockPath: lockPath, version: version, cache: cache, agent: try agent(),
            output: output)
    }
}
