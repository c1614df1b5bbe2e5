public import Fault
import Glibc
public import JSON
import Synchronization

/// Calls methods of a Varlink service over a unix socket, one at a time.
public final class VarlinkClient: Sendable {
    private let path: String
    private let writer: MessageWriter
    private let reader: Mutex<MessageReader>

    /// Connects to the socket at `path`.
    ///
    /// - Parameter replyLimit: the most bytes of one answer.
    /// - Throws: `notRunning` when nobody listens there, `notPermitted` when the socket is closed to this user.
    public init(connectingTo path: String, replyLimit: Int = 4 << 20) throws(ControlFault) {
        let socket = try Socket.unixStream()
        let result = try Socket.withAddress(of: path) { connect(socket.descriptor, $0, $1) }
        guard result == 0 else {
            let remedy = "look at 'systemctl status ballastd', and start it with 'systemctl start ballastd'"
            switch errno {
            case ENOENT, ENOTDIR:
                throw ControlFault(
                    .notRunning, "ballastd does not run: there is no socket", at: .path(path), remedy: remedy)
            case ECONNREFUSED, ENOTSOCK:
                throw ControlFault(
                    .notRunning, "ballastd does not run: nobody listens", at: .path(path), remedy: remedy)
            case EACCES, EPERM:
                throw ControlFault(
                    .notPermitted, "this user may not connect", at: .path(path),
                    remedy: "check the modes of the socket and of its directory")
            default: throw .last(.notRunning, "cannot connect", at: path)
            }
        }
        self.path = path
        writer = MessageWriter(socket)
        reader = Mutex(MessageReader(socket, limit: replyLimit))
    }

    /// Calls `method` and returns its answer.
    ///
    /// - Parameter timeout: how long to wait for it, or nil for ever.
    /// - Throws: the method's error; `disconnected` when no answer comes.
    public func call(
        _ method: String, _ parameters: JSONValue = [:], timeout: Duration? = nil
    ) throws(ControlFault) -> JSONValue {
        try send(VarlinkCall(method, parameters))
        return try receive(within: timeout).parameters
    }

    /// Calls `method` and passes all of its answers to `body`, the last one included, until that returns false.
    ///
    /// A caller that has had enough lets go of the client: there is no other way to end a stream.
    ///
    /// - Parameter body: gets the answer and whether more follow.
    public func stream(
        _ method: String, _ parameters: JSONValue = [:], _ body: (JSONValue, Bool) throws(ControlFault) -> Bool
    ) throws(ControlFault) {
        try send(VarlinkCall(method, parameters, mode: .more))
        while true {
            let reply = try receive(within: nil)
            guard try body(reply.parameters, reply.continues), reply.continues else { return }
        }
    }

    private func send(_ call: VarlinkCall) throws(ControlFault) {
        do throws(ControlFault) {
            try writer.send(call.json, patience: .seconds(10))
        } catch {
            // A server that refuses the connection says why before it closes.
            _ = try receive(within: .seconds(1))
            throw error
        }
    }

    private func receive(within timeout: Duration?) throws(ControlFault) -> VarlinkReply {
        let bytes = try reader.withLock { (reader) throws(ControlFault) in
            try reader.next(idle: timeout, completion: .seconds(30))
        }
        guard let bytes else {
            throw ControlFault(
                .disconnected, "the agent ended the connection before it answered", at: .path(path),
                remedy: "look at 'journalctl -u ballastd'")
        }
        let reply = try VarlinkReply(parsing: bytes)
        if let error = reply.error { throw ControlFault(error: error, parameters: reply.parameters) }
        return reply
    }
}
