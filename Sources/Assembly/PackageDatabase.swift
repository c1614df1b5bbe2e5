import Cryptography
import Fault
import FileIO
import SystemPackage

/// Writes dpkg's database for packages that were unpacked without dpkg, so that `dpkg --configure -a` goes on from there
/// (dpkg: lib/dpkg/dbdir.c, infodb-format.c, triglib.c).
struct PackageDatabase {
    private static let directory = "var/lib/dpkg"
    /// Members of control.tar that are not kept in info/: the paragraph itself goes into status.
    private static let notKept: Set<String> = ["control"]

    let root: RootDirectory
    let nativeArchitecture: String

    /// Writes the state "unpacked" for `packages`.
    func write(_ packages: [PackageUnpacker.Unpacked]) throws(AssemblyFault) {
        for directory in ["info", "updates", "triggers", "parts", "alternatives"] {
            try root.makeDirectory("\(Self.directory)/\(directory)")
        }
        try root.replaceFile("\(Self.directory)/info/format", with: "1\n")
        for empty in ["available", "diversions", "statoverride"] {
            try root.replaceFile("\(Self.directory)/\(empty)", with: "")
        }
        var status = ""
        for package in packages.sorted(by: { $0.name.utf8.lexicographicallyPrecedes($1.name.utf8) }) {
            status += try entry(for: package)
            let base = "\(Self.directory)/info/\(infoName(of: package))"
            try root.replaceFile("\(base).list", with: package.paths.map { $0 + "\n" }.joined())
            for (name, content) in package.controlFiles.sorted(by: { $0.key < $1.key })
            where !Self.notKept.contains(name) {
                let isScript = ["preinst", "postinst", "prerm", "postrm", "config"].contains(name)
                try root.replaceFile("\(base).\(name)", with: content, permissions: isScript ? 0o755 : 0o644)
            }
        }
        try root.replaceFile("\(Self.directory)/status", with: status)
        try writeTriggers(packages)
    }

    /// The name of the files in info/: with the architecture where several may be installed together.
    private func infoName(of package: PackageUnpacker.Unpacked) -> String {
        isMultiArchSame(package) ? "\(package.name):\(package.architecture)" : package.name
    }

    private func isMultiArchSame(_ package: PackageUnpacker.Unpacked) -> Bool {
        package.control.split(separator: "\n").contains { $0.lowercased() == "multi-arch: same" }
    }

    private func entry(for package: PackageUnpacker.Unpacked) throws(AssemblyFault) -> String {
        var lines = package.control.split(separator: "\n").map(String.init)
        let position = lines.firstIndex { $0.hasPrefix("Package:") }.map { $0 + 1 } ?? 0
        lines.insert("Status: install ok unpacked", at: position)
        if let conffiles = package.controlFiles["conffiles"] {
            lines.append("Conffiles:")
            for line in String(decoding: conffiles, as: UTF8.self).split(separator: "\n") where line.hasPrefix("/") {
                let path = line.split(separator: " ").first.map(String.init) ?? String(line)
                guard let content = try root.contents(path) else { continue }
                lines.append(" \(path) \(MD5Digest.hexadecimal(of: content))")
            }
        }
        return lines.joined(separator: "\n") + "\n\n"
    }

    /// Who is interested in which trigger: file triggers in one file, explicit ones in a file each.
    private func writeTriggers(_ packages: [PackageUnpacker.Unpacked]) throws(AssemblyFault) {
        var fileTriggers: [String] = []
        var explicit: [String: [String]] = [:]
        for package in packages {
            guard let text = package.controlFiles["triggers"] else { continue }
            for line in String(decoding: text, as: UTF8.self).split(separator: "\n") {
                let words = line.split(whereSeparator: { $0 == " " || $0 == "\t" }).map(String.init)
                guard words.count == 2, words[0].hasPrefix("interest") else { continue }
                let suffix = words[0] == "interest-noawait" ? "/noawait" : ""
                let name = infoName(of: package)
                if words[1].hasPrefix("/") {
                    fileTriggers.append("\(words[1]) \(name)\(suffix)")
                } else {
                    explicit[words[1], default: []].append(name + suffix)
                }
            }
        }
        let lines = fileTriggers.map { $0 + "\n" }.joined()
        try root.replaceFile("\(Self.directory)/triggers/File", with: lines)
        try root.replaceFile("\(Self.directory)/triggers/Unincorp", with: "")
        for (trigger, names) in explicit.sorted(by: { $0.key < $1.key }) {
            try root.replaceFile(
                "\(Self.directory)/triggers/\(trigger)", with: names.map { $0 + "\n" }.joined())
        }
    }
}
