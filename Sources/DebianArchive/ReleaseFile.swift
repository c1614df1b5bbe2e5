public import Cryptography
import Fault

/// What a suite's Release file promises: its date, and the SHA-256 of every index.
public struct ReleaseFile: Sendable {
    /// A file by its path below the suite's directory.
    public struct Index: Sendable, Hashable {
        /// Its length in bytes.
        public let size: Int64
        /// Its SHA-256.
        public let digest: SHA256Digest
    }

    /// A Packages index as it is fetched.
    struct PackagesFile {
        let path: String
        let file: Index
        /// What it is without its compression, where the Release file says so.
        let plain: Index?
    }

    /// What it was fetched for.
    public let source: ArchiveSource
    /// The name by which a lock knows the suite.
    public var suite: String { source.name }
    /// Other names that the suite has: its code name, and what it is now, such as `stable`.
    public let names: Set<String>
    /// When the archive wrote it, in seconds since 1970.
    public let date: Int64
    /// Until when it may be believed, in seconds since 1970.
    public let validUntil: Int64?
    /// Whether indices are also found under their digests, where an update of the archive does not replace them.
    public let hasByHash: Bool
    /// How apt ranks what is only in this suite: 500, 100 (`ButAutomaticUpgrades`) or 1 (`NotAutomatic`), unless the manifest
    /// says otherwise.
    public let priority: Int
    /// The indices, by path.
    public let indices: [String: Index]
    /// The SHA-256 of the file that was signed.
    public let digest: SHA256Digest
    /// The fingerprints of the primary keys of who signed it, sorted.
    public let signers: [String]
    private let components: Set<String>
    private let architectures: Set<String>
    private let listsAllApart: Bool
    private let address: String

    /// Reads the verified text of a Release file.
    ///
    /// - Parameters:
    ///   - source: what it was asked for by; a mirror that answers with another suite is refused.
    ///   - digest: the SHA-256 of the signed file.
    ///   - now: seconds since 1970.
    init(
        _ verified: Keyring.Verified, of source: ArchiveSource, address: String, digest: SHA256Digest, now: Int64
    ) throws(DebianArchiveFault) {
        var parser = Deb822Parser(Deb822Parser.withoutCarriageReturns(verified.text), source: address)
        guard let paragraph = try parser.next() else {
            throw DebianArchiveFault(.malformed, "the Release file is empty", at: .path(address))
        }
        let names = [paragraph["Codename"], paragraph["Suite"]].compactMap { $0 }
        // A flat archive's directory is no suite, and archives made by hand often do not name theirs.
        let mustName = source.isDebian || (!source.isFlat && !names.isEmpty)
        guard !mustName || Self.namings(of: source).contains(where: names.contains) else {
            throw DebianArchiveFault(
                .wrongSuite,
                "the Release file is for \(names.joined(separator: " / ")), and '\(source.suite)' was asked for",
                at: .path(address), remedy: "check the suite's name and the mirror")
        }
        let date = try Self.seconds(paragraph, "Date")
        // An hour, for a clock that is a little slow.
        guard date <= now + 3600 else {
            throw DebianArchiveFault(
                .notYetValid,
                "the Release file is dated \(ArchiveDate.text(date)), and it is \(ArchiveDate.text(now)) now",
                at: .path(address), remedy: "set this machine's clock")
        }
        validUntil = paragraph["Valid-Until"] == nil ? nil : try Self.seconds(paragraph, "Valid-Until")
        if let validUntil, validUntil < now {
            throw DebianArchiveFault(
                .expired,
                "the Release file was valid until \(ArchiveDate.text(validUntil)), and it is \(ArchiveDate.text(now)) now",
                at: .path(address),
                remedy: "use a mirror that is up to date, or set this machine's clock")
        }
        self.source = source
        self.names = Set(names)
        self.date = date
        self.digest = digest
        self.address = address
        signers = Set(verified.signers).sorted()
        hasByHash = paragraph["Acquire-By-Hash"]?.lowercased() == "yes"
        priority =
            source.priority
            ?? (paragraph["NotAutomatic"]?.lowercased() != "yes"
                ? 500 : paragraph["ButAutomaticUpgrades"]?.lowercased() == "yes" ? 100 : 1)
        // The security archive's components are called `updates/main`, its directories are not.
        components = Set(Self.words(paragraph["Components"]).flatMap { [$0, Self.lastPart(of: $0)] })
        architectures = Set(Self.words(paragraph["Architectures"]))
        listsAllApart =
            architectures.contains("all")
            && !Self.words(paragraph["No-Support-for-Architecture-all"]).contains("Packages")
        indices = try Self.indices(paragraph)
    }

