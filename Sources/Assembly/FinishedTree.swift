import DebianArchive
import Fault
import FileIO
import FileTree
import Manifest
import SystemPackage

/// Turns the configured root directory into the tree of an image: what only the build needed goes, what a read-only host
/// needs comes.
struct FinishedTree {
    let manifest: Manifest
    let packages: [LockedPackage]
    /// What the manifest's files and overlays bring.
    let brought: BroughtFiles
    let epoch: Int64
    /// When the tree was built, in seconds since 1970, by each clock that its programs saw. What has a time in it was made then,
    /// whatever the clock said.
    let built: [ClosedRange<Int64>]

    /// dpkg's database has a place in /usr: /var belongs to the host, and the image's packages to the image.
    static let packageDatabase = "usr/lib/sysimage/dpkg"

    /// Directories of the root that are links into /var, the one place that can be written.
    private static let links = [("home", "var/home"), ("root", "var/roothome"), ("srv", "var/srv"), ("mnt", "var/mnt")]

    private static let tmpfiles = """
        # The directories of /var that links in the read-only root lead to.
        d /var/home 0755 root root -
        d /var/roothome 0700 root root -
        d /var/srv 0755 root root -
        d /var/mnt 0755 root root -
        L /var/lib/dpkg - - - - ../../\(packageDatabase)
        d /var/lib/ballast 0750 root ballast -
        # Where /etc is forgotten with every boot, the initrd gives the next one the same machine ID.
        C /var/lib/ballast/machine-id - - - - /etc/machine-id

        """

    private static let mountPoints: [(path: String, permissions: UInt16)] = [
        ("boot", 0o755), ("dev", 0o755), ("efi", 0o755), ("proc", 0o555), ("run", 0o755), ("sys", 0o555),
        ("tmp", 0o1777),
        ("var", 0o755),
    ]

    /// Directories that are cleared before the scan. Scripts may have left anything in them; a host has its own.
    private static let unscanned = ["dev", "proc", "run", "sys", "tmp"]

    /// Files that record how the tree came to be instead of what it is.
    private static let traces: Set<String> = [
        "etc/.pwd.lock", "etc/passwd-", "etc/group-", "etc/shadow-", "etc/gshadow-", "etc/subuid-", "etc/subgid-",
        "etc/hostname", "etc/resolv.conf", "etc/.resolv.conf.systemd-resolved.bak", "etc/mtab", "etc/ld.so.cache~",
        "etc/machine-id",
        "etc/apt/apt.conf.d/01autoremove",
        "root/.bash_history",
    ]

    func make(scanning root: FilePath) throws(AssemblyFault) -> FileTree {
        let epoch = epoch
        try attempt("cannot empty the directories that a host mounts over", at: .path(root.string)) {
            for name in Self.unscanned { try root.appending(name).removeTree() }
        }
        var tree = try attempt("cannot read the finished root", at: .path(root.string)) {
            try FileTree(scanning: root, latestTime: epoch)
        }
        // Others are the build machine's: labels of its security modules, marks of its overlay file systems.
        tree.modifyAll { inode in
            if built.contains(where: { $0.contains(inode.modified) }) { inode.modified = epoch }
            inode.extendedAttributes = inode.extendedAttributes.filter { name, _ in
                name == "security.capability" || name.hasPrefix("system.posix_acl_") || name.hasPrefix("user.")
            }
        }
        do throws(FileTreeFault) { try settleDays(in: &tree) } catch {
            throw AssemblyFault(.inputOutput, "cannot set the dates of the passwords", cause: error)
        }
        try edit(&tree)
        try brought.check(tree)
        return tree
    }

