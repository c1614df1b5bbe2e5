public import Fault
import FileIO

/// Why a tree cannot take what it is given.
public enum FileTreeFaultCode: String, FaultCode {
    /// A path that leaves the tree, is empty in the middle, or goes through something that is no directory.
    case badPath = "bad-path"
    /// A name that is not UTF-8, or equal to another but for Unicode normalisation.
    case badName = "bad-name"
    /// A kind of file that an image cannot hold, such as a socket.
    case badKind = "bad-kind"
    /// The tree has no such file.
    case notFound = "not-found"
    /// The build machine's file could not be read.
    case unreadable
}

/// A failure of building a file tree.
public typealias FileTreeFault = Fault<FileTreeFaultCode>

/// Everything an image holds, as one value: names that lead to inodes. Two names of one inode are hard links.
///
/// Paths are relative to the image's root, with `/` between the names and none at the ends; the root itself is the empty
/// path. All writers of image formats read this type and nothing else.
public struct FileTree: Sendable {
    /// Which inode a name leads to.
    public struct InodeID: Sendable, Hashable {
        let index: Int
    }

    private var inodes: [FileInode]
    private var names: [String: InodeID]

    /// A tree that has a root directory and nothing in it.
    public init(modified: Int64 = 0) {
        inodes = [FileInode(.directory, permissions: 0o755, modified: modified)]
        names = ["": InodeID(index: 0)]
    }

    /// The number of names, the root's included.
    public var count: Int { names.count }

    /// The inode at `path`, symbolic links not followed.
    public subscript(path: String) -> FileInode? {
        names[path].map { inodes[$0.index] }
    }

    /// The identity of the inode at `path`: equal for hard links of one file.
    public func identity(of path: String) -> InodeID? { names[path] }

    /// The inode with this identity.
    public subscript(id: InodeID) -> FileInode { inodes[id.index] }

    /// All paths, the root's first, in byte order of their names level by level: a directory stands before what is in it,
    /// and the order does not depend on the order of insertion.
    public func sortedPaths() -> [String] {
        names.keys.sorted { Self.precedes($0, $1) }
    }

    /// Byte order with `/` before every other byte, so that a directory's content follows it immediately.
    public static func precedes(_ left: String, _ right: String) -> Bool {
        left.utf8.lazy.map { $0 == UInt8(ascii: "/") ? 0 : $0 }.lexicographicallyPrecedes(
            right.utf8.lazy.map { $0 == UInt8(ascii: "/") ? 0 : $0 })
    }

    /// Puts `inode` at `path`, replacing what is there. A directory that replaces a directory keeps its content; anything
    /// else takes the place of all below `path`. Missing directories above are made, owned by root.
    public mutating func insert(_ inode: FileInode, at path: String) throws(FileTreeFault) {
        try prepareParents(of: path)
        if let existing = names[path] {
            if case .directory = inodes[existing.index].kind, case .directory = inode.kind {
                inodes[existing.index] = inode
                return
            }
            guard !path.isEmpty else {
                throw FileTreeFault(.badPath, "the root can only be a directory", at: .path("/"))
            }
            remove(path)
        }
        names[path] = InodeID(index: inodes.count)
        inodes.append(inode)
    }

    /// Gives the inode at `target`, which must not be a directory, the further name `path`.
    public mutating func link(_ path: String, to target: String) throws(FileTreeFault) {
        guard let id = names[target] else {
            throw FileTreeFault(.notFound, "a hard link to '\(target)', which is not there", at: .path(path))
        }
        if case .directory = inodes[id.index].kind {
            throw FileTreeFault(.badKind, "a hard link to the directory '\(target)'", at: .path(path))
        }
        try prepareParents(of: path)
        remove(path)
        names[path] = id
    }

    /// Changes the inode at `path`, for all its names. Nothing there is no error.
    public mutating func modify(_ path: String, _ change: (inout FileInode) -> Void) {
        if let id = names[path] { change(&inodes[id.index]) }
    }

    /// Changes every inode once.
    public mutating func modifyAll(_ change: (inout FileInode) -> Void) {
        for index in inodes.indices { change(&inodes[index]) }
    }

