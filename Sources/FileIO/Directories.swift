import CLinux
public import Fault
import Glibc
public import SystemPackage

extension FilePath {
    /// Whether there is something at this path, a dangling symbolic link included.
    public var exists: Bool { (try? FileStatus(of: self)) != nil }

    /// Makes the directory and those above it that are missing.
    public func makeDirectories(permissions: FilePermissions = FilePermissions(rawValue: 0o755)) throws(FileIOFault) {
        if mkdir(string, permissions.rawValue) == 0 { return }
        switch Glibc.errno {
        case EEXIST:
            guard try FileStatus(following: self).kind == .directory else {
                throw FileIOFault(.exists, "is there and is not a directory", at: .path(string))
            }
        case ENOENT:
            let parent = removingLastComponent()
            guard !parent.isEmpty, parent != self else { throw .last("cannot make the directory", at: self) }
            try parent.makeDirectories(permissions: permissions)
            guard mkdir(string, permissions.rawValue) == 0 || Glibc.errno == EEXIST else {
                throw .last("cannot make the directory", at: self)
            }
        default: throw .last("cannot make the directory", at: self)
        }
    }

    /// The names in the directory in byte order, without `.` and `..`.
    public func directoryEntries() throws(FileIOFault) -> [String] {
        try rawEntries().map { String(decoding: $0, as: UTF8.self) }
            .sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) }
    }

    /// The names in the directory, which need not be UTF-8, without `.` and `..`.
    private func rawEntries() throws(FileIOFault) -> [[UInt8]] {
        guard let stream = withPlatformString({ opendir($0) }) else {
            throw .last("cannot list the directory", at: self)
        }
        defer { closedir(stream) }
        var names: [[UInt8]] = []
        while true {
            Glibc.errno = 0
            guard let entry = readdir(stream) else {
                guard Glibc.errno == 0 else { throw .last("cannot list the directory", at: self) }
                break
            }
            let name = withUnsafeBytes(of: &entry.pointee.d_name) { Array($0.prefix { $0 != 0 }) }
            if !name.elementsEqual(".".utf8) && !name.elementsEqual("..".utf8) { names.append(name) }
        }
        return names
    }

    /// Removes the file, or the directory and all below it, without following symbolic links. Nothing there is no error.
    public func removeTree() throws(FileIOFault) {
        if withPlatformString({ unlink($0) }) == 0 || Glibc.errno == ENOENT { return }
        guard Glibc.errno == EISDIR || Glibc.errno == EPERM else { throw .last("cannot remove", at: self) }
        for name in try rawEntries() {
            let characters = name.map { CInterop.PlatformChar(bitPattern: $0) } + [0]
            guard let component = FilePath.Component(platformString: characters) else { continue }
            try appending(component).removeTree()
        }
        guard withPlatformString({ rmdir($0) }) == 0 || Glibc.errno == ENOENT else {
            throw .last("cannot remove", at: self)
        }
    }

    /// Gives the file at this path the name `destination`, replacing what is there, without flushing.
    public func rename(to destination: FilePath) throws(FileIOFault) {
        guard Glibc.rename(string, destination.string) == 0 else {
            throw .last("cannot rename to \(destination)", at: self)
        }
    }

    /// Where a symbolic link leads.
    public func symbolicLinkTarget() throws(FileIOFault) -> String {
        var buffer = [CChar](repeating: 0, count: Int(PATH_MAX))
        let count = buffer.withUnsafeMutableBufferPointer { bytes in
            bytes.baseAddress.map { readlink(string, $0, bytes.count) } ?? -1
        }
        guard count >= 0 else { throw .last("cannot read the symbolic link", at: self) }
        return String(decoding: buffer[..<count].map(UInt8.init(bitPattern:)), as: UTF8.self)
    }

    /// The absolute path of what is there, with every symbolic link followed.
    public func resolved() throws(FileIOFault) -> FilePath {
        guard let path = realpath(string, nil) else { throw .last("cannot resolve the path", at: self) }
        defer { free(path) }
        return FilePath(String(cString: path))
    }

    /// Bytes that an unprivileged user can still write on the file system that holds this path.
    public func availableSpace() throws(FileIOFault) -> Int64 {
        var raw = statvfs()
        let file = try OpenFile(reading: self)
        guard fstatvfs(file.descriptor.rawValue, &raw) == 0 else { throw .last("cannot read the free space", at: self) }
        return Int64(clamping: UInt64(raw.f_bavail) * UInt64(raw.f_frsize))
    }
}

