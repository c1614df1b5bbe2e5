import Archive
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

    /// Where Debian's suites come from.
    public let mirror: Mirror
    /// Where fetched indices are kept, by their SHA-256.
    public let cache: FilePath
    /// Who signs Debian's suites.
    public let keyring: Keyring
    private let now: @Sendable () -> Int64
    private let transfer: ArchiveTransfer

    /// A client of `mirror`.
    ///
    /// - Parameters:
    ///   - keyring: who may sign Debian's suites.
    ///   - now: the time in seconds since 1970; the machine's clock unless given.
    public init(
        mirror: Mirror, cache: FilePath, keyring: Keyring = .debianArchive,
        now: (@Sendable () -> Int64)? = nil
    ) {
        self.mirror = mirror
        self.cache = cache
        transfer = ArchiveTransfer(mirror.credentials)
        self.keyring = keyring
        self.now = now ?? { Int64(time(nil)) }
    }

    /// `$XDG_CACHE_HOME/ballast`, or `~/.cache/ballast`.
    public static var defaultCache: FilePath {
        func variable(_ name: String) -> String? {
            getenv(name).map { String(cString: $0) }.flatMap { $0.hasPrefix("/") ? $0 : nil }
        }
        if let directory = variable("XDG_CACHE_HOME") { return FilePath(directory).appending("ballast") }
        return FilePath(variable("HOME") ?? "/var/tmp").appending(".cache").appending("ballast")
    }

    /// A suite of the Debian archive.
    public func source(debianSuite suite: String, components: [String] = ["main"]) -> ArchiveSource {
        ArchiveSource(debianSuite: suite, mirror: mirror, components: components, keyring: keyring)
    }

    /// The Release file of `source`, verified: InRelease, or where there is none, Release with Release.gpg.
    public func release(of source: ArchiveSource) async throws(DebianArchiveFault) -> ReleaseFile {
        let address = "\(source.directory)/InRelease"
        if let signed = try clearSigned(address, of: source) {
            let verified = try await source.keyring.verify(signed, signature: nil, source: address)
            return try ReleaseFile(
                verified, of: source, address: address, digest: SHA256Digest(of: signed), now: now())
        }
        let plain = "\(source.directory)/Release"
        let text: [UInt8]
        do throws(TransferFault) { text = try transfer.get(plain, limit: Self.releaseLimit) } catch {
            throw missing(source, error)
        }
        let signature: [UInt8]
        do throws(TransferFault) { signature = try transfer.get(plain + ".gpg", limit: Self.releaseLimit) } catch {
            guard error.code == .notFound else { throw missing(source, error) }
            throw DebianArchiveFault(
                .signature, "\(source.description) is not signed: it has neither InRelease nor Release.gpg",
                at: source.place,
                remedy: "have it signed, or fetch its packages and name them in 'packages.local'")
        }
        let verified = try await source.keyring.verify(text, signature: signature, source: plain)
        return try ReleaseFile(verified, of: source, address: plain, digest: SHA256Digest(of: text), now: now())
    }

    private func clearSigned(
        _ address: String, of source: ArchiveSource
    ) throws(DebianArchiveFault) -> [UInt8]? {
        do throws(TransferFault) { return try transfer.get(address, limit: Self.releaseLimit) } catch {
            // Some object stores answer 403 where there is nothing.
            if error.code == .notFound || error.code == .http { return nil }
            throw missing(source, error)
        }
    }

    private func missing(_ source: ArchiveSource, _ cause: TransferFault) -> DebianArchiveFault {
        DebianArchiveFault(
            .transfer, "\(source.description) cannot be fetched", at: source.place,
            remedy: cause.code == .notFound
                ? source.isDebian ? "check the suite's name and the mirror" : "check its 'uri' and 'suite'" : nil,
            cause: cause)
    }

    /// The packages of one component of the suite, or with nil those of a flat archive.
    public func index(
        of release: ReleaseFile, component: String?, architecture: String
    ) async throws(DebianArchiveFault) -> PackageIndex {
        var text: [UInt8] = []
        var address = ""
        for file in try release.packages(component: component, architecture: architecture) {
            address = "\(release.source.directory)/\(file.path)"
            let part = try fetchIndex(file, of: release, at: address)
            if !text.isEmpty, !text.suffix(2).elementsEqual("\n\n".utf8) { text += "\n\n".utf8 }
            text += part
        }
        return PackageIndex(text: text, of: release, architecture: architecture, source: address)
    }

    private func fetchIndex(
        _ index: ReleaseFile.PackagesFile, of release: ReleaseFile, at address: String
    ) throws(DebianArchiveFault) -> [UInt8] {
        let limit = index.plain?.size ?? Self.indexLimit
        guard limit <= Self.indexLimit, index.file.size <= limit + (1 << 16) else {
            throw DebianArchiveFault(.malformed, "an index of \(limit) bytes is too large", at: .path(address))
        }
        let file = cache.appending("indices").appending("\(index.file.digest)")
        do {
            try file.removingLastComponent().makeDirectories()
            if try !file.exists || SHA256Digest.ofFile(file).digest != index.file.digest {
                try file.removeTree()
                try download(index, to: file, hasByHash: release.hasByHash, from: address)
            }
        } catch let fault as TransferFault where fault.code == .digestMismatch || fault.code == .wrongSize {
            throw DebianArchiveFault(
                .digestMismatch,
                "the index is not the one that the signed Release file names (SHA-256 \(index.file.digest))",
                at: .path(address),
                remedy: release.source.isDebian
                    ? "try again in a few minutes or use another mirror; nothing was written"
                    : "try again in a few minutes, or have its Release file made and signed again; nothing was written",
                cause: fault)
        } catch {
            throw DebianArchiveFault(
                .transfer, "an index of \(release.source.description) cannot be fetched", at: release.source.place,
                cause: error)
        }
        let text: [UInt8]
        do throws(ArchiveFault) {
            // The limit is what the signed file promises, so that a bomb ends there.
            text = try Self.decompress(file, isEmpty: index.file.size == 0, limit: Int(limit))
        } catch {
            throw DebianArchiveFault(
                .malformed, "the index cannot be decompressed", at: .path(file.string), cause: error)
        }
        if let plain = index.plain, Int64(text.count) != plain.size || SHA256Digest(of: text) != plain.digest {
            throw DebianArchiveFault(
                .digestMismatch, "the decompressed index is not the one that the signed Release file names",
                at: .path(file.string))
        }
        return text
    }

    /// From where an archive keeps it under its digest, and else from its usual place.
    private func download(
        _ index: ReleaseFile.PackagesFile, to file: FilePath, hasByHash: Bool, from address: String
    ) throws(TransferFault) {
        let (size, digest) = (index.file.size, index.file.digest)
        if hasByHash {
            let directory = address.prefix { _ in true }.dropLast(address.split(separator: "/").last?.count ?? 0)
            do throws(TransferFault) {
                return try transfer.download(
                    "\(directory)by-hash/SHA256/\(digest)", to: file, size: size, digest: digest)
            } catch {
                guard error.code == .notFound else { throw error }
            }
        }
        try transfer.download(address, to: file, size: size, digest: digest)
    }

    private static func decompress(_ file: FilePath, isEmpty: Bool, limit: Int) throws(ArchiveFault) -> [UInt8] {
        if isEmpty { return [] }
        var reader = try ArchiveReader.open(file, format: .raw)
        return try reader.next() == nil ? [] : try reader.contents(limit: limit)
    }
}

extension ArchiveSource {
    /// As messages call it.
    var description: String { isDebian ? "the suite '\(name)'" : "the archive '\(name)'" }
}
