import CLinux
public import Fault
import Glibc
public import SystemPackage

/// What `lstat(2)` says of a file.
public struct FileStatus: Sendable, Hashable {
    /// The kind of a file.
    public enum Kind: Sendable, Hashable {
        case regular, directory, symbolicLink, characterDevice, blockDevice, fifo, socket
    }

    /// The kind.
    public let kind: Kind
    /// Permission bits with set-user-ID, set-group-ID and sticky: the low 12 bits of the mode.
    public let permissions: UInt16
    /// The numeric owner.
    public let owner: UInt32
    /// The numeric group.
    public let group: UInt32
    /// The size in bytes.
    public let size: Int64
    /// The number of names.
    public let linkCount: Int
    /// The inode's number in `device`.
    public let inode: UInt64
    /// The file system's device number.
    public let device: UInt64
    /// For a device file, which device it stands for.
    public let representedDevice: UInt64
    /// The modification time in whole seconds since 1970.
    public let modified: Int64

    init(_ raw: stat) {
        kind =
            switch raw.st_mode & S_IFMT {
            case S_IFDIR: .directory
            case S_IFLNK: .symbolicLink
            case S_IFCHR: .characterDevice
            case S_IFBLK: .blockDevice
            case S_IFIFO: .fifo
            case S_IFSOCK: .socket
            default: .regular
            }
        permissions = UInt16(raw.st_mode & 0o7777)
        owner = raw.st_uid
        group = raw.st_gid
        size = Int64(raw.st_size)
        linkCount = Int(raw.st_nlink)
        inode = UInt64(raw.st_ino)
        device = UInt64(raw.st_dev)
        representedDevice = UInt64(raw.st_rdev)
        modified = Int64(raw.st_mtim.tv_sec)
    }

    /// The status of `path` itself, also where it is a symbolic link.
    public init(of path: FilePath) throws(FileIOFault) {
        var raw = stat()
        guard lstat(path.string, &raw) == 0 else { throw .last("cannot read the status", at: path) }
        self.init(raw)
    }

    /// The status of what `path` leads to, symbolic links followed.
    public init(following path: FilePath) throws(FileIOFault) {
        var raw = stat()
        guard fstatat(AT_FDCWD, path.string, &raw, 0) == 0 else { throw .last("cannot read the status", at: path) }
        self.init(raw)
    }
}

/// A device number taken apart as `major(3)` and `minor(3)` do.
public struct DeviceNumber: Sendable, Hashable {
    /// The driver's number.
    public let major: UInt32
    /// The driver's own number for the device.
    public let minor: UInt32

    /// Takes apart what `stat(2)` gives.
    public init(_ raw: UInt64) {
        major = ballast_device_major(raw)
        minor = ballast_device_minor(raw)
    }
}
