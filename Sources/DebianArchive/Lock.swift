public import Cryptography
public import Fault

/// The exact packages of an image: the only thing a build may read packages by.
public struct Lock: Sendable, Hashable {
    /// The machine the packages are for, by Debian's name.
    public var architecture: String
    /// The suites that were looked at, in the manifest's order.
    public var suites: [LockedSuite]
    /// The packages, sorted by name.
    public var packages: [LockedPackage]
    /// The numbers of users and groups, as the first build that had them gave them.
    public var accounts: LockedAccounts
    /// The digest of what chose the packages: see `Manifest.requestDigest`.
    public var requestDigest: SHA256Digest

    /// A lock of `packages`, in any order.
    public init(
        architecture: String, suites: [LockedSuite], packages: [LockedPackage],
        accounts: LockedAccounts = LockedAccounts(), requestDigest: SHA256Digest
    ) {
        self.architecture = architecture
        self.suites = suites
        self.packages = packages.sorted { $0.name.utf8.lexicographicallyPrecedes($1.name.utf8) }
        self.accounts = accounts
        self.requestDigest = requestDigest
    }

    /// The date of the newest suite in seconds since 1970: SOURCE_DATE_EPOCH of every build from this lock.
    public var epoch: Int64 { suites.map(\.date).max() ?? 0 }

    /// The packages that are in the image.
    public var imagePackages: [LockedPackage] { packages.filter { !$0.isBuildOnly } }

    /// The bytes of all packages together.
    public var downloadSize: Int64 { packages.reduce(0) { $0 + $1.size } }

    /// The names of the Debian suites that were looked at.
    public var debianSuites: [String] { suites.filter { !$0.isArchive }.map(\.name) }

    /// Refuses suites that are older than those of `old`: a mirror that is behind, or one that holds updates back.
    public func requireNotOlder(than old: Lock) throws(DebianArchiveFault) {
        for suite in suites {
            guard let before = old.suites.first(where: { $0.name == suite.name && $0.isArchive == suite.isArchive }),
                suite.date < before.date
            else { continue }
            throw DebianArchiveFault(
                .expired,
                "the Release file of '\(suite.name)' is dated \(ArchiveDate.text(suite.date)), and the lock was made from that of "
                    + ArchiveDate.text(before.date),
                remedy: "use a mirror that is up to date, or give --allow-older")
        }
    }

    /// Refuses a lock whose packages were chosen for something else than the manifest asks for.
    public func requireFresh(
        for digest: SHA256Digest, path: String, of manifest: String = "MANIFEST"
    ) throws(DebianArchiveFault) {
        guard digest == requestDigest else {
            throw DebianArchiveFault(
                .lockStale, "what the manifest says of packages has changed since this lock was made", at: .path(path),
                remedy: "run 'ballast lock \(manifest)' again")
        }
    }
}

/// A suite as it was when the lock was made.
public struct LockedSuite: Sendable, Hashable {
    /// Its name.
    public var name: String
    /// The date of its Release file, in seconds since 1970.
    public var date: Int64
    /// The SHA-256 of its InRelease or Release file.
    public var digest: SHA256Digest
    /// The fingerprints of the primary keys that signed it.
    public var keys: [String]
    /// Whether it is an archive of the manifest's, and not one of Debian's suites.
    public var isArchive: Bool

    /// Whether a suite can have this name.
    public static func isName(_ text: String) -> Bool { LockedPackage.isPlain(text) }

    /// A suite of the name, date and digest, signed by these keys.
    public init(name: String, date: Int64, digest: SHA256Digest, keys: [String], isArchive: Bool = false) {
        self.isArchive = isArchive
        self.name = name
        self.date = date
        self.digest = digest
        self.keys = keys
    }

    init(_ release: ReleaseFile) {
        self.init(
            name: release.suite, date: release.date, digest: release.digest, keys: release.signers,
            isArchive: !release.source.isDebian)
    }
}

/// A package as the lock names it.
public struct LockedPackage: Sendable, Hashable {
    /// Its name.
    public var name: String
    /// Its version.
    public var version: String
    /// Its architecture, or `all`.
    public var architecture: String
    /// Where it is, relative to the archive's base address.
    public var path: String
    /// Its length in bytes.
    public var size: Int64
    /// Its SHA-256.
    public var digest: SHA256Digest
    /// The suite or archive it was found in, which says where it comes from; `local` for a file beside the manifest.
    public var suite: String

    /// Whether it is there while scripts run, and not in the image.
    public var isBuildOnly = false

    /// A package of these properties; `Lock.load` checks them, this does not.
    public init(
        name: String, version: String, architecture: String, path: String, size: Int64, digest: SHA256Digest,
        suite: String
    ) {
        self.name = name
        self.version = version
        self.architecture = architecture
        self.path = path
        self.size = size
        self.digest = digest
        self.suite = suite
    }

    package init(_ entry: PackageIndex.Entry, suite: String) {
        self.init(
            name: entry.name, version: entry.version, architecture: entry.architecture, path: entry.path,
            size: entry.size, digest: entry.digest, suite: suite)
    }

    /// The most bytes a package may have.
    static let sizeLimit: Int64 = 4 << 30

    /// Whether a name can be a part of a path: a letter or digit, then also `+`, `-`, `.`, `_` and `~`.
    static func isPlain(_ name: String) -> Bool {
        func isAlphanumeric(_ byte: UInt8) -> Bool {
            (0x30...0x39).contains(byte) || (0x41...0x5A).contains(byte) || (0x61...0x7A).contains(byte)
        }
        return name.utf8.count <= 128 && name.utf8.first.map(isAlphanumeric) == true
            && name.utf8.allSatisfy { isAlphanumeric($0) || "+-._~".utf8.contains($0) }
    }

    /// Debian policy, sections 5.6.1 and 5.6.12, and a path that stays below where it is looked for.
    static func isValid(name: String, version: String, path: String, size: Int64) -> Bool {
        func isAlphanumeric(_ byte: UInt8) -> Bool {
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"):
                true
            default: false
            }
        }
        func consists(_ text: String, of punctuation: String) -> Bool {
            text.utf8.first.map(isAlphanumeric) == true && text.utf8.count <= 512
                && text.utf8.allSatisfy { isAlphanumeric($0) || punctuation.utf8.contains($0) }
        }
        let components = path.utf8.split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false)
        return consists(name, of: "+-.") && consists(version, of: ".+-:~") && consists(path, of: "/.+-:~_%")
            && path.hasSuffix(".deb")
            && !components.contains { $0.isEmpty || $0.elementsEqual(".".utf8) || $0.elementsEqual("..".utf8) }
            && (1...sizeLimit).contains(size)
    }
}
