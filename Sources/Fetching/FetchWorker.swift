import CLinux
public import Fault
import FileIO
import Glibc
import JSON
public import SystemPackage
import Transfer

/// Fetches for a process that has more rights than it: from one connection, one order after the other. It is the part that
/// reads what anybody may have written: names, TLS, HTTP, zstd.
public struct FetchWorker {
    /// How long it stays without an order, in seconds.
    private static let idleSeconds = 60
    /// How long the other side may leave what comes unread, in seconds.
    private static let patience = 600

    private let channel: MessageChannel
    private let fetcher = DirectFetcher()

    /// A worker for who is at the other end of the stream socket `descriptor`, which it takes over.
    public init(owning descriptor: CInt) { channel = MessageChannel(owning: descriptor) }

    /// Works until the other side leaves, gives no order for a while or breaks the protocol.
    public func run() {
        var buffer: [UInt8] = []
        do {
            while let kind = try channel.receive(into: &buffer, seconds: Self.idleSeconds) {
                guard kind == .order else { return }
                let answer = try answer(WorkOrder(parsing: buffer))
                try Array(answer.compactText.utf8).withUnsafeBytes {
                    try channel.send(.answer, $0, seconds: Self.patience)
                }
            }
        } catch {
            // Whoever gave the order sees the connection end.
        }
    }

    /// Whether `descriptor` is a socket.
    public static func isSocket(_ descriptor: CInt) -> Bool {
        var status = stat()
        return fstat(descriptor, &status) == 0 && status.st_mode & S_IFMT == S_IFSOCK
    }

    /// Makes a socket at `path`, for root alone, and starts a worker, this executable's verb `fetch`, for each who connects to it, as
    /// systemd does where it is. Returns only with a failure.
    public static func serve(at path: FilePath) throws(FetchWorkerFault) {
        do throws(FileIOFault) { try path.removingLastComponent().makeDirectories() } catch {
            throw FetchWorkerFault(.socket, "cannot be made", at: .path(path.string), cause: error)
        }
        unlink(path.string)
        let old = umask(0o177)
        let listener = ballast_listen_unix(path.string)
        let problem = Errno(rawValue: errno)
        umask(old)
        guard listener >= 0 else {
            throw FetchWorkerFault(.socket, "no socket can be made", at: .path(path.string), cause: problem)
        }
        defer { close(listener) }
        // Workers that have ended wait for nobody.
        signal(SIGCHLD, SIG_IGN)
        while true {
            let connection = ballast_accept(listener)
            if connection >= 0 {
                start(for: connection)
                close(connection)
            } else if errno != EINTR && errno != ECONNABORTED {
                throw FetchWorkerFault(
                    .socket, "no more connections can be taken", at: .path(path.string), cause: Errno(rawValue: errno))
            }
        }
    }

    private static func start(for connection: CInt) {
        var actions = posix_spawn_file_actions_t()
        var attributes = posix_spawnattr_t()
        posix_spawn_file_actions_init(&actions)
        posix_spawnattr_init(&attributes)
        defer {
            posix_spawn_file_actions_destroy(&actions)
            posix_spawnattr_destroy(&attributes)
        }
        posix_spawn_file_actions_adddup2(&actions, connection, STDIN_FILENO)
        // Whoever started this process may have had signals blocked.
        var none = sigset_t()
        sigemptyset(&none)
        posix_spawnattr_setsigmask(&attributes, &none)
        posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGMASK))
        let arguments: [UnsafeMutablePointer<CChar>?] =
            ["ballastd", "fetch"].map { (word: String) in strdup(word) } + [nil]
        defer { for argument in arguments { free(argument) } }
        var child = pid_t()
        // Where none can be started, whoever has connected sees the connection end.
        _ = posix_spawn(&child, "/proc/self/exe", &actions, &attributes, arguments, environ)
    }

    private func answer(_ order: WorkOrder) -> JSONValue {
        switch order {
        case .connect(let host, let port, let seconds):
            let problem = fetcher.connectionProblem(host: host, port: port, seconds: seconds)
            return ["problem": problem.map { .string($0) } ?? .null]
        case .fetch(let request):
            return fetcher.fetch(request, isCancelled: { channel.isClosedByPeer }) { bytes, received in
                try withUnsafeBytes(of: UInt64(received).bigEndian) {
                    try channel.send(.data, $0, bytes, seconds: Self.patience)
                }
            }.json
        }
    }
}

/// Why a worker does not work.
public enum FetchWorkerFaultCode: String, FaultCode {
    /// Nobody can reach it.
    case socket
}

/// A failure of a worker.
public typealias FetchWorkerFault = Fault<FetchWorkerFaultCode>
