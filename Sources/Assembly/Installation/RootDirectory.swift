import CLinux
import Fault
import FileIO
import FileTree
import Glibc
import SystemPackage

/// The directory that becomes the image's root, written so that no path and no symbolic link in it leads out.
///
/// Every path is resolved by openat2(2) with RESOLVE_IN_ROOT, as a chroot would, which also makes `/lib/x` land in `/usr/lib/x`
/// on a merged-/usr tree. One value is for one thread.
final class RootDirectory {
    let path: FilePath
    private let descriptor: CInt
    private var parents: [String: CInt] = [:]

    init(_ path: FilePath) throws(AssemblyFault) {
        self.path = path
        descriptor = Glibc.open(path.string, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard descriptor >= 0 else {
            throw AssemblyFault(
                .inputOutput, "cannot open the root directory", at: .path(path.string), cause: Errno(rawValue: errno))
        }
    }

    deinit {
        forgetParents()
        close(descriptor)
    }

    /// Closes the directories that are kept open, so that they are looked up again.
    func forgetParents() {
        for parent in parents.values { close(parent) }
        parents.removeAll(keepingCapacity: true)
    }

    /// The components of a path from an archive or a manifest, checked.
    static func components(of path: String) throws(AssemblyFault) -> [String] {
        let components = path.split(separator: "/").filter { $0 != "." }.map(String.init)
        guard !components.contains(".."), !path.utf8.contains(0) else {
            throw AssemblyFault(.badPackage, "a path that leaves the image's root", at: .path(path))
        }
        return components
    }

    /// What to do where the file system that the build works on is full.
    static func roomRemedy(_ path: FilePath) -> String {
        "free space on the file system of '\(path)', or have the build work elsewhere by TMPDIR"
    }

    private func failure(_ what: String, _ path: String) -> AssemblyFault {
        let cause = Errno(rawValue: errno)
        return AssemblyFault(
            .inputOutput, what, at: .path(path),
            remedy: cause == .noSpace ? Self.roomRemedy(self.path) : nil, cause: cause)
    }

    /// The open directory that a path's last component is in, made where it is missing, and that component.
    private func parent(of path: String) throws(AssemblyFault) -> (directory: CInt, name: String) {
        var components = try Self.components(of: path)
        guard let name = components.popLast() else { return (descriptor, ".") }
        return (try directory(components), name)
    }

    private func directory(_ components: [String]) throws(AssemblyFault) -> CInt {
        if components.isEmpty { return descriptor }
        let key = components.joined(separator: "/")
        if let known = parents[key] { return known }
        var found = ballast_open_in_root(descriptor, key, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0)
        if found < 0, errno == ENOENT {
            let above = try directory(components.dropLast())
            var isNew = true
            if let name = components.last, mkdirat(above, name, 0o755) != 0 { isNew = false }
            guard isNew || errno == EEXIST else { throw failure("cannot make the directory", key) }
            found = ballast_open_in_root(descriptor, key, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0)
            // mkdirat(2) obeys the caller's umask.
            if isNew, found >= 0, fchmod(found, 0o755) != 0 { throw failure("cannot set the directory's mode", key) }
        }
        guard found >= 0 else { throw failure("cannot enter the directory", key) }
        if parents.count >= 256 { forgetParents() }
        parents[key] = found
        return found
    }

    /// Makes a directory; one that is there, or a symbolic link to one, stays as it is.
    func makeDirectory(_ path: String) throws(AssemblyFault) {
        _ = try directory(Self.components(of: path))
    }

    /// Sets a directory's mode and owner.
    func setAttributes(ofDirectory path: String, permissions: UInt16, owner: UInt32, group: UInt32)
        throws(AssemblyFault)
    {
        let directory = try directory(Self.components(of: path))
        guard fchown(directory, owner, group) == 0, fchmod(directory, mode_t(permissions)) == 0 else {
            throw failure("cannot set the directory's mode and owner", path)
        }
    }

    /// Sets an extended attribute of a file or directory.
    func setExtendedAttribute(_ path: String, _ name: String, _ value: [UInt8]) throws(AssemblyFault) {
        let key = try Self.components(of: path).joined(separator: "/")
        let found = ballast_open_in_root(descriptor, key, O_RDONLY | O_NONBLOCK | O_CLOEXEC, 0)
        guard found >= 0 else { throw failure("cannot open", path) }
        defer { close(found) }
        guard value.withUnsafeBytes({ ballast_set_attribute(found, name, $0.baseAddress, $0.count) }) == 0 else {
            throw failure("cannot set the attribute '\(name)'", path)
        }
    }

    /// What stat(2) says of the path, its last component not followed unless asked for; nil where there is nothing or where
    /// something above it is no directory. Makes nothing.
    func status(_ path: String, following: Bool = false) throws(AssemblyFault) -> stat? {
        let key = try Self.components(of: path).joined(separator: "/")
        let found = ballast_open_in_root(
            descriptor, key.isEmpty ? "." : key, ballast_path_only | O_CLOEXEC | (following ? 0 : O_NOFOLLOW), 0)
        guard found >= 0 else {
            guard errno == ENOENT || errno == ENOTDIR || errno == ELOOP else { throw failure("cannot look at", path) }
            return nil
        }
        defer { close(found) }
        var status = stat()
        guard fstat(found, &status) == 0 else { throw failure("cannot look at", path) }
        return status
    }

    /// Gives the file `staged`, which is on the same file system, this path, replacing what is there.
    func take(_ staged: FilePath, as path: String) throws(AssemblyFault) {
        let (directory, name) = try parent(of: path)
        guard renameat(AT_FDCWD, staged.string, directory, name) == 0 else {
            throw failure("cannot put the file in its place", path)
        }
    }

    /// The names in a directory in byte order, without `.` and `..`; none where there is no such directory.
    func entries(_ path: String) throws(AssemblyFault) -> [String] {
        let key = try Self.components(of: path).joined(separator: "/")
        let found = ballast_open_in_root(
            descriptor, key.isEmpty ? "." : key, O_RDONLY | O_DIRECTORY | O_NONBLOCK | O_CLOEXEC, 0)
        guard found >= 0 else {
            guard errno == ENOENT || errno == ENOTDIR || errno == ELOOP else {
                throw failure("cannot list the directory", path)
            }
            return []
        }
        guard let stream = fdopendir(found) else {
            close(found)
            throw failure("cannot list the directory", path)
        }
        defer { closedir(stream) }
        var names: [String] = []
        while let entry = readdir(stream) {
            let name = withUnsafeBytes(of: &entry.pointee.d_name) {
                String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
            }
            if name != "." && name != ".." { names.append(name) }
        }
        return names.sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) }
    }

    /// Removes a directory where it is empty, and says whether it was.
    func removeEmptyDirectory(_ path: String) throws(AssemblyFault) -> Bool {
        let (directory, name) = try parent(of: path)
        if unlinkat(directory, name, AT_REMOVEDIR) == 0 { return true }
        guard [ENOTEMPTY, EEXIST, ENOENT, ENOTDIR, EBUSY].contains(errno) else {
            throw failure("cannot remove the directory", path)
        }
        return false
    }

    /// Whether a file of any kind has this path, its last component not followed.
    func exists(_ path: String) throws(AssemblyFault) -> Bool {
        let (directory, name) = try parent(of: path)
        return faccessat(directory, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0
    }

    /// Whether a directory has this path, its last component not followed.
    func isDirectory(_ path: String) throws(AssemblyFault) -> Bool {
        let (directory, name) = try parent(of: path)
        var status = stat()
        return fstatat(directory, name, &status, AT_SYMLINK_NOFOLLOW) == 0 && status.st_mode & S_IFMT == S_IFDIR
    }

    /// The content of a regular file, or nil where there is none. Links are followed inside the root.
    func contents(_ path: String) throws(AssemblyFault) -> [UInt8]? {
        // Without O_NONBLOCK, opening a FIFO would wait for a writer.
        let key = try Self.components(of: path).joined(separator: "/")
        let raw = ballast_open_in_root(descriptor, key, O_RDONLY | O_NONBLOCK | O_CLOEXEC, 0)
        guard raw >= 0 else {
            guard errno == ENOENT || errno == ENOTDIR else { throw failure("cannot read the file", path) }
            return nil
        }
        let file = OpenFile(owning: FileDescriptor(rawValue: raw), path: FilePath(path))
        return try attempt("cannot read the file", at: .path(path)) {
            let status = try file.status()
            guard status.kind == .regular else { return nil }
            return try file.bytes(at: 0, count: Int(status.size))
        }
    }

    /// The path without symbolic links at which a file can be mounted to appear at `path` inside the tree.
    ///
    /// Missing directories above it are made.
    func placeToShow(_ path: String) throws(AssemblyFault) -> String {
        func failure(_ cause: (any Error)? = nil) -> AssemblyFault {
            AssemblyFault(
                .configuration, "the build cannot mount a file at '\(path)' in the tree",
                remedy: "look for a script that replaces it or its directory", cause: cause)
        }
        let (directory, name): (CInt, String)
        do throws(AssemblyFault) { (directory, name) = try parent(of: path) } catch { throw failure(error) }
        func place(of directory: CInt) throws(AssemblyFault) -> String {
            try attempt("cannot look at", at: .path(path)) {
                try FilePath("/proc/self/fd/\(directory)").symbolicLinkTarget()
            }
        }
        let (root, above) = (try place(of: descriptor), try place(of: directory))
        var status = stat()
        let isThere = fstatat(directory, name, &status, AT_SYMLINK_NOFOLLOW) == 0
        guard above == root || above.hasPrefix(root + "/"),
            !isThere || status.st_mode & S_IFMT == S_IFREG
        else { throw failure() }
        return "\(above.dropFirst(root.count))/\(name)"
    }

    /// Gives what has this path another name.
    func move(_ path: String, to other: String) throws(AssemblyFault) {
        let (source, name) = try parent(of: path)
        let held = dup(source)
        defer { close(held) }
        let (target, newName) = try parent(of: other)
        guard renameat(held, name, target, newName) == 0 else { throw failure("cannot rename to '\(other)'", path) }
    }

    /// Removes what has this path unless it is a directory.
    func removeFile(_ path: String) throws(AssemblyFault) {
        let (directory, name) = try parent(of: path)
        guard unlinkat(directory, name, 0) == 0 || errno == ENOENT else { throw failure("cannot replace", path) }
    }

    /// Writes a new regular file, whose data `fill` gives.
    func writeFile(
        _ path: String, permissions: UInt16, owner: UInt32, group: UInt32, modified: Int64? = nil,
        extendedAttributes: [String: [UInt8]] = [:],
        fill: (_ write: (UnsafeRawBufferPointer) throws(AssemblyFault) -> Void) throws(AssemblyFault) -> Void
    ) throws(AssemblyFault) {
        let (directory, name) = try parent(of: path)
        let raw = openat(directory, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0o600)
        guard raw >= 0 else { throw failure("cannot create", path) }
        let file = OpenFile(owning: FileDescriptor(rawValue: raw), path: FilePath(path))
        try fill { (bytes) throws(AssemblyFault) in
            do throws(FileIOFault) { try file.append(bytes) } catch {
                let remedy = error.code == .noSpace ? Self.roomRemedy(self.path) : nil
                throw AssemblyFault(
                    .inputOutput, "cannot write the file", at: .path(path), remedy: remedy, cause: error.cause)
            }
        }
        // The owner before the mode: changing the owner clears set-user-ID bits and capabilities.
        guard fchown(raw, owner, group) == 0, fchmod(raw, mode_t(permissions)) == 0 else {
            throw failure("cannot set the mode and owner", path)
        }
        for (attribute, value) in extendedAttributes {
            guard value.withUnsafeBytes({ ballast_set_attribute(raw, attribute, $0.baseAddress, $0.count) }) == 0 else {
                throw failure("cannot set the extended attribute \(attribute)", path)
            }
        }
        if let modified { setTime(modified) { futimens(raw, $0) } }
    }

    /// Writes `content` as a file, replacing what is there, a piece at a time.
    func replaceFile(
        _ path: String, with content: FileInode.Content, permissions: UInt16 = 0o644, owner: UInt32 = 0,
        group: UInt32 = 0
    ) throws(AssemblyFault) {
        let pieceSize = 1 << 20
        try removeFile(path)
        try writeFile(path, permissions: permissions, owner: owner, group: group) { (write) throws(AssemblyFault) in
            for offset in stride(from: 0, to: content.size, by: pieceSize) {
                let piece = try attempt("cannot read what is to be the file", at: .path(path)) {
                    try content.load(from: offset, count: pieceSize)
                }
                var failure: AssemblyFault?
                piece.withUnsafeBytes { buffer in
                    do throws(AssemblyFault) { try write(buffer) } catch { failure = error }
                }
                if let failure { throw failure }
            }
        }
    }

    /// Writes `bytes` as a file, replacing what is there.
    func replaceFile(
        _ path: String, with bytes: [UInt8], permissions: UInt16 = 0o644, owner: UInt32 = 0, group: UInt32 = 0
    ) throws(AssemblyFault) {
        try replaceFile(path, with: .bytes(bytes), permissions: permissions, owner: owner, group: group)
    }

    /// Writes `text` as a file, replacing what is there.
    func replaceFile(_ path: String, with text: String, permissions: UInt16 = 0o644) throws(AssemblyFault) {
        try replaceFile(path, with: Array(text.utf8), permissions: permissions)
    }

    func makeSymbolicLink(
        _ path: String, to target: String, owner: UInt32 = 0, group: UInt32 = 0, modified: Int64? = nil
    ) throws(AssemblyFault) {
        let (directory, name) = try parent(of: path)
        guard symlinkat(target, directory, name) == 0 else { throw failure("cannot make the symbolic link", path) }
        guard fchownat(directory, name, owner, group, AT_SYMLINK_NOFOLLOW) == 0 else {
            throw failure("cannot set the owner", path)
        }
        if let modified { setTime(modified) { utimensat(directory, name, $0, AT_SYMLINK_NOFOLLOW) } }
    }

    func makeHardLink(_ path: String, to target: String) throws(AssemblyFault) {
        // The first descriptor may be evicted while the second is looked up, so each is held on its own.
        let (targetDirectory, targetName) = try parent(of: target)
        let held = dup(targetDirectory)
        defer { close(held) }
        let (directory, name) = try parent(of: path)
        guard linkat(held, targetName, directory, name, 0) == 0 else {
            throw failure("cannot make the hard link to '\(target)'", path)
        }
    }

    func makeNode(_ path: String, mode: UInt32, device: UInt64, owner: UInt32, group: UInt32) throws(AssemblyFault) {
        let (directory, name) = try parent(of: path)
        guard mknodat(directory, name, mode, dev_t(device)) == 0,
            fchownat(directory, name, owner, group, AT_SYMLINK_NOFOLLOW) == 0,
            fchmodat(directory, name, mode & 0o7777, 0) == 0
        else { throw failure("cannot make the device node", path) }
    }

    private func setTime(_ seconds: Int64, _ call: (UnsafePointer<timespec>) -> CInt) {
        let time = timespec(tv_sec: Int(seconds), tv_nsec: 0)
        _ = withUnsafePointer(to: (time, time)) { pair in
            pair.withMemoryRebound(to: timespec.self, capacity: 2) { call($0) }
        }
    }
}
