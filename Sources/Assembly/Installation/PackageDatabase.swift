import Cryptography
import DebianArchive
import Fault
import FileIO
import SystemPackage

/// Writes into dpkg's database what dpkg itself would have written when it unpacked a package, so that `dpkg --configure` goes
/// on from there (dpkg: lib/dpkg/dbdir.c, infodb-format.c, triglib.c). Not while dpkg runs.
struct PackageDatabase {
    static let directory = "var/lib/dpkg"
    /// Members of control.tar that are not kept in info/: the paragraph itself goes into status.
    private static let notKept: Set<String> = ["control"]

    let root: RootDirectory

    /// Makes an empty database.
    func create() throws(AssemblyFault) {
        for directory in ["info", "updates", "triggers", "parts", "alternatives"] {
            try root.makeDirectory("\(Self.directory)/\(directory)")
        }
        try root.replaceFile("\(Self.directory)/info/format", with: "1\n")
        for empty in ["diversions", "statoverride", "status", "triggers/File", "triggers/Unincorp"] {
            try root.replaceFile("\(Self.directory)/\(empty)", with: "")
        }
    }

    /// Paths to which something else applies than what their package says: what is diverted, in whose place, and what has
    /// another owner or mode.
    func specialPaths() throws(AssemblyFault) -> Set<String> {
        var paths: Set<String> = []
        for (from, to) in try diversions() { paths.formUnion([from, to]) }
        // OWNER GROUP MODE PATH
        for line in try lines(of: "statoverride") {
            let fields = line.split(separator: " ", maxSplits: 3)
            if fields.count == 4 { paths.insert(String(fields[3])) }
        }
        return paths
    }

    /// Where what is diverted goes, by the absolute path that its package says.
    func diversions() throws(AssemblyFault) -> [String: String] {
        // Three lines a diversion: from, to, by which package.
        let lines = try lines(of: "diversions")
        var diversions: [String: String] = [:]
        for start in stride(from: 0, to: lines.count - 1, by: 3) { diversions[lines[start]] = lines[start + 1] }
        return diversions
    }

    private func lines(of file: String) throws(AssemblyFault) -> [String] {
        String(decoding: try root.contents("\(Self.directory)/\(file)") ?? [], as: UTF8.self)
            .split(separator: "\n").map(String.init)
    }

    /// Adds `packages` in the state "unpacked".
    ///
    /// - Parameter holdsConffiles: whether their conffiles wait under another name for dpkg to configure them.
    func add(_ packages: [StagedPackage], holdsConffiles: Bool) throws(AssemblyFault) {
        try activateTriggers(of: packages)
        var status = ""
        for package in packages {
            status += try entry(for: package, holdsConffiles: holdsConffiles)
            let base = "\(Self.directory)/info/\(package.package.databaseName)"
            try root.replaceFile("\(base).list", with: package.paths.map { $0 + "\n" }.joined())
            for (name, content) in package.package.controlFiles.sorted(by: { $0.key < $1.key })
            where !Self.notKept.contains(name) {
                try root.replaceFile(
                    "\(base).\(name)", with: content,
                    permissions: DebianPackageFile.scripts.contains(name) ? 0o755 : 0o644)
            }
        }
        try append(status, to: "status")
        try addTriggers(packages)
    }

    private func append(_ text: String, to file: String) throws(AssemblyFault) {
        let path = "\(Self.directory)/\(file)"
        try root.replaceFile(path, with: (try root.contents(path) ?? []) + Array(text.utf8))
    }

    private func entry(for package: StagedPackage, holdsConffiles: Bool) throws(AssemblyFault) -> String {
        var lines = package.package.controlText.split(separator: "\n").map(String.init)
        let position = lines.firstIndex { $0.hasPrefix("Package:") }.map { $0 + 1 } ?? 0
        lines.insert("Status: install ok unpacked", at: position)
        if let conffiles = package.package.controlFiles["conffiles"] {
            lines.append("Conffiles:")
            for line in String(decoding: conffiles, as: UTF8.self).split(separator: "\n") where line.hasPrefix("/") {
                if holdsConffiles {
                    // Excluded ones too: dpkg lists all.
                    lines.append(" \(line) newconffile")
                    continue
                }
                guard let content = try root.contents(String(line)) else { continue }
                lines.append(" \(line) \(MD5Digest.hexadecimal(of: content))")
            }
        }
        return lines.joined(separator: "\n") + "\n\n"
    }

    /// Has packages that are configured already process the triggers of paths below which `packages` have files, when dpkg runs
    /// next (dpkg: doc/triggers.txt, "File triggers").
    private func activateTriggers(of packages: [StagedPackage]) throws(AssemblyFault) {
        let interests = Set(
            try lines(of: "triggers/File").compactMap { $0.split(separator: " ").first.map(String.init) })
        guard !interests.isEmpty else { return }
        var activated: Set<String> = []
        for path in packages.flatMap(\.paths) {
            // The path itself and each directory above it.
            var path = path[...]
            while !path.isEmpty {
                if interests.contains(String(path)) { activated.insert(String(path)) }
                guard let slash = path.lastIndex(of: "/") else { break }
                path = path[..<slash]
            }
        }
        // The package that waits for a trigger to be processed: none.
        try append(activated.sorted().map { "\($0) -\n" }.joined(), to: "triggers/Unincorp")
    }

    /// Who is interested in which trigger: file triggers in one file, explicit ones in a file each.
    private func addTriggers(_ packages: [StagedPackage]) throws(AssemblyFault) {
        var fileTriggers = ""
        var explicit: [String: String] = [:]
        for package in packages.map(\.package) {
            guard let text = package.controlFiles["triggers"] else { continue }
            for line in String(decoding: text, as: UTF8.self).split(separator: "\n") {
                let words = line.split(whereSeparator: { $0 == " " || $0 == "\t" }).map(String.init)
                guard words.count == 2, words[0].hasPrefix("interest") else { continue }
                let name = package.databaseName + (words[0] == "interest-noawait" ? "/noawait" : "")
                if words[1].hasPrefix("/") {
                    fileTriggers += "\(words[1]) \(name)\n"
                } else {
                    explicit[words[1], default: ""] += "\(name)\n"
                }
            }
        }
        try append(fileTriggers, to: "triggers/File")
        for (trigger, names) in explicit.sorted(by: { $0.key < $1.key }) {
            try append(names, to: "triggers/\(trigger)")
        }
    }
}
