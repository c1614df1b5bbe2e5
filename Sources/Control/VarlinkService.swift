import CLinux
import Fault
import Glibc
public import JSON
import Synchronization

/// One Varlink interface, as a server offers it beside `org.varlink.service`.
public protocol VarlinkService: Sendable {
    /// The interface's name, such as `io.ballast.Update`.
    var interface: String { get }
    /// The interface in Varlink's definition language.
    var interfaceDescription: String { get }

    /// Answers a call of one of the interface's methods; runs on the connection's own thread and may block.
    ///
    /// - Returns: the last answer, an object.
    func answer(_ request: VarlinkRequest) throws(VarlinkError) -> JSONValue
}

/// A call while it is being answered.
public final class VarlinkRequest: Sendable {
    /// What is asked.
    public let call: VarlinkCall
    /// Who asks.
    public let caller: Caller

    private let writer: MessageWriter
    private let socket: Socket
    /// How long the caller may leave an answer unread.
    private let patience: Duration
    private let isFinished = Mutex(false)
    /// Told that the last answer will not come by itself.
    private let onEndless: @Sendable () -> Void

    init(
        _ call: VarlinkCall, from caller: Caller, writer: MessageWriter, socket: Socket, patience: Duration,
        onEndless: @escaping @Sendable () -> Void = {}
    ) {
        self.onEndless = onEndless
        self.patience = patience
        self.call = call
        self.caller = caller
        self.writer = writer
        self.socket = socket
    }

    /// Whether the caller has closed its end.
    public var hasCallerLeft: Bool {
        var entry = pollfd(fd: socket.descriptor, events: Int16(ballast_poll_peer_closed), revents: 0)
        return poll(&entry, 1, 0) > 0 && entry.revents != 0
    }

    /// Sends an answer that more answers follow, if the caller wants more than one and its socket takes it at once. Never
    /// waits, may come from any thread, and does nothing once the call has been answered or the caller has left.
    public func offer(_ parameters: JSONValue) {
        guard call.mode == .more else { return }
        _ = isFinished.withLockIfAvailable { isFinished in
            if !isFinished { writer.offer(VarlinkReply(parameters, continues: true).json) }
        }
    }

    /// Sends what comes into `queue` until the caller has left.
    func forward(_ queue: NewsQueue) {
        onEndless()
        while true {
            for news in queue.take() {
                do throws(ControlFault) {
                    try writer.send(VarlinkReply(news, continues: true).json, patience: patience)
                } catch { return }
            }
            // Only that the caller has closed counts here: what it may have sent since is not due yet.
            var entries = [
                pollfd(fd: socket.descriptor, events: 0, revents: 0),
                pollfd(fd: queue.wakeUp.descriptor, events: Int16(POLLIN), revents: 0),
            ]
            guard poll(&entries, 2, -1) > 0 || errno == EINTR else { return }
            if entries[0].revents != 0 { return }
        }
    }

    /// Ends the call with its last answer.
    func finish(_ reply: VarlinkReply) throws(ControlFault) {
        isFinished.withLock { $0 = true }
        guard call.mode != .oneway else { return }
        try writer.send(reply.json, patience: patience)
    }
}

/// News for one caller, from any thread. Where the caller is slow, the oldest go.
final class NewsQueue: Sendable {
    let wakeUp: WakeUp
    private let news = Mutex<[JSONValue]>([])
    private let capacity: Int

    init(capacity: Int = 64) throws(ControlFault) {
        wakeUp = try WakeUp()
        self.capacity = capacity
    }

    func add(_ value: JSONValue) {
        news.withLock { news in
            if news.count >= capacity { news.removeFirst() }
            news.append(value)
        }
        wakeUp.raise()
    }

    func take() -> [JSONValue] {
        wakeUp.clear()
        return news.withLock { news in
            let taken = news
            news = []
            return taken
        }
    }
}
