public import Fault
import FileIO
public import SystemPackage

extension FileTree {
    /// Reads the directory `root` of the build machine as a tree. Contents stay where they are and are read by the writers.
    ///
    /// Sockets are left out, as they mean nothing without the process that listens. Hard links inside `root` stay hard links.
    ///
    /// - Parameters:
    ///   - latestTime: modification times after this one become this one (the `SOURCE_DATE_EPOCH` rule).
    ///   - refusesSockets: whether a socket is an error instead.
    public init(
        scanning root: FilePath, latestTime: Int64, refusingSockets refusesSockets: Bool = false
    ) throws(FileTreeFault) {
        self.init(modified: latestTime)
        var firstNames: [UInt64: String] = [:]
        let rootInode: FileInode
        do throws(FileIOFault) {
            rootInode = try Self.inode(at: root, latestTime: latestTime).inode
        } catch {
            throw FileTreeFault(.unreadable, "cannot read the tree", at: .path(root.string), cause: error)
        }
        try insert(rootInode, at: "")
        var pending = [""]
        while let directory = pending.popLast() {
            let place = directory.isEmpty ? root : root.appending(directory)
            let names: [String]
            do throws(FileIOFault) { names = try place.directoryEntries() } catch {
                throw FileTreeFault(.unreadable, "cannot list the directory", at: .path(place.string), cause: error)
            }
            for name in names {
                let path = directory.isEmpty ? name : directory + "/" + name
                guard !name.unicodeScalars.contains("\u{FFFD}") else {
                    throw FileTreeFault(.badName, "the file name is not valid UTF-8", at: .path(path))
                }
                guard identity(of: path) == nil else {
                    throw FileTreeFault(
                        .badName, "two names here differ only in Unicode normalisation", at: .path(path))
                }
                let isKnown = try scan(
                    path, at: place.appending(name), latestTime: latestTime, firstNames: &firstNames)
                guard isKnown || !refusesSockets else {
                    throw FileTreeFault(.badName, "is a socket, which no image can hold", at: .path(path))
                }
                if case .directory? = self[path]?.kind { pending.append(path) }
            }
        }
    }

    /// Adds what is at `place`, and says whether a tree can have it.
    private mutating func scan(
        _ path: String, at place: FilePath, latestTime: Int64, firstNames: inout [UInt64: String]
    ) throws(FileTreeFault) -> Bool {
        let scanned: (inode: FileInode?, status: FileStatus)
        do throws(FileIOFault) { scanned = try Self.scannedInode(at: place, latestTime: latestTime) } catch {
            throw FileTreeFault(.unreadable, "cannot read the file", at: .path(place.string), cause: error)
        }
        guard let inode = scanned.inode else { return false }
        if case .symbolicLink(let target) = inode.kind, target.unicodeScalars.contains("\u{FFFD}") {
            throw FileTreeFault(.badName, "the symbolic link's target is not valid UTF-8", at: .path(path))
        }
        if scanned.status.linkCount > 1, scanned.status.kind != .directory {
            if let first = firstNames[scanned.status.inode] {
                try link(path, to: first)
                return true
            }
            firstNames[scanned.status.inode] = path
        }
        try insert(inode, at: path)
        return true
    }

    private static func inode(at place: FilePath, latestTime: Int64) throws(FileIOFault) -> (
        inode: FileInode, status: FileStatus
    ) {
        let scanned = try scannedInode(at: place, latestTime: latestTime)
        guard let inode = scanned.inode else {
            throw FileIOFault(.other, "a socket where a directory is expected", at: .path(place.string))
        }
        return (inode, scanned.status)
    }

    private static func scannedInode(at place: FilePath, latestTime: Int64) throws(FileIOFault) -> (
        inode: FileInode?, status: FileStatus
    ) {
        let status = try FileStatus(of: place)
        let device = DeviceNumber(status.representedDevice)
        let kind: FileInode.Kind
        switch status.kind {
        case .directory: kind = .directory
        case .regular: kind = .regular(.file(place, size: status.size))
        case .symbolicLink: kind = .symbolicLink(target: try place.symbolicLinkTarget())
        case .characterDevice: kind = .characterDevice(major: device.major, minor: device.minor)
        case .blockDevice: kind = .blockDevice(major: device.major, minor: device.minor)
        case .fifo: kind = .fifo
        case .socket: return (nil, status)
        }
        let inode = FileInode(
            kind, permissions: status.permissions, owner: status.owner, group: status.group,
            modified: min(status.modified, latestTime), extendedAttributes: try place.extendedAttributes())
        return (inode, status)
    }
}