    /// Changes the day of the last password change (shadow(5)) to the lock's day, for passwords that were set during the build.
    /// useradd(8) and the like use SOURCE_DATE_EPOCH only if it is in the past by their clock.
    private func settleDays(in tree: inout FileTree) throws(FileTreeFault) {
        let (path, day) = ("etc/shadow", Int64(86_400))
        guard var inode = tree[path], case .regular = inode.kind else { return }
        let lines = try tree.contents(of: path).split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false)
        let settled = lines.map { line in
            var fields = line.split(separator: UInt8(ascii: ":"), omittingEmptySubsequences: false)
            guard fields.count > 2, let set = Int64(String(decoding: fields[2], as: UTF8.self)),
                built.contains(where: { ($0.lowerBound / day...$0.upperBound / day).contains(set) })
            else { return line }
            fields[2] = Array(String(epoch / day).utf8)[...]
            return Array(fields.joined(separator: [UInt8(ascii: ":")]))[...]
        }
        inode.kind = .regular(.bytes(Array(settled.joined(separator: [UInt8(ascii: "\n")]))))
        try tree.insert(inode, at: path)
    }

    /// Where a directory of the build's root is on a host.
    static func placeOnHost(of directory: String) -> String {
        for (path, target) in links where directory == path || directory.hasPrefix(path + "/") {
            return target + directory.dropFirst(path.count)
        }
        return directory
    }

    private func edit(_ tree: inout FileTree) throws(AssemblyFault) {
        let brought = brought.paths
        do throws(FileTreeFault) {
            try movePackageDatabase(in: &tree)
            tree.removeAll {
                (Self.traces.contains($0) || $0.hasSuffix(".dpkg-old") || $0.hasSuffix(".dpkg-dist"))
                    && !brought.contains($0)
            }
            try tree.insert(file(Self.tmpfiles), at: "usr/lib/tmpfiles.d/ballast.conf")
            for (path, target) in Self.links { try move(path, to: target, in: &tree) }
            let kept = Set(brought.map(Self.placeOnHost(of:)))
            try HostFiles(manifest: manifest, packages: packages).apply(to: &tree, keeping: kept, epoch: epoch)
            try VarFactory(accounts: tree, epoch: epoch, keeping: kept).replaceVar(in: &tree)
            tree.remove("boot")
            for (path, permissions) in Self.mountPoints {
                try tree.insert(FileInode(.directory, permissions: permissions, modified: epoch), at: path)
            }
            for (path, target) in Self.links {
                try tree.insert(symbolicLink(to: target), at: path)
            }
            try tree.insert(file("", permissions: 0o444), at: "etc/machine-id")
            if !brought.contains("etc/resolv.conf") {
                try tree.insert(symbolicLink(to: "../run/systemd/resolve/stub-resolv.conf"), at: "etc/resolv.conf")
            }
            try tree.insert(symbolicLink(to: "../proc/self/mounts"), at: "etc/mtab")
            // As new as /usr: what systemd redoes after an update (ConditionNeedsUpdate=) is done in the image already.
            try tree.insert(file("TIMESTAMP_NSEC=\(epoch)000000000\n"), at: "etc/.updated")
        } catch {
            throw AssemblyFault(.inputOutput, "cannot finish the tree", cause: error)
        }
    }

    private func move(_ path: String, to place: String, in tree: inout FileTree) throws(FileTreeFault) {
        guard case .directory? = tree[path]?.kind else { return }
        let moved = try tree.subtree(at: path)
        for name in moved.sortedPaths() {
            guard let inode = moved[name] else { continue }
            try tree.insert(inode, at: name.isEmpty ? place : "\(place)/\(name)")
        }
    }

    private func movePackageDatabase(in tree: inout FileTree) throws(FileTreeFault) {
        let database = try tree.subtree(at: "var/lib/dpkg")
        let passing: Set<String> = ["lock", "lock-frontend", "triggers/Lock", "cmethopt"]
        for path in database.sortedPaths() {
            guard !passing.contains(path), !path.hasSuffix("-old"), let inode = database[path] else { continue }
            try tree.insert(inode, at: path.isEmpty ? Self.packageDatabase : "\(Self.packageDatabase)/\(path)")
        }
    }

    private func file(_ text: String, permissions: UInt16 = 0o644) -> FileInode {
        FileInode(.regular(.bytes(Array(text.utf8))), permissions: permissions, modified: epoch)
    }

    private func symbolicLink(to target: String) -> FileInode {
        FileInode(.symbolicLink(target: target), permissions: 0o777, modified: epoch)
    }
}
