import Archive
import Fault
import FileIO
import Glibc
import SystemPackage

/// The kernel of the root directory: its image, its release and its modules.
struct KernelModules {
    let root: FilePath
    /// As `uname -r` prints it.
    let release: String

    private var directory: FilePath { root.appending("usr/lib/modules/\(release)") }

    init(root: FilePath) throws(AssemblyFault) {
        self.root = root
        let modules = root.appending("usr/lib/modules")
        let releases = ((try? modules.directoryEntries()) ?? []).filter {
            modules.appending($0).appending("kernel").exists
        }
        guard let release = releases.first, releases.count == 1 else {
            throw AssemblyFault(
                .missing,
                "an image has one kernel, and this one has \(releases.isEmpty ? "none" : releases.joined(separator: ", "))",
                at: .path("/usr/lib/modules"), remedy: "set 'kernel.package' in the manifest")
        }
        self.release = release
    }

    /// The kernel image's bytes.
    func image() throws(AssemblyFault) -> [UInt8] {
        let path = root.appending("boot/vmlinuz-\(release)")
        return try attempt("the kernel package has no image") { try path.contents(limit: 256 << 20) }
    }

    /// Replaces compressed modules by what they hold: an update can then tell which did not change, and reads cost nothing.
    func decompress() async throws {
        let files = try Self.files(below: directory).filter {
            $0.string.hasSuffix(".ko.xz") || $0.string.hasSuffix(".ko.zst")
        }
        // One thread: the other processor belongs to dpkg, which is slower and has nobody to share its work with.
        for file in files { try Self.decompress(file) }
    }

    private static func decompress(_ file: FilePath) throws {
        let content = try ArchiveReader.decompress(
            try file.contents(limit: 256 << 20), name: file.string, limit: 512 << 20)
        var target = file
        target.extension = nil
        let pending = try PendingFile(target)
        try pending.file.append(content)
        try pending.commitWithoutFlush()
        try file.removeTree()
    }

    private static func files(below directory: FilePath) throws -> [FilePath] {
        var files: [FilePath] = []
        var pending = [directory]
        while let next = pending.popLast() {
            for name in try next.directoryEntries() {
                let path = next.appending(name)
                switch try FileStatus(of: path).kind {
                case .directory: pending.append(path)
                case .regular: files.append(path)
                default: break
                }
            }
        }
        return files.sorted { $0.string < $1.string }
    }

    /// Removes the modules that no pattern matches and that none of those kept needs. No pattern keeps all.
    ///
    /// - Returns: whether any was removed, so that depmod has to look again.
    func keepOnly(_ patterns: [String], place: (String) -> Place?) throws -> Bool {
        guard !patterns.isEmpty else { return false }
        let dependencies = try ModuleDependencies(try directory.appending("modules.dep").text())
        let kept = dependencies.closure(of: patterns)
        let stranger = patterns.first { dependencies.closure(of: [$0]).isEmpty }
        if let stranger {
            throw AssemblyFault(
                .missing, "no module of the kernel \(release) matches '\(stranger)'",
                at: place(stranger) ?? .named("kernel.modules"), remedy: "correct the pattern, or take it out")
        }
        for path in dependencies.paths where !kept.contains(path) { try directory.appending(path).removeTree() }
        return true
    }
}

/// What `modules.dep` says: which modules each module needs.
struct ModuleDependencies {
    private let needs: [String: [String]]

    /// All modules' paths below the modules directory.
    var paths: [String] { needs.keys.sorted() }

    init(_ text: String) throws(AssemblyFault) {
        var needs: [String: [String]] = [:]
        for line in text.split(separator: "\n") {
            guard let colon = line.firstIndex(of: ":") else {
                throw AssemblyFault(.configuration, "a line without ':' in modules.dep", at: .named(String(line)))
            }
            needs[String(line[..<colon])] = line[line.index(after: colon)...].split(separator: " ").map(String.init)
        }
        self.needs = needs
    }

    /// The paths of the modules that a pattern matches, with all they need. A pattern is a module's name, with `-` and `_`
    /// alike, or an fnmatch(3) pattern of its path.
    func closure(of patterns: [String]) -> Set<String> {
        var closure: Set<String> = []
        for (path, dependencies) in needs where patterns.contains(where: { Self.matches(path, $0) }) {
            closure.insert(path)
            closure.formUnion(dependencies)
        }
        return closure
    }

    private static func matches(_ path: String, _ pattern: String) -> Bool {
        func plain(_ text: some StringProtocol) -> String { String(text.map { $0 == "-" ? "_" : $0 }) }
        let file = path.split(separator: "/").last ?? ""
        let name = plain(file.prefix { $0 != "." })
        return fnmatch(plain(pattern), name, 0) == 0 || fnmatch(pattern, path, 0) == 0
    }
}
