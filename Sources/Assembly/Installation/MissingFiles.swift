import Fault

/// What packages have brought and is not there any more once all scripts have run: one of them has removed what is another
/// package's. The image would lack it, and dpkg's database would say that it has it.
struct MissingFiles {
    let directory: RootDirectory
    let excludedPaths: PathPatterns

    /// Where a package's file may go: scripts retire configuration files, and what lies below the others is of the moment.
    private static let free = ["etc/", "var/", "run/", "tmp/", "dev/", "proc/", "sys/"]
    private static let info = PackageDatabase.directory + "/info"

    /// Refuses a root that lacks files.
    ///
    /// - Parameter log: what the scripts have said.
    func refuse(_ log: InstallationLog) throws(AssemblyFault) {
        let diverted = try PackageDatabase(root: directory).diversions()
        var missing: [(path: String, package: String)] = []
        var scripts: [(package: String, text: String)] = []
        for name in try directory.entries(Self.info) {
            guard let dot = name.lastIndex(of: ".") else { continue }
            let package = String(name[..<dot].prefix { $0 != ":" })
            switch name[name.index(after: dot)...] {
            case "list":
                for line in try text(name).split(separator: "\n") {
                    let path = String(line.dropFirst())
                    if try isMissing(path, diverted) { missing.append((path, package)) }
                }
            case "preinst", "postinst": scripts.append((package, try text(name)))
            default: break
            }
        }
        // What its own package's script names is that package's to remove.
        missing.removeAll { path, package in
            let name = path.split(separator: "/").last ?? ""
            return scripts.contains { $0.package == package && Self.names($0.text, name) }
        }
        guard let first = missing.min(by: { ($0.path.utf8.count, $0.path) < ($1.path.utf8.count, $1.path) }) else {
            return
        }
        let owners = Set(missing.filter { $0.path == first.path }.map(\.package)).sorted()
        let others = Set(missing.map(\.path)).count - 1
        let culprit = scripts.first { $0.text.contains("/" + first.path) }?.package
        throw AssemblyFault(
            .configuration,
            "'/\(first.path)' (\(owners.prefix(5).joined(separator: ", "))\(owners.count > 5 ? ", …" : ""))"
                + (others > 0 ? " and \(others) other paths of packages are" : " is")
                + " gone after the packages' scripts have run"
                + (culprit.map { "; a script of '\($0)' names it" } ?? ""),
            remedy: "mend that script, or leave its package out; the whole log is in \(try log.keep())")
    }

    /// Whether a script contains the name of a file as a word of its own.
    private static func names(_ text: String, _ name: Substring) -> Bool {
        func isOfName(_ character: Character) -> Bool {
            character.isLetter || character.isNumber || "_-+.".contains(character)
        }
        var rest = text[...]
        while !name.isEmpty, let range = rest.firstRange(of: name) {
            let (before, after) = (text[..<range.lowerBound].last, text[range.upperBound...].first)
            if before.map(isOfName) != true, after.map(isOfName) != true { return true }
            rest = rest[range.upperBound...]
        }
        return false
    }

    private func text(_ name: String) throws(AssemblyFault) -> String {
        String(decoding: try directory.contents("\(Self.info)/\(name)") ?? [], as: UTF8.self)
    }

    private func isMissing(_ path: String, _ diverted: [String: String]) throws(AssemblyFault) -> Bool {
        guard path != ".", !Self.free.contains(where: path.hasPrefix), !excludedPaths.excludes(path),
            try directory.status(path) == nil
        else { return false }
        guard let other = diverted["/" + path] else { return true }
        return try directory.status(String(other.dropFirst())) == nil
    }
}
