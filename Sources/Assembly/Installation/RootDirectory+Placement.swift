import DebianArchive
import Glibc

extension RootDirectory {
    private static let newConffile = ".dpkg-new"

    /// Whether dpkg would put all of the package's files where their paths say, and nothing else is there.
    ///
    /// - Parameter special: paths, with a leading slash, to which a diversion or an override of dpkg's applies.
    func canPlace(_ package: StagedPackage, special: Set<String>) throws(AssemblyFault) -> Bool {
        for member in package.members {
            let isDirectory = if case .directory = member.kind { true } else { false }
            if special.contains("/" + member.path) { return false }
            if package.package.conffiles.contains(member.path), try status(member.path + Self.newConffile) != nil {
                return false
            }
            guard let there = try status(member.path, following: isDirectory) else {
                // A directory's place may be taken by a symbolic link that leads nowhere.
                if isDirectory, try status(member.path) != nil { return false }
                continue
            }
            guard isDirectory, there.st_mode & S_IFMT == S_IFDIR else { return false }
        }
        return true
    }

    /// Puts the package's files into their places, by renames out of the staging directory. As with dpkg, a directory that is
    /// there stays as it is; any other file is replaced.
    ///
    /// - Parameter holdsConffiles: whether conffiles get the name under which dpkg keeps them until it configures the package.
    func place(_ package: StagedPackage, holdsConffiles: Bool) throws(AssemblyFault) {
        let held = holdsConffiles ? package.package.conffiles : []
        for member in package.members {
            let path = member.path + (held.contains(member.path) ? Self.newConffile : "")
            switch member.kind {
            case .directory:
                if let there = try status(path, following: true), there.st_mode & S_IFMT == S_IFDIR { continue }
                try makeDirectory(path)
                try setAttributes(
                    ofDirectory: path, permissions: member.permissions, owner: member.owner, group: member.group)
            case .regular(let staged): try take(staged, as: path)
            case .symbolicLink(let target):
                try removeFile(path)
                try makeSymbolicLink(
                    path, to: target, owner: member.owner, group: member.group, modified: member.modified)
            case .hardLink(let target):
                try removeFile(path)
                try makeHardLink(path, to: target)
            }
        }
    }
}