/// A directory of its own that is removed with all that is in it when it goes out of scope.
public struct TemporaryDirectory: ~Copyable, Sendable {
    /// Its path.
    public let path: FilePath
    /// Locked for as long as the directory is in use, by whichever process.
    private let lock: OpenFile

    /// Makes one inside `parent` (`$TMPDIR` or /var/tmp unless given), whose name begins with `prefix`.
    public init(prefix: String = "ballast", in parent: FilePath? = nil) throws(FileIOFault) {
        path = Self.parent(parent).appending("\(prefix)-\(getpid())-\(UInt64.random(in: 0...(.max)))")
        guard mkdir(path.string, 0o700) == 0 else {
            let fault = FileIOFault.last("cannot make a temporary directory", at: path)
            guard parent == nil, getenv("TMPDIR") != nil, fault.code == .notFound || fault.code == .notPermitted else {
                throw fault
            }
            throw FileIOFault(
                fault.code, fault.message, at: fault.place,
                remedy: "set TMPDIR to a directory that can be written, or unset it",
                cause: fault.cause)
        }
        let file = try OpenFile(path, .readOnly, options: [.directory, .noFollow])
        _ = flock(file.descriptor.rawValue, LOCK_EX | LOCK_NB)
        // Every file inside would inherit the default access control list of `parent`, and none obey its mode.
        for attribute in ["system.posix_acl_default", "system.posix_acl_access"] {
            _ = ballast_remove_attribute(file.descriptor.rawValue, attribute)
        }
        _ = fchmod(file.descriptor.rawValue, 0o700)
        lock = file
    }

    deinit { try? path.removeTree() }

    /// Makes a directory inside for very many files.
    ///
    /// ext4 puts files near their directory, and searches long among inodes that were freed in the last minutes, such as those
    /// of the last build. So it is asked to put this directory somewhere else each time.
    ///
    /// - Parameter name: what to call it.
    public func makeRoomyDirectory(_ name: String) throws(FileIOFault) -> FilePath {
        // It goes by the directory's name, so that the name is another one each time too.
        _ = ballast_spread_subdirectories(lock.descriptor.rawValue)
        let directory = path.appending("\(path.lastComponent?.string ?? "files")-\(name)")
        try directory.makeDirectories(permissions: .ownerReadWriteExecute)
        return directory
    }

    /// Where temporary directories are made: `given`, or `$TMPDIR`, or /var/tmp.
    public static func parent(_ given: FilePath?) -> FilePath {
        given ?? FilePath(getenv("TMPDIR").map { String(cString: $0) } ?? "/var/tmp")
    }

    /// Removes this user's directories of that `prefix` inside `parent` whose processes were killed.
    ///
    /// - Parameter age: seconds for which nothing was made in one; a younger one may be about to be locked.
    /// - Returns: what was removed.
    public static func removeAbandoned(prefix: String, in parent: FilePath? = nil, age: Int64 = 600) -> [FilePath] {
        let parent = Self.parent(parent)
        var removed: [FilePath] = []
        for name in ((try? parent.directoryEntries()) ?? []).sorted() where name.hasPrefix("\(prefix)-") {
            let path = parent.appending(name)
            var status = stat()
            guard let file = try? OpenFile(path, .readOnly, options: [.directory, .noFollow]),
                fstat(file.descriptor.rawValue, &status) == 0, status.st_uid == geteuid(),
                Int64(time(nil)) - Int64(status.st_mtim.tv_sec) >= age,
                flock(file.descriptor.rawValue, LOCK_EX | LOCK_NB) == 0, (try? path.removeTree()) != nil
            else { continue }
            removed.append(path)
        }
        return removed
    }
}
