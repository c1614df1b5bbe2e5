import Assembly
import DebianArchive
import Fault
import FileIO
import Manifest
import SystemPackage

/// The shipped containerd manifest, locked against the real archive: what the tests of this module build.
enum TestImage {
    static let repository = FilePath(#filePath).removingLastComponent().removingLastComponent().removingLastComponent()
    /// Kept between runs: a package is fetched once.
    static let cache: FilePath = "/var/tmp/ballast-test-archive"

    /// Where the package manager puts executables: beside this one.
    static var executables: FilePath {
        get throws { FilePath(try FilePath("/proc/self/exe").symbolicLinkTarget()).removingLastComponent() }
    }

    static func agent() throws -> AgentExecutables {
        AgentExecutables(daemon: try executable("ballastd"), control: try executable("ballastctl"))
    }

    /// An executable of this package as it was built.
    static func executable(_ name: String) throws -> FilePath {
        // The test runner may be the toolchain's own, so that the build directory is looked for.
        for directory in [try executables, repository.appending(".build/release")]
        where directory.appending(name).exists {
            return directory.appending(name)
        }
        throw FileIOFault(.notFound, "build the executables first: swift build -c release", at: .path(".build/release"))
    }

    /// Writes a manifest that includes the shipped one, locks it, and fetches its packages.
    static func prepare(in directory: FilePath, additions: String = "") async throws -> (Manifest, Lock, FilePath) {
        let path = directory.appending("image.yaml")
        let include = repository.appending("manifests/containerd.yaml")
        try path.replaceContents(with: "include: [\(include)]\n\(additions)")
        let manifest = try Manifest.load(path)
        let mirror = try Mirror.ofMachine()
        let lock = try await Lock.resolve(
            manifest, from: ArchiveClient(mirror: mirror, cache: cache, keyring: .debianArchive))
        let lockPath = directory.appending("image.lock")
        try lock.write(to: lockPath)
        try await PackageCache(cache).fetch(lock, from: mirror)
        return (manifest, lock, lockPath)
    }

    static func build(
        in directory: FilePath, output: FilePath, version: String = "1.0.0", additions: String = "",
        cache: PackageCache = PackageCache(TestImage.cache)
    ) async throws -> ImageBuild {
        let (manifest, lock, lockPath) = try await prepare(in: directory, additions: additions)
        return ImageBuild(
            manifest: manifest, lock: lock, lockPath: lockPath, version: version, cache: cache, agent: try agent(),
            output: output)
    }
}