    /// Removes `path` and all below it. Nothing there is no error; the root stays, empty.
    public mutating func remove(_ path: String) {
        guard let id = names[path] else { return }
        if !path.isEmpty { names[path] = nil }
        guard case .directory = inodes[id.index].kind else { return }
        for name in descendants(of: path) { names[name] = nil }
    }

    /// Removes all paths that `matches` accepts, with all below them.
    public mutating func removeAll(where matches: (String) -> Bool) {
        for path in names.keys where !path.isEmpty && matches(path) { remove(path) }
    }

    /// All paths below the directory `path`, in no order.
    public func descendants(of path: String) -> [String] {
        guard !path.isEmpty else { return names.keys.filter { !$0.isEmpty } }
        let prefix = Array((path + "/").utf8)
        return names.keys.filter { $0.utf8.starts(with: prefix) }
    }

    /// The tree of what is in the directory `path`, with that directory as its root. Hard links out of it are cut.
    public func subtree(at path: String) throws(FileTreeFault) -> FileTree {
        guard let root = self[path], case .directory = root.kind else {
            throw FileTreeFault(.notFound, "there is no such directory in the tree", at: .path(path))
        }
        var tree = FileTree()
        try tree.insert(root, at: "")
        var firstNames: [InodeID: String] = [:]
        for name in descendants(of: path).sorted(by: Self.precedes) {
            guard let id = names[name] else { continue }
            let short = path.isEmpty ? name : String(name.dropFirst(path.count + 1))
            if let first = firstNames[id] {
                try tree.link(short, to: first)
            } else {
                try tree.insert(inodes[id.index], at: short)
                if case .directory = inodes[id.index].kind { continue }
                firstNames[id] = short
            }
        }
        return tree
    }

    /// The regular file's bytes at `path`, hard and symbolic links followed inside the tree.
    public func contents(of path: String) throws(FileTreeFault) -> [UInt8] {
        guard let resolved = resolve(path), let inode = self[resolved], case .regular(let content) = inode.kind else {
            throw FileTreeFault(.notFound, "there is no such file in the tree", at: .path(path))
        }
        do throws(FileIOFault) { return try content.load() } catch {
            throw FileTreeFault(.unreadable, "cannot read the file's content", at: .path(path), cause: error)
        }
    }

    /// The path without symbolic links that `path` leads to inside this tree, or nil where it leads nowhere.
    public func resolve(_ path: String) -> String? {
        var pending = path.split(separator: "/").map(String.init)[...]
        var resolved: [String] = []
        var linksLeft = 40
        while let name = pending.popFirst() {
            if name == "." { continue }
            if name == ".." {
                _ = resolved.popLast()
                continue
            }
            let here = (resolved + [name]).joined(separator: "/")
            guard let inode = self[here] else { return nil }
            guard case .symbolicLink(let target) = inode.kind else {
                resolved.append(name)
                continue
            }
            guard linksLeft > 0 else { return nil }
            linksLeft -= 1
            if target.hasPrefix("/") { resolved = [] }
            pending = (target.split(separator: "/").map(String.init) + pending)[...]
        }
        return resolved.joined(separator: "/")
    }

    private mutating func prepareParents(of path: String) throws(FileTreeFault) {
        guard !path.isEmpty else { return }
        guard !path.utf8.contains(0) else { throw FileTreeFault(.badPath, "a NUL byte in a path", at: .path(path)) }
        let components = path.split(separator: "/", omittingEmptySubsequences: false)
        guard components.allSatisfy({ !$0.isEmpty && $0 != "." && $0 != ".." && $0.utf8.count <= 255 }) else {
            throw FileTreeFault(
                .badPath, "a path with an empty, '.', '..' or overlong component cannot be in an image", at: .path(path)
            )
        }
        var parent = ""
        for component in components.dropLast() {
            parent += parent.isEmpty ? component : "/" + component
            if let id = names[parent] {
                guard case .directory = inodes[id.index].kind else {
                    throw FileTreeFault(.badPath, "'\(parent)' is not a directory", at: .path(path))
                }
            } else {
                names[parent] = InodeID(index: inodes.count)
                inodes.append(FileInode(.directory, permissions: 0o755, modified: inodes.first?.modified ?? 0))
            }
        }
    }
}