    /// What a Release file may call the suite. Vendors put products below a suite of Debian's name, as in `trixie/product/8.0`,
    /// and name any part of that path from its beginning.
    private static func namings(of source: ArchiveSource) -> [String] {
        guard !source.isDebian else { return [source.suite] }
        let parts = source.suite.split(separator: "/")
        return parts.indices.map { parts[...$0].joined(separator: "/") }
    }

    /// Compressions of indices, the best first.
    private static let compressions = [".xz", ".zst", ".gz", ".bz2", ".lz4", ".lzma", ""]

    /// The Packages indices to fetch for one component, or with nil those of a flat archive.
    func packages(
        component: String?, architecture: String
    ) throws(DebianArchiveFault) -> [PackagesFile] {
        let remedy = source.isDebian ? "correct distribution.components" : "correct its 'components'"
        if let component, !components.isEmpty, !components.contains(component) {
            throw DebianArchiveFault(
                .wrongSuite,
                "\(source.description) has no component '\(component)', only \(components.sorted().joined(separator: ", "))",
                at: .path(address), remedy: remedy)
        }
        guard let component else {
            guard let file = packagesFile("Packages") else { throw missing("Packages") }
            return [file]
        }
        // Debian names what all architectures have among each one's own.
        let hasOwn = architectures.isEmpty || architectures.contains(architecture)
        guard hasOwn || architectures.contains("all") else {
            throw DebianArchiveFault(
                .wrongSuite,
                "\(source.description) has no architecture '\(architecture)', only "
                    + architectures.sorted().joined(separator: ", "), at: .path(address))
        }
        var files: [PackagesFile] = []
        let own = "\(component)/binary-\(architecture)/Packages"
        let all = "\(component)/binary-all/Packages"
        if hasOwn {
            if let file = packagesFile(own) { files.append(file) } else if !listsAllApart { throw missing(own) }
        }
        if listsAllApart || !hasOwn {
            if let file = packagesFile(all) { files.append(file) } else if files.isEmpty { throw missing(all) }
        }
        return files
    }

    private func missing(_ path: String) -> DebianArchiveFault {
        DebianArchiveFault(.malformed, "names no SHA-256 of \(path)", at: .path(address))
    }

    private func packagesFile(_ path: String) -> PackagesFile? {
        for compression in Self.compressions {
            guard let file = indices[path + compression] else { continue }
            return PackagesFile(path: path + compression, file: file, plain: indices[path])
        }
        return nil
    }

    private static func lastPart(of component: String) -> String {
        component.split(separator: "/").last.map(String.init) ?? component
    }

    private static func words(_ text: String?) -> [String] {
        (text ?? "").split { $0 == " " || $0 == "\n" || $0 == "\t" }.map(String.init)
    }

    private static func seconds(_ paragraph: Deb822Paragraph, _ field: StaticString) throws(DebianArchiveFault) -> Int64
    {
        let text = try paragraph.required(field)
        guard let seconds = ArchiveDate.seconds(text) else {
            throw paragraph.malformed("'\(field)' is '\(text)', which is no date")
        }
        return seconds
    }

    /// Lines of `SHA256 SIZE PATH`.
    private static func indices(_ paragraph: Deb822Paragraph) throws(DebianArchiveFault) -> [String: Index] {
        var indices: [String: Index] = [:]
        for line in try paragraph.required("SHA256").split(separator: "\n") {
            let parts = line.split { $0 == " " || $0 == "\t" }
            guard parts.count == 3, let digest = SHA256Digest(hexadecimal: parts[0]), let size = Int64(parts[1]),
                size >= 0
            else { throw paragraph.malformed("'\(line)' is no SHA-256, size and path") }
            let path = parts[2].hasPrefix("./") ? parts[2].dropFirst(2) : parts[2]
            indices[String(path)] = Index(size: size, digest: digest)
        }
        return indices
    }
}
