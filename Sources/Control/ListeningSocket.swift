import CLinux
public import Fault
import Glibc

/// A unix stream socket that others connect to.
public final class ListeningSocket: Sendable {
    let socket: Socket
    /// Where it stands, and the file's identity, for one that this process has made.
    private let owned: (path: String, device: UInt64, inode: UInt64)?

    /// Makes a socket at `path` that every user may connect to. One that a dead process left is replaced, by a rename, so
    /// that there is no moment without a socket.
    ///
    /// - Throws: `busy` when somebody listens there.
    public init(path: String) throws(ControlFault) {
        // The temporary name's limits are not those of the path.
        try Socket.withAddress(of: path) { _, _ in }
        guard !Self.isAnswering(path) else {
            throw ControlFault(
                .busy, "another process listens already", at: .path(path),
                remedy: "stop it first, or choose another path")
        }
        let socket = try Socket.unixStream()
        let temporary = path + ".new"
        unlink(temporary)
        let result = try Socket.withAddress(of: temporary) { bind(socket.descriptor, $0, $1) }
        guard result == 0 else { throw .last(.socket, "cannot make the socket", at: temporary) }
        var status = stat()
        // Who may do what is decided by credentials, so that everybody gets an answer.
        guard chmod(temporary, 0o666) == 0, listen(socket.descriptor, SOMAXCONN) == 0, lstat(temporary, &status) == 0,
            rename(temporary, path) == 0
        else {
            let fault = ControlFault.last(.socket, "cannot make the socket", at: path)
            unlink(temporary)
            throw fault
        }
        self.socket = socket
        owned = (path, UInt64(status.st_dev), UInt64(status.st_ino))
    }

    private init(adopting descriptor: Int32) {
        socket = Socket(owning: descriptor)
        owned = nil
    }

    /// The socket that systemd passed to this process (sd_listen_fds(3)), or nil where it passed none. The environment's
    /// variables are removed, so that no child takes them for its own.
    ///
    /// - Throws: `socket` when what was passed is no listening unix stream socket.
    public static func activated() throws(ControlFault) -> ListeningSocket? {
        let variables = ["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "LISTEN_PIDFDID"]
        let values = variables.map { getenv($0).map { String(cString: $0) } }
        for name in variables { unsetenv(name) }
        guard let process = values[0].flatMap({ Int32($0) }), process == getpid(),
            let count = values[1].flatMap({ Int32($0) }), count > 0
        else { return nil }
        let names = values[2]?.split(separator: ":", omittingEmptySubsequences: false).map(String.init) ?? []
        let position = names.firstIndex(of: "varlink").flatMap { Int32(exactly: $0) } ?? 0
        guard position < count else { return nil }
        // SD_LISTEN_FDS_START.
        let descriptor = 3 + position
        guard option(SO_DOMAIN, of: descriptor) == AF_UNIX, option(SO_ACCEPTCONN, of: descriptor) == 1,
            option(SO_TYPE, of: descriptor) == Int32(SOCK_STREAM.rawValue)
        else {
            throw ControlFault(
                .socket, "descriptor \(descriptor) from systemd is no listening unix stream socket",
                remedy: "give ballastd.socket a ListenStream= that is a path, and no Accept=yes")
        }
        _ = fcntl(descriptor, F_SETFD, FD_CLOEXEC)
        return ListeningSocket(adopting: descriptor)
    }

    deinit {
        guard let owned else { return }
        var status = stat()
        // A later process may have put its own socket there.
        guard lstat(owned.path, &status) == 0, UInt64(status.st_dev) == owned.device,
            UInt64(status.st_ino) == owned.inode
        else { return }
        unlink(owned.path)
    }

    /// The next connection, or nil when there is none after all.
    func accept() -> Socket? {
        let descriptor = ballast_accept(socket.descriptor)
        return descriptor < 0 ? nil : Socket(owning: descriptor)
    }

    private static func isAnswering(_ path: String) -> Bool {
        guard let probe = try? Socket.unixStream(),
            let result = try? Socket.withAddress(of: path, { connect(probe.descriptor, $0, $1) })
        else { return false }
        return result == 0
    }

    private static func option(_ option: Int32, of descriptor: Int32) -> Int32? {
        var value: Int32 = 0
        var size = socklen_t(MemoryLayout<Int32>.size)
        return getsockopt(descriptor, SOL_SOCKET, option, &value, &size) == 0 ? value : nil
    }
}
