import Command
import Cryptography
public import Fault
import FileIO
import Glibc
public import SystemPackage
import Transfer

/// Fetches what a suite consists of, and believes none of it before it is verified: the Release file by its signature, the
/// indices by their SHA-256 in it.
public struct ArchiveClient: Sendable {
    /// Release files have some hundred kilobytes.
    static let releaseLimit = 16 << 20
    /// A decompressed index of all of Debian has some sixty megabytes.
    static let indexLimit: Int64 = 512 << 20

    /// Where from.
    public let mirror: Mirror
    /// Where fetched indices are kept, by their SHA-256.
    public let cache: FilePath
    private let keyring: Keyring
    private let now: @Sendable () -> Int64
    private let client: HTTPClient

    /// A client of `mirror`.
    ///
    /// - Parameters:
    ///   - keyring: who may sign.
    ///   - now: the time in seconds since 1970; the machine's clock unless given.
    public init(
        mirror: Mirror, cache: FilePath, keyring: Keyring = .debianArchive,
        now: (@Sendable () -> Int64)? = nil
    ) {
        self.mirror = mirror
        self.cache = cache
        self.keyring = keyring
        self.now = now ?? { Int64(time(nil)) }
        client = HTTPClient()
    }

    /// `$XDG_CACHE_HOME/ballast`, or `~/.cache/ballast`.
    public static var defaultCache: FilePath {
        func variable(_ name: String) -> String? {
            getenv(name).map { String(cString: $0) }.flatMap { $0.hasPrefix("/") ? $0 : nil }
        }
        if let directory = variable("XDG_CACHE_HOME") { return FilePath(directory).appending("ballast") }
        return FilePath(variable("HOME") ?? "/var/tmp").appending(".cache").appending("ballast")
    }

    /// The suite's Release file, verified.
    public func release(ofSuite suite: String) async throws(DebianArchiveFault) -> ReleaseFile {
        let address = "\(mirror.base(ofSuite: suite))/dists/\(suite)/InRelease"
        let signed: [UInt8]
        do {
            signed = try client.get(address, limit: Self.releaseLimit, revalidate: true)
        } catch {
            throw DebianArchiveFault(
                .transfer, "the suite '\(suite)' cannot be fetched",
                remedy: error.code == .notFound ? "check the suite's name and the mirror" : nil, cause: error)
        }
        let text = try await keyring.verifiedText(of: signed, source: address)
        return try ReleaseFile(
            verified: text, suite: suite, source: address, digest: SHA256Digest(of: signed), now: now())
    }

    /// The packages of one component of the suite.
    public func index(
        of release: ReleaseFile, component: String, architecture: String
    ) async throws(DebianArchiveFault) -> PackageIndex {
        let directory = "\(mirror.base(ofSuite: release.suite))/dists/\(release.suite)"
        let (path, compressed, plain) = try release.packages(
            component: component, architecture: architecture, source: directory + "/InRelease")
        guard plain.size <= Self.indexLimit, compressed.size <= plain.size + (1 << 16) else {
            throw DebianArchiveFault(
                .malformed, "an index of \(plain.size) bytes is too large", at: .path("\(directory)/\(path)"))
        }
        let file = cache.appending("indices").appending("\(compressed.digest).xz")
        let address =
            release.hasByHash
            ? "\(directory)/\(path.dropLast("Packages.xz".count))by-hash/SHA256/\(compressed.digest)"
            : "\(directory)/\(path)"
        do {
            try file.removingLastComponent().makeDirectories()
            if try !file.exists || SHA256Digest.ofFile(file).digest != compressed.digest {
                try file.removeTree()
                try client.download(address, to: file, size: compressed.size, digest: compressed.digest)
            }
        } catch let fault as TransferFault where fault.code == .digestMismatch || fault.code == .wrongSize {
            throw DebianArchiveFault(
                .digestMismatch,
                "the index is not the one that the signed Release file names (SHA-256 \(compressed.digest))",
                at: .path("\(directory)/\(path)"),
                remedy: "try again in a few minutes or use another mirror; nothing was written", cause: fault)
        } catch {
            throw DebianArchiveFault(.transfer, "an index of '\(release.suite)' cannot be fetched", cause: error)
        }
        let text = try await decompress(file, to: plain)
        return try PackageIndex(
            text: text, suite: release.suite, priority: release.priority, source: "\(directory)/\(path)")
    }

    private func decompress(_ file: FilePath, to plain: ReleaseFile.Index) async throws(DebianArchiveFault) -> [UInt8] {
        let text: [UInt8]
        do {
            // The limit is what the signed file promises, so that a bomb ends there.
            text = try await Command("xz", ["--decompress", "--stdout", "--", file.string])
                .run(outputLimit: Int(plain.size) + 1).output
        } catch {
            throw DebianArchiveFault(
                .malformed, "the index cannot be decompressed", at: .path(file.string), cause: error)
        }
        guard Int64(text.count) == plain.size, SHA256Digest(of: text) == plain.digest else {
            throw DebianArchiveFault(
                .digestMismatch, "the decompressed index is not the one that the signed Release file names",
                at: .path(file.string))
        }
        return text
    }
}
