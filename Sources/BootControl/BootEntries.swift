public import BootLoader
public import Cryptography
public import Fault

/// An entry of systemd-boot's list that belongs to the product.
public struct BootEntry: Sendable, Hashable {
    /// What its name says.
    public let name: BootEntryName
    /// The file's name as it is, of which `name` may be another spelling.
    public let fileName: String
    /// What it starts.
    public let kernel: KernelName

    /// The entry in the file `fileName`.
    public init(name: BootEntryName, fileName: String, kernel: KernelName) {
        self.name = name
        self.fileName = fileName
        self.kernel = kernel
    }

    /// Whether systemd-boot lists this one before `other` (boot_entry_compare in its source).
    public func comesBefore(_ other: BootEntry) -> Bool {
        if isBad != other.isBad { return other.isBad }
        if name.sequence != other.name.sequence { return name.sequence > other.name.sequence }
        return triesLeft > other.triesLeft
    }

    /// Whether it has no try left.
    public var isBad: Bool { if case .bad = name.standing { true } else { false } }

    private var triesLeft: Int {
        switch name.standing {
        case .good: .max
        case .trying(let left, _): left
        case .bad: 0
        }
    }
}

/// The boot entries of one product and the kernel images that they start. Other files of the partition are never touched.
///
/// An entry is made and removed, and never renamed: a cut leaves the old one, both, or the new one. A kernel image is whole on the medium
/// before an entry names it.
public struct BootEntries: Sendable {
    private let files: any BootFiles
    private let product: String

    /// The entries of `product` among `files`.
    public init(_ files: any BootFiles, product: String) {
        self.files = files
        self.product = product
    }

    private func path(_ fileName: String) -> String { "\(BootEntryName.directory)/\(fileName)" }

    /// What the partition has of the product.
    public struct Survey: Sendable, Hashable {
        /// The entries in the order in which systemd-boot tries them.
        public var entries: [BootEntry]
        /// Files that are called like an entry and are none, as a power cut leaves them.
        public var strays: [String]
        /// The kernel images.
        public var kernels: [KernelName]
    }

    /// Looks at everything.
    public func survey() throws(BootControlFault) -> Survey {
        let kernels = try kernels()
        var entries: [BootEntry] = []
        var strays: [String] = []
        for fileName in try files.names(in: BootEntryName.directory) {
            guard let name = BootEntryName(fileName: fileName), name.product == product else { continue }
            let kernel: KernelName?
            do throws(BootControlFault) { kernel = try self.kernel(fileName, of: name) } catch {
                // One that cannot be read, or that is gone by now, keeps nobody from the others.
                continue
            }
            if let kernel, kernels.contains(kernel) {
                entries.append(BootEntry(name: name, fileName: fileName, kernel: kernel))
            } else {
                strays.append(fileName)
            }
        }
        // Of entries that are alike, the order is that of their files' names.
        entries.sort { $0.fileName.utf8.lexicographicallyPrecedes($1.fileName.utf8) }
        return Survey(entries: entries.sorted { $0.comesBefore($1) }, strays: strays, kernels: kernels)
    }

    private func kernel(_ fileName: String, of name: BootEntryName) throws(BootControlFault) -> KernelName? {
        let path = path(fileName)
        guard try files.size(of: path) <= BootEntryText.readLimit else { return nil }
        var bytes: [UInt8] = []
        try files.read(path) { bytes.append(contentsOf: $0) }
        return BootEntryText.kernel(String(decoding: bytes, as: UTF8.self), of: name)
    }

    /// All entries, in the order in which systemd-boot tries them.
    public func list() throws(BootControlFault) -> [BootEntry] { try survey().entries }

    /// Makes an entry and returns when it is on the medium. It stays beside others of its version.
    public func add(_ name: BootEntryName, kernel: KernelName) throws(BootControlFault) {
        let text = BootEntryText.make(name, kernel: kernel)
        let writer = try files.create(path(name.description))
        let bytes = Array(text.utf8)
        do {
            try bytes.withUnsafeBytes { buffer in try writer.append(buffer) }
        } catch let fault as BootControlFault {
            throw fault
        } catch {
            throw BootControlFault(.inputOutput, "cannot write an entry")
        }
        try writer.flush()
        try files.flush()
    }

    /// Removes entries by their files' names, and returns when that is on the medium.
    public func remove(_ fileNames: [String]) throws(BootControlFault) {
        guard !fileNames.isEmpty else { return }
        for name in fileNames { try files.remove(path(name)) }
        try files.flush()
    }

    // MARK: Kernel images

    /// The SHA-256 of a kernel image as it is on the medium, or nil where there is none of that name.
    public func digest(of kernel: KernelName) throws(BootControlFault) -> SHA256Digest? {
        guard try files.names(in: KernelName.directory(product: product)).contains(kernel.fileName) else { return nil }
        var hasher = SHA256Hasher()
        try files.read(kernel.description) { hasher.update($0) }
        return hasher.finish()
    }

    /// Begins a kernel image. No entry may name it yet.
    public func create(_ kernel: KernelName) throws(BootControlFault) -> any BootFileWriter {
        try files.create(kernel.description)
    }

    /// Returns when all changes are on the medium.
    public func flush() throws(BootControlFault) { try files.flush() }

    /// Removes the kernel images that no entry names, those of `version` excepted, and what fsck.vfat has made of clusters that a power
    /// cut had lost, and flushes.
    public func removeUnused(keeping version: String) throws(BootControlFault) {
        let survey = try survey()
        let used = Set(survey.entries.map(\.kernel))
        let unused =
            survey.kernels.filter { !used.contains($0) && !$0.isOf(version) }.map(\.description) + (try recovered())
        guard !unused.isEmpty else { return }
        for path in unused { try files.remove(path) }
        try files.flush()
    }

    /// Removes a kernel image that is not whole. No entry may name it.
    public func remove(_ kernel: KernelName) throws(BootControlFault) {
        try files.remove(kernel.description)
        try files.flush()
    }

    /// Bytes that there would be for a kernel image if all but those of `version` were removed.
    public func space(keeping version: String) throws(BootControlFault) -> Int64 {
        var space = try files.availableSpace()
        let others = try kernels().filter { !$0.isOf(version) }.map(\.description)
        for path in others + (try recovered()) { space += try files.size(of: path) }
        return space
    }

    /// `FSCK0000.REC` and so on, as `fsck.vfat -a` names what it finds.
    private func recovered() throws(BootControlFault) -> [String] {
        try files.names(in: "").filter { name in
            let name = name.uppercased()
            return name.hasPrefix("FSCK") && name.hasSuffix(".REC") && name.utf8.count == 12
        }
    }

    private func kernels() throws(BootControlFault) -> [KernelName] {
        try files.names(in: KernelName.directory(product: product)).map { KernelName(product: product, fileName: $0) }
    }
}
