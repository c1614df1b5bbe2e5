public import Fault
public import Manifest
import SystemPackage

/// One suite of an archive, or one flat archive: where it is, who signs it, and what may come from it.
public struct ArchiveSource: Sendable, Hashable {
    /// The name by which a lock knows it: a Debian suite's own, or that of the manifest's archive.
    public let name: String
    /// The base address, without a slash at its end. A package's path is relative to it.
    public let base: String
    /// The suite, or a flat archive's directory with a slash at its end.
    public let suite: String
    /// The components; none of a flat archive.
    public let components: [String]
    /// Who signs it.
    public let keyring: Keyring
    /// The only packages it may supply; empty for any.
    public let packages: Set<String>
    /// Its rank, or nil for what its Release file says.
    public let priority: Int?
    /// Where the manifest names it.
    public let place: Place?
    /// Whether it is one of the Debian archive's suites, whose Release file must name it.
    public let isDebian: Bool

    /// A suite of the Debian archive.
    public init(debianSuite suite: String, mirror: Mirror, components: [String], keyring: Keyring) {
        name = suite
        base = mirror.base(ofSuite: suite)
        self.suite = suite
        self.components = components
        self.keyring = keyring
        packages = []
        priority = nil
        place = nil
        isDebian = true
    }

    /// An archive that the manifest names.
    public init(_ archive: Manifest.Archive) {
        var base = archive.uri
        while base.hasSuffix("/") { base.removeLast() }
        name = archive.name
        self.base = base
        suite = archive.suite
        components = archive.suite.hasSuffix("/") ? [] : archive.components
        keyring = Keyring(archive.signedBy)
        packages = Set(archive.packages)
        priority = archive.priority
        place = archive.place
        isDebian = false
    }

    /// Whether it is a directory with an index, without suites and components (sources.list(5)).
    public var isFlat: Bool { suite.hasSuffix("/") }

    /// The address of the directory with the Release file.
    var directory: String {
        guard isFlat else { return "\(base)/dists/\(suite)" }
        var path = suite
        while path.hasPrefix("./") || path.hasPrefix("/") { path = String(path.drop { $0 == "." }.drop { $0 == "/" }) }
        while path.hasSuffix("/") { path.removeLast() }
        return path.isEmpty ? base : "\(base)/\(path)"
    }
}

/// Where the packages of a lock come from.
public struct PackageSources: Sendable {
    private let mirror: Mirror
    private let bases: [String: String]
    let transfer: ArchiveTransfer

    /// Debian's suites from `mirror`, the manifest's archives from their own addresses.
    public init(mirror: Mirror, archives: [Manifest.Archive] = []) {
        self.mirror = mirror
        transfer = ArchiveTransfer(mirror.credentials)
        bases = Dictionary(
            archives.map { ArchiveSource($0) }.map { ($0.name, $0.base) }, uniquingKeysWith: { first, _ in first })
    }

    /// The address of a package.
    func address(of package: LockedPackage) -> String {
        // A path is a file's name, in which `%` stands for itself, as in `tool_2%3a1_amd64.deb`.
        "\(bases[package.suite] ?? mirror.base(ofSuite: package.suite))/\(package.path.replacing("%", with: "%25"))"
    }
}
