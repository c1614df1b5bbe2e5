import Cryptography
import Fault
package import FileTree

/// Carries what packages, overlays and the manifest put below /var over to the host, whose /var is empty at its first boot:
/// files go to `/usr/share/factory/var`, and lines of tmpfiles.d(5) make the directories and copy the files at each boot
/// where they are missing. What a host has changed stays as it is.
package struct VarFactory {
    static let directory = "usr/share/factory"
    /// Of several lines for one path the first file's counts, so that a package's own ones go before these.
    static let settings = "usr/lib/tmpfiles.d/zz-ballast-var.conf"
    /// Files and directories that a package would make empty, and the image has a content for.
    static let firstSettings = "usr/lib/tmpfiles.d/00-ballast-var.conf"
    static let allSettings = [settings, firstSettings]

    /// What only a package manager reads, caches, and what must be another one on each host.
    static let left: Set<String> = [
        "var/backups", "var/cache/apt", "var/cache/debconf", "var/cache/ldconfig", "var/lib/apt",
        "var/lib/dbus/machine-id", "var/lib/dpkg", "var/lib/initramfs-tools", "var/lib/pam", "var/lib/shells.state",
        "var/lib/systemd/catalog", "var/lib/systemd/credential.secret", "var/lib/systemd/deb-systemd-helper-enabled",
        "var/lib/systemd/deb-systemd-helper-masked", "var/lib/systemd/deb-systemd-user-helper-enabled",
        "var/lib/systemd/deb-systemd-user-helper-masked", "var/lib/systemd/random-seed", "var/lib/ucf", "var/lock",
        "var/log/apt", "var/run", "var/tmp",
    ]
    /// Directories of which what is in them is left out, and they themselves are not.
    private static let emptied = ["var/cache/", "var/log/"]
    /// The types that make something at their path.
    private static let making = Set("dDvqQfFLCpcb")

    /// The path on a host of the image's `path`.
    static func placeOnHost(of path: String) -> String {
        path.hasPrefix(directory + "/var/") ? String(path.dropFirst(directory.utf8.count + 1)) : path
    }

    private let users: [UInt32: String]
    private let groups: [UInt32: String]
    private let epoch: Int64
    private let brought: Set<String>

    /// - Parameters:
    ///   - accounts: the tree whose accounts own the files.
    ///   - brought: paths that the manifest itself brings, which stay also where others do not.
    package init(accounts: FileTree, epoch: Int64, keeping brought: Set<String> = []) throws(FileTreeFault) {
        self.brought = brought
        users = Self.names(try accounts.contents(of: "etc/passwd"))
        groups = Self.names(try accounts.contents(of: "etc/group"))
        self.epoch = epoch
    }

    private static func names(_ bytes: [UInt8]) -> [UInt32: String] {
        var names: [UInt32: String] = [:]
        for line in String(decoding: bytes, as: UTF8.self).split(separator: "\n") {
            let fields = line.split(separator: ":", omittingEmptySubsequences: false)
            guard fields.count > 2, let number = UInt32(fields[2]), names[number] == nil else { continue }
            names[number] = String(fields[0])
        }
        return names
    }

    /// Replaces the tree's /var by its factory. Lines that the tree has already make what they name.
    package func replaceVar(in tree: inout FileTree) throws(FileTreeFault) {
        let known = try made(in: tree)
        var lines: [String] = []
        var firstLines: [String] = []
        var whole: String?
        for path in tree.descendants(of: "var").sorted(by: FileTree.precedes) {
            guard let inode = tree[path], !isLeft(path) else { continue }
            if let top = whole, path.hasPrefix(top + "/") {
                try keep(inode, at: path, in: &tree)
                continue
            }
            if isUnsafe(path, inode, in: tree, known) {
                whole = path
                let line = "C \(Self.word("/" + path)) - - - - \(Self.word("/\(Self.directory)/\(path)"))"
                if known["/" + path] == nil { lines.append(line) } else { firstLines.append(line) }
                try keep(inode, at: path, in: &tree)
                continue
            }
            let isFile = if case .regular = inode.kind { true } else { false }
            let maker = known["/" + path]
            // What the manifest brings takes precedence over a package's line for the same path.
            if let maker, !brought.contains(path), !isFile || !maker.isEmpty { continue }
            if let line = line(for: inode, at: path) {
                if maker == nil { lines.append(line) } else { firstLines.append(line) }
            }
            if isFile { try keep(inode, at: path, in: &tree) }
        }
        tree.remove("var")
        for (file, lines) in [(Self.settings, lines), (Self.firstSettings, firstLines)] where !lines.isEmpty {
            let text = "# What packages and the manifest have below /var.\n" + lines.map { $0 + "\n" }.joined()
            try tree.insert(
                FileInode(.regular(.bytes(Array(text.utf8))), permissions: 0o644, modified: epoch), at: file)
        }
    }

    private func keep(_ inode: FileInode, at path: String, in tree: inout FileTree) throws(FileTreeFault) {
        let isDirectory = if case .directory = inode.kind { true } else { false }
        guard isDirectory || !isEmptied(path) else { return }
        try keepDirectories(above: path, in: &tree)
        try tree.insert(inode, at: "\(Self.directory)/\(path)")
    }

    /// Whether systemd-tmpfiles refuses lines for what is in this directory: it goes from no user's directory into one that
    /// belongs to another, be it root's. Such a directory is copied as a whole, where there is none.
    private func isUnsafe(
        _ path: String, _ inode: FileInode, in tree: FileTree, _ known: [String: Maker]
    ) -> Bool {
        guard case .directory = inode.kind, let end = path.lastIndex(of: "/") else { return false }
        let above = String(path[..<end])
        guard let parent = tree[above] else { return false }
        func owner(_ inode: FileInode, _ path: String) -> String {
            known["/" + path]?.owner ?? users[inode.owner] ?? "\(inode.owner)"
        }
        let parentOwner = owner(parent, above)
        return parentOwner != users[0] ?? "0" && parentOwner != owner(inode, path)
    }

    /// The factory's directories let in whom the directories of /var let in, and nobody else.
    private func keepDirectories(above path: String, in tree: inout FileTree) throws(FileTreeFault) {
        var directory = ""
        for name in path.split(separator: "/").dropLast() {
            directory += directory.isEmpty ? String(name) : "/\(name)"
            let place = "\(Self.directory)/\(directory)"
            guard tree[place] == nil, let inode = tree[directory] else { continue }
            try tree.insert(inode, at: place)
        }
    }

    private func isLeft(_ path: String) -> Bool {
        Self.left.contains { path == $0 || path.hasPrefix($0 + "/") }
    }

    /// Whether `path` is in one of the emptied directories, and not one itself.
    private func isEmptied(_ path: String) -> Bool {
        Self.emptied.contains { path.hasPrefix($0) } && !brought.contains(path)
    }

    private func line(for inode: FileInode, at path: String) -> String? {
        let name = Self.word("/" + path)
        let user = Self.word(users[inode.owner] ?? "\(inode.owner)")
        let group = Self.word(groups[inode.group] ?? "\(inode.group)")
        let digits = String(inode.permissions, radix: 8)
        let mode = ":" + String(repeating: "0", count: max(0, 4 - digits.count)) + digits
        switch inode.kind {
        case .directory: return "d \(name) \(mode) :\(user) :\(group) -"
        case .regular:
            return isEmptied(path)
                ? nil : "C \(name) \(mode) :\(user) :\(group) - \(Self.word("/\(Self.directory)/\(path)"))"
        case .symbolicLink(let target): return isEmptied(path) ? nil : "L \(name) - - - - \(Self.word(target))"
        case .fifo: return isEmptied(path) ? nil : "p \(name) \(mode) :\(user) :\(group) -"
        case .characterDevice, .blockDevice: return nil
        }
    }

    /// A field: `%` begins a specifier, and what is no plain character is escaped as in C.
    private static func word(_ text: String) -> String {
        var word = ""
        for byte in text.utf8 {
            switch byte {
            case UInt8(ascii: "%"): word += "%%"
            case 0x21...0x7E where !#"\"'"#.utf8.contains(byte): word.unicodeScalars.append(Unicode.Scalar(byte))
            default: word += "\\x" + [byte].hexadecimal
            }
        }
        return word
    }

    /// What a line of tmpfiles.d makes of its path.
    private struct Maker {
        /// Whether it is a file without content.
        let isEmpty: Bool
        /// The owner that it gives a directory, by name.
        let owner: String?
    }

    /// The account that a field names: `:` before it leaves what is there already as it is.
    private func owner(_ field: Substring) -> String? {
        let name = field.drop { $0 == ":" }
        if name == "-" { return nil }
        return UInt32(name).map { users[$0] ?? "\($0)" } ?? String(name)
    }

    /// The paths that the tree's own tmpfiles.d makes.
    private func made(in tree: FileTree) throws(FileTreeFault) -> [String: Maker] {
        var paths: [String: Maker] = [:]
        for directory in ["usr/lib/tmpfiles.d", "etc/tmpfiles.d"] {
            for file in tree.descendants(of: directory) where file.hasSuffix(".conf") {
                guard case .regular? = tree[file]?.kind else { continue }
                // A file of the same name in /etc takes the place of the whole other one.
                let name = file.dropFirst(directory.utf8.count + 1)
                if directory.hasPrefix("usr"), tree["etc/tmpfiles.d/\(name)"] != nil { continue }
                for line in String(decoding: try tree.contents(of: file), as: UTF8.self).split(separator: "\n") {
                    let fields = line.split(whereSeparator: { $0 == " " || $0 == "\t" })
                    guard fields.count > 1, let type = fields[0].first, Self.making.contains(type) else { continue }
                    var path = fields[1].filter { $0 != "\"" && $0 != "'" }
                    while path.hasSuffix("/"), path.count > 1 { path.removeLast() }
                    let argument = fields.count > 6 ? fields[6...].joined(separator: " ") : "-"
                    paths[path] = Maker(
                        isEmpty: (type == "f" || type == "F") && argument == "-",
                        owner: "dDvqQ".contains(type) && fields.count > 3 ? owner(fields[3]) : nil)
                }
            }
        }
        return paths
    }
}
