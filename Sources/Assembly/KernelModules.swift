import Fault
import Glibc

/// The kernel of the root directory: its image, its release and its modules.
struct KernelModules {
    static let base = "usr/lib/modules"
    private let root: RootDirectory
    /// As `uname -r` prints it.
    let release: String

    private var directory: String { "\(Self.base)/\(release)" }

    init(root: RootDirectory) throws(AssemblyFault) {
        self.root = root
        var releases: [String] = []
        // Headers of a kernel have a directory here too, without modules.
        for name in try root.entries(Self.base) where try root.isDirectory("\(Self.base)/\(name)/kernel") {
            releases.append(name)
        }
        guard let release = releases.first, releases.count == 1 else {
            throw AssemblyFault(
                .missing,
                "an image has one kernel, and this one has \(releases.isEmpty ? "none" : releases.joined(separator: ", "))",
                at: .path("/" + Self.base), remedy: "set 'kernel.package' in the manifest")
        }
        self.release = release
    }

    /// The kernel image's bytes.
    func image() throws(AssemblyFault) -> [UInt8] {
        let path = "boot/vmlinuz-\(release)"
        guard let bytes = try root.contents(path) else {
            throw AssemblyFault(
                .missing, "the kernel package has no image", at: .path("/" + path),
                remedy: "set 'kernel.package' in the manifest")
        }
        return bytes
    }

    /// Removes the modules that no pattern matches and that none of those kept needs. No pattern keeps all.
    ///
    /// - Returns: whether any was removed, so that depmod has to look again.
    func keepOnly(_ patterns: [String], place: (String) -> Place?) throws(AssemblyFault) -> Bool {
        guard !patterns.isEmpty else { return false }
        let index = try root.contents("\(directory)/modules.dep") ?? []
        let soft = try root.contents("\(directory)/modules.softdep") ?? []
        let dependencies = try ModuleDependencies(
            String(decoding: index, as: UTF8.self), soft: String(decoding: soft, as: UTF8.self))
        let kept = dependencies.closure(of: patterns)
        let stranger = patterns.first { dependencies.closure(of: [$0]).isEmpty }
        if let stranger {
            throw AssemblyFault(
                .missing, "no module of the kernel \(release) matches '\(stranger)'",
                at: place(stranger) ?? .named("kernel.modules"), remedy: "correct the pattern, or take it out")
        }
        for path in dependencies.paths where !kept.contains(path) { try root.removeFile("\(directory)/\(path)") }
        return true
    }
}

/// What `modules.dep` says: which modules each module needs.
struct ModuleDependencies {
    private let needs: [String: [String]]
    /// The names of modules that are loaded with one, by its name (modprobe.d(5), `softdep`).
    private let soft: [String: [String]]

    /// All modules' paths below the modules directory.
    var paths: [String] { needs.keys.sorted() }

    /// - Parameters:
    ///   - text: what `modules.dep` has.
    ///   - soft: what `modules.softdep` has.
    init(_ text: String, soft: String = "") throws(AssemblyFault) {
        self.soft = Self.soft(soft)
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
        var pending = needs.keys.filter { path in patterns.contains { Self.matches(path, $0) } }
        while let path = pending.popLast() {
            guard closure.insert(path).inserted else { continue }
            pending += needs[path] ?? []
            for name in soft[Self.name(of: path)] ?? [] { pending += paths(of: name) }
        }
        return closure
    }

    private func paths(of name: String) -> [String] { needs.keys.filter { Self.name(of: $0) == name } }

    /// Lines of `softdep NAME pre: NAME … post: NAME …`.
    private static func soft(_ text: String) -> [String: [String]] {
        var soft: [String: [String]] = [:]
        for line in text.split(separator: "\n") {
            let words = line.split { $0 == " " || $0 == "\t" }
            guard words.count > 3, words[0] == "softdep" else { continue }
            soft[plain(words[1]), default: []] += words[2...].filter { !$0.hasSuffix(":") }.map { plain($0) }
        }
        return soft
    }

    private static func plain(_ text: some StringProtocol) -> String { String(text.map { $0 == "-" ? "_" : $0 }) }

    private static func name(of path: String) -> String {
        plain((path.split(separator: "/").last ?? "").prefix { $0 != "." })
    }

    private static func matches(_ path: String, _ pattern: String) -> Bool {
        let name = name(of: path)
        return fnmatch(plain(pattern), name, 0) == 0 || fnmatch(pattern, path, 0) == 0
    }
}
