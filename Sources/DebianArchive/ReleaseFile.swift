public import Cryptography
import Fault

/// What a suite's Release file promises: its date, and the SHA-256 of every index.
public struct ReleaseFile: Sendable {
    /// An index by its path below the suite's directory.
    public struct Index: Sendable, Hashable {
        /// Its length in bytes.
        public let size: Int64
        /// Its SHA-256.
        public let digest: SHA256Digest
    }

    /// The suite it was fetched for.
    public let suite: String
    /// When the archive wrote it, in seconds since 1970.
    public let date: Int64
    /// Until when it may be believed, in seconds since 1970.
    public let validUntil: Int64?
    /// Whether indices are also found under their digests, where an update of the archive does not replace them.
    public let hasByHash: Bool
    /// How apt ranks what is only in this suite: 500, 100 (`ButAutomaticUpgrades`) or 1 (`NotAutomatic`).
    public let priority: Int
    /// The indices, by path.
    public let indices: [String: Index]
    /// The SHA-256 of the InRelease file itself.
    public let digest: SHA256Digest
    private let components: Set<String>
    private let architectures: Set<String>

    /// Reads the verified text of a Release file.
    ///
    /// - Parameters:
    ///   - suite: the name it was asked for by; a mirror that answers with another suite is refused.
    ///   - digest: the SHA-256 of the signed file.
    ///   - now: seconds since 1970.
    init(
        verified text: [UInt8], suite: String, source: String, digest: SHA256Digest, now: Int64
    ) throws(DebianArchiveFault) {
        var parser = Deb822Parser(text, source: source)
        guard let paragraph = try parser.next() else {
            throw DebianArchiveFault(.malformed, "the Release file is empty", at: .path(source))
        }
        let names = [paragraph["Codename"], paragraph["Suite"]].compactMap { $0 }
        guard names.contains(suite) else {
            throw DebianArchiveFault(
                .wrongSuite, "the Release file is for \(names.joined(separator: " / ")), and '\(suite)' was asked for",
                at: .path(source), remedy: "check the suite's name and the mirror")
        }
        let date = try Self.seconds(paragraph, "Date")
        // An hour, for a clock that is a little slow.
        guard date <= now + 3600 else {
            throw DebianArchiveFault(
                .notYetValid,
                "the Release file is dated \(ArchiveDate.text(date)), and it is \(ArchiveDate.text(now)) now",
                at: .path(source), remedy: "set this machine's clock")
        }
        validUntil = paragraph["Valid-Until"] == nil ? nil : try Self.seconds(paragraph, "Valid-Until")
        if let validUntil, validUntil < now {
            throw DebianArchiveFault(
                .expired,
                "the Release file was valid until \(ArchiveDate.text(validUntil)), and it is \(ArchiveDate.text(now)) now",
                at: .path(source),
                remedy: "use a mirror that is up to date, or set this machine's clock")
        }
        self.suite = suite
        self.date = date
        self.digest = digest
        hasByHash = paragraph["Acquire-By-Hash"] == "yes"
        priority =
            paragraph["NotAutomatic"] != "yes" ? 500 : paragraph["ButAutomaticUpgrades"] == "yes" ? 100 : 1
        // The security archive's components are called `updates/main`, its directories are not.
        components = Set(
            Self.words(paragraph["Components"]).map { word in word.split(separator: "/").last.map(String.init) ?? word }
        )
        architectures = Set(Self.words(paragraph["Architectures"]))
        indices = try Self.indices(paragraph)
    }

    /// The path of the Packages index to fetch, and what it is before and after decompression.
    func packages(
        component: String, architecture: String, source: String
    ) throws(DebianArchiveFault) -> (path: String, compressed: Index, plain: Index) {
        guard components.contains(component) else {
            throw DebianArchiveFault(
                .wrongSuite,
                "the suite has no component '\(component)', only \(components.sorted().joined(separator: ", "))",
                at: .path(source), remedy: "correct distribution.components")
        }
        guard architectures.contains(architecture) else {
            throw DebianArchiveFault(
                .wrongSuite, "the suite has no architecture '\(architecture)'", at: .path(source))
        }
        let plainPath = "\(component)/binary-\(architecture)/Packages"
        guard let plain = indices[plainPath], let compressed = indices[plainPath + ".xz"] else {
            throw DebianArchiveFault(.malformed, "names no SHA-256 of \(plainPath).xz", at: .path(source))
        }
        return (plainPath + ".xz", compressed, plain)
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
            let parts = line.split(separator: " ")
            guard parts.count == 3, let digest = SHA256Digest(hexadecimal: parts[0]), let size = Int64(parts[1]),
                size >= 0
            else { throw paragraph.malformed("'\(line)' is no SHA-256, size and path") }
            indices[String(parts[2])] = Index(size: size, digest: digest)
        }
        return indices
    }
}
