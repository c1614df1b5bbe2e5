import Fault
package import FileTree

/// What differs between two trees that were built of the same inputs: what depends on the time, on randomness or on the
/// order in which things happen to end. All hosts would share what was meant for one, and nobody could build the image again.
package struct TreeDifferences {
    /// The paths, with what differs of each.
    package let paths: [(path: String, what: String)]
    private let packages: [String: String]

    package init(between first: FileTree, and second: FileTree) throws {
        var paths: [(String, String)] = []
        for path in Set(first.sortedPaths()).union(second.sortedPaths()).sorted() {
            switch (first[path], second[path]) {
            case (let one?, let other?):
                guard let what = try Self.difference(one, other) else { continue }
                // What has no content, such as a directory, is below /var only as a line of these.
                let lines = VarFactory.allSettings.contains(path) ? try Self.lines(one, other) : []
                paths += lines.isEmpty ? [(path, what)] : lines
            case (_?, nil): paths.append((path, "is made in the first run only"))
            case (nil, _): paths.append((path, "is made in the second run only"))
            }
        }
        // What has a content is named by it already.
        let own = Set(paths.map(\.0))
        paths.removeAll { own.contains("\(VarFactory.directory)/\($0.0)") }
        self.paths = paths
        packages = try Self.packages(naming: paths.map(\.0), in: first)
    }

    private static func difference(_ one: FileInode, _ other: FileInode) throws -> String? {
        switch (one.kind, other.kind) {
        case (.regular(let first), .regular(let second)):
            if first.size != second.size { return "has another length" }
            if try !first.isSame(as: second) { return "has another content" }
        default:
            if one.kind != other.kind { return "is another kind of file, or leads elsewhere" }
        }
        if one.permissions != other.permissions { return "has another mode" }
        if one.owner != other.owner || one.group != other.group { return "has another owner" }
        if one.modified != other.modified { return "has another time" }
        return one.extendedAttributes != other.extendedAttributes ? "has other extended attributes" : nil
    }

    /// The paths in whose lines two files of tmpfiles.d(5) differ.
    private static func lines(_ one: FileInode, _ other: FileInode) throws -> [(String, String)] {
        func lines(_ inode: FileInode) throws -> [String: String] {
            guard case .regular(let content) = inode.kind else { return [:] }
            let lines = String(decoding: try content.load(), as: UTF8.self).split(separator: "\n")
            let fields = lines.map { $0.split(separator: " ") }
            return Dictionary(
                zip(fields, lines).filter { $0.0.count > 1 }.map { (String($0.0[1].dropFirst()), String($0.1)) }
            ) { first, _ in first }
        }
        let (first, second) = (try lines(one), try lines(other))
        return Set(first.keys).union(second.keys).sorted().compactMap { path in
            switch (first[path], second[path]) {
            case (_?, nil): (path, "is made in the first run only")
            case (nil, _?): (path, "is made in the second run only")
            case (let one, let other): one == other ? nil : (path, "has another mode, owner or target")
            }
        }
    }

    /// For each path the package whose files or whose maintainer scripts name it, as closely as one does.
    private static func packages(naming paths: [String], in tree: FileTree) throws -> [String: String] {
        guard !paths.isEmpty else { return [:] }
        let directory = FinishedTree.packageDatabase + "/info/"
        var lists: [String: String] = [:]
        var scripts: [(package: String, text: String)] = []
        for file in tree.descendants(of: FinishedTree.packageDatabase + "/info") {
            let parts = file.dropFirst(directory.count).split(separator: ".")
            guard parts.count > 1, let kind = parts.last else { continue }
            let package = parts.dropLast().joined(separator: ".").split(separator: ":").first.map(String.init) ?? ""
            switch kind {
            case "list":
                for line in String(decoding: try tree.contents(of: file), as: UTF8.self).split(separator: "\n") {
                    lists[String(line.dropFirst())] = package
                }
            case "postinst", "preinst", "config":
                scripts.append((package, String(decoding: try tree.contents(of: file), as: UTF8.self)))
            default: break
            }
        }
        var found: [String: String] = [:]
        for path in paths {
            let full = path
            let path = VarFactory.placeOnHost(of: path)
            // The file itself, then the directories above it, as the nearest thing that is somebody's.
            var parts = path.split(separator: "/")
            // What is higher than that is everybody's, such as /var/lib.
            while found[full] == nil, parts.count > 2 || parts.count == 2 && parts[0] == "etc" {
                let part = parts.joined(separator: "/")
                found[full] = lists[part] ?? scripts.first { $0.text.contains("/" + part) }?.package
                parts.removeLast()
            }
        }
        return found
    }

    /// Ends the build where anything differs.
    func refuse() throws(AssemblyFault) {
        guard !paths.isEmpty else { return }
        let lines = paths.prefix(200).map { path, what in
            "\n  /\(VarFactory.placeOnHost(of: path)) \(what)" + (packages[path].map { " (package \($0))" } ?? "")
        }
        throw AssemblyFault(
            .configuration,
            "\(paths.count) path\(paths.count == 1 ? " differs" : "s differ") between two runs:" + lines.joined()
                + (paths.count > 200 ? "\n  …" : ""),
            remedy: "have each host make them, with 'first_boot' in the manifest, or leave the package out"
                + (paths.allSatisfy { packages[$0.0] != nil }
                    ? "" : "; in a script of your own, use SOURCE_DATE_EPOCH instead of the clock"))
    }
}
