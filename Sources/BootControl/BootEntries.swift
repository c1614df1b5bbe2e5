public import Cryptography
public import Fault

/// An entry of systemd-boot's list that belongs to the product.
public struct BootEntry: Sendable, Hashable {
    /// What its name says.
    public let name: BootEntryName
    /// The file's name as it is, of which `name` may be another spelling.
    public let fileName: String
}

/// The boot entries of one product. Other files on the boot partition are never touched.
public struct BootEntries: Sendable {
    private static let temporaryPrefix = ".ballast-"

    private let files: any BootFiles
    private let product: String

    /// The entries of `product` among `files`.
    public init(_ files: any BootFiles, product: String) {
        self.files = files
        self.product = product
    }

    /// All entries, ordered by their files' names.
    public func list() throws(BootControlFault) -> [BootEntry] {
        try files.names().sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) }.compactMap { fileName in
            guard let name = BootEntryName(fileName: fileName), name.product == product else { return nil }
            return BootEntry(name: name, fileName: fileName)
        }
    }

    /// The entry of `version`, or nil.
    public func entry(of version: String) throws(BootControlFault) -> BootEntry? {
        try list().first { $0.name.version == version }
    }

    /// Removes every entry but those of `versions`, and what an interrupted update left, and flushes.
    public func removeAll(except versions: Set<String>) throws(BootControlFault) {
        for entry in try list() where !versions.contains(entry.name.version) { try files.remove(entry.fileName) }
        for name in try files.names() where name.hasPrefix(Self.temporaryPrefix) { try files.remove(name) }
        try files.flush()
    }

    /// Bytes that there would be for a new entry if all but those of `versions` were removed.
    public func space(keeping versions: Set<String>) throws(BootControlFault) -> Int64 {
        var space = try files.availableSpace()
        for name in try files.names() {
            let entry = BootEntryName(fileName: name)
            let isOld = entry.map { $0.product == product && !versions.contains($0.version) } ?? false
            if isOld || name.hasPrefix(Self.temporaryPrefix) { space += try files.size(of: name) }
        }
        return space
    }

    /// Begins the kernel image of `version` under a name that systemd-boot passes over.
    public func create(version: String) throws(BootControlFault) -> any BootFileWriter {
        try files.create(temporaryName(version))
    }

    private func temporaryName(_ version: String) -> String { "\(Self.temporaryPrefix)\(product)_\(version).part" }

    /// Makes the file that `create` began the entry of `version` and returns when that is on the medium. Before this call the
    /// version does not boot, after it, it does.
    public func activate(version: String, standing: BootEntryName.Standing) throws(BootControlFault) {
        let name = BootEntryName(product: product, version: version, standing: standing).description
        // Two entries for one version would be told apart by nobody.
        for entry in try list() where entry.name.version == version { try files.remove(entry.fileName) }
        try files.rename(temporaryName(version), to: name)
        try files.flush()
    }

    /// Gives the entry of `version` another counter and returns when that is on the medium.
    ///
    /// - Throws: `notFound` where it has no entry.
    public func setStanding(_ standing: BootEntryName.Standing, of version: String) throws(BootControlFault) {
        let name = BootEntryName(product: product, version: version, standing: standing).description
        let entries = try list().filter { $0.name.version == version }
        guard let first = entries.first else {
            throw BootControlFault(.notFound, "\(version) has no boot entry")
        }
        let kept = entries.first { $0.fileName == name } ?? first
        for entry in entries where entry != kept { try files.remove(entry.fileName) }
        if kept.fileName != name { try files.rename(kept.fileName, to: name) }
        try files.flush()
    }

    /// The SHA-256 of the kernel image of `version`, or nil where it has no entry.
    public func digest(of version: String) throws(BootControlFault) -> (digest: SHA256Digest, size: Int64)? {
        guard let entry = try entry(of: version) else { return nil }
        var hasher = SHA256Hasher()
        var size: Int64 = 0
        try files.read(entry.fileName) { bytes in
            hasher.update(bytes)
            size += Int64(bytes.count)
        }
        return (hasher.finish(), size)
    }
}
