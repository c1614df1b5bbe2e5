public import Cryptography
public import Fault

/// The packages of one suite, for one machine.
public struct PackageIndex: Sendable {
    /// The name by which a lock knows the suite.
    public let suite: String
    /// Other names of the suite.
    let names: Set<String>
    /// How apt ranks the suite: see `ReleaseFile.priority`.
    public let priority: Int
    /// Whether it is one of Debian's own: only these say what every system has.
    let isDebian: Bool
    /// The packages, in the order of the index.
    public let entries: [Entry]
    /// Why entries of the index were left out, by the package's name.
    public let odd: [String: DebianArchiveFault]
    /// Packages that the archive has and the manifest does not let it supply.
    let withheld: Set<String>
    /// The text of the index, as libsolv reads it.
    let text: [UInt8]

    /// One package.
    public struct Entry: Sendable, Hashable {
        /// Its name.
        public let name: String
        /// Its version.
        public let version: String
        /// Its architecture, or `all`.
        public let architecture: String
        /// Where it is, relative to the archive's base address.
        public let path: String
        /// Its length in bytes.
        public let size: Int64
        /// Its SHA-256.
        public let digest: SHA256Digest
        /// The fields Pre-Depends and Depends, joined as one list.
        let dependencies: String
        /// The field Recommends.
        let recommendations: String
        /// Whether every system has it: Essential, or of priority `required`.
        let isBase: Bool
        /// 0 for required to 4 for extra: among providers of a virtual package apt prefers the lower.
        let importance: Int
    }

    /// Reads the text of a Packages index. An entry that cannot be used costs that package and no other.
    ///
    /// - Parameters:
    ///   - allowed: the only names to take; empty for any.
    ///   - architecture: the only architecture to take beside `all`; nil for any. A flat archive has those of all in one index.
    package init(
        text: [UInt8], suite: String, names: Set<String> = [], priority: Int, allowed: Set<String> = [],
        architecture: String? = nil, isDebian: Bool = true, source: String
    ) {
        self.isDebian = isDebian
        self.suite = suite
        self.names = names.union([suite])
        self.priority = priority
        self.text = Deb822Parser.withoutCarriageReturns(text)
        var parser = Deb822Parser(self.text, source: source)
        var entries: [Entry] = []
        var odd: [String: DebianArchiveFault] = [:]
        var withheld: Set<String> = []
        while true {
            do throws(DebianArchiveFault) {
                guard let paragraph = try parser.next() else { break }
                do throws(DebianArchiveFault) {
                    let entry = try Entry(paragraph)
                    guard architecture.map({ $0 == entry.architecture || entry.architecture == "all" }) ?? true else {
                        continue
                    }
                    if allowed.isEmpty || allowed.contains(entry.name) {
                        entries.append(entry)
                    } else {
                        withheld.insert(entry.name)
                    }
                } catch {
                    odd[paragraph["Package"] ?? ""] = error
                }
            } catch {
                odd[parser.skipParagraph()] = error
            }
        }
        self.entries = entries
        self.odd = odd
        self.withheld = withheld
    }

    /// The packages of a suite's index.
    init(text: [UInt8], of release: ReleaseFile, architecture: String, source: String) {
        self.init(
            text: text, suite: release.suite, names: release.names, priority: release.priority,
            allowed: release.source.packages, architecture: architecture, isDebian: release.source.isDebian,
            source: source)
    }
}

extension PackageIndex.Entry {
    private static let priorities = ["required": 0, "important": 1, "standard": 2, "optional": 3, "extra": 4]

    fileprivate init(_ paragraph: Deb822Paragraph) throws(DebianArchiveFault) {
        name = try paragraph.required("Package")
        version = try paragraph.required("Version")
        architecture = try paragraph.required("Architecture")
        var path = try paragraph.required("Filename")
        while path.hasPrefix("./") { path = String(path.dropFirst(2)) }
        self.path = path
        let sizeText = try paragraph.required("Size")
        let digestText = try paragraph.required("SHA256")
        guard let size = Int64(sizeText), let digest = SHA256Digest(hexadecimal: digestText) else {
            throw paragraph.malformed("'\(name)' has a wrong Size or SHA256")
        }
        self.size = size
        self.digest = digest
        dependencies = [paragraph["Pre-Depends"], paragraph["Depends"]].compactMap { $0 }.joined(separator: ", ")
        recommendations = paragraph["Recommends"] ?? ""
        importance = Self.priorities[paragraph["Priority"] ?? "optional"] ?? 3
        isBase = paragraph["Essential"] == "yes" || importance == 0
        guard LockedPackage.isValid(name: name, version: version, path: path, size: size) else {
            throw paragraph.malformed("'\(name)' has a name, version, size or path that no package has")
        }
    }
}
