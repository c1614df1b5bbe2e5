import Fault
import Glibc
package import JSON
import Synchronization

/// Takes messages, each with a NUL at its end, from a socket. Used from one thread.
package struct MessageReader {
    private let socket: Socket
    private let limit: Int
    private var buffer: [UInt8] = []
    /// Where the message that is being read begins in `buffer`, and how far it has been looked through.
    private var start = 0
    private var scanned = 0

    /// Reads `socket`; a message of more than `limit` bytes is refused.
    package init(_ socket: Socket, limit: Int) {
        self.socket = socket
        self.limit = limit
    }

    /// The next message without its NUL, or nil where the other side has ended the stream after a whole one.
    ///
    /// - Parameters:
    ///   - idle: how long to wait for its first byte, or nil for ever.
    ///   - completion: how long it may take from its first byte to its last.
    /// - Throws: `disconnected` when time is up or the stream ends inside a message, `malformed` for one that is too long.
    package mutating func next(idle: Duration?, completion: Duration) throws(ControlFault) -> [UInt8]? {
        var deadline = idle.map { ContinuousClock.now + $0 }
        var isWaitingForFirstByte = true
        while true {
            if start < buffer.count, isWaitingForFirstByte {
                isWaitingForFirstByte = false
                deadline = ContinuousClock.now + completion
            }
            if let end = buffer[scanned...].firstIndex(of: 0) {
                guard end - start <= limit else { throw tooLong }
                defer {
                    start = end + 1
                    scanned = start
                }
                return Array(buffer[start..<end])
            }
            scanned = buffer.count
            guard buffer.count - start <= limit else { throw tooLong }
            guard try fill(until: deadline) else {
                guard isWaitingForFirstByte else {
                    throw ControlFault(.disconnected, "the stream ended inside a message")
                }
                return nil
            }
        }
    }

    private var tooLong: ControlFault {
        ControlFault(.malformed, "a message has more than \(limit) bytes")
    }

    /// Adds what has arrived. False at the end of the stream.
    private mutating func fill(until deadline: ContinuousClock.Instant?) throws(ControlFault) -> Bool {
        if start > 0 {
            buffer.removeFirst(start)
            scanned -= start
            start = 0
        }
        while true {
            guard try socket.wait(for: Int16(POLLIN), until: deadline) else {
                throw ControlFault(.disconnected, "nothing came in time")
            }
            let old = buffer.count
            buffer.append(contentsOf: repeatElement(0, count: 16 << 10))
            let count = buffer.withUnsafeMutableBytes { bytes in
                recv(
                    socket.descriptor, bytes.baseAddress.map { $0 + old }, bytes.count - old,
                    Int32(MSG_DONTWAIT))
            }
            let problem = errno
            buffer.removeLast(buffer.count - old - max(count, 0))
            if count > 0 { return true }
            // A peer that closed with our bytes unread is one that has left.
            if count == 0 || problem == ECONNRESET { return false }
            guard problem == EINTR || problem == EAGAIN else {
                errno = problem
                throw .last(.disconnected, "cannot read the socket")
            }
        }
    }
}

/// Gives messages to a socket. Any thread may use it; a message is never torn.
package final class MessageWriter: Sendable {
    private struct State {
        /// The rest of a message that the socket's buffer did not take.
        var pending: ArraySlice<UInt8> = []
        var isBroken = false
    }

    private let socket: Socket
    private let state = Mutex(State())

    /// Writes to `socket`.
    package init(_ socket: Socket) { self.socket = socket }

    /// Sends `message` whole, and waits for a reader as long as `patience`.
    ///
    /// - Throws: `disconnected` where the reader has left or lets it wait for too long.
    package func send(_ message: JSONValue, patience: Duration) throws(ControlFault) {
        let bytes = Array(message.compactText.utf8) + [0]
        let deadline = ContinuousClock.now + patience
        try state.withLock { (state) throws(ControlFault) in
            state.pending += bytes
            while true {
                try push(&state)
                if state.pending.isEmpty { return }
                guard try socket.wait(for: Int16(POLLOUT), until: deadline) else {
                    state.isBroken = true
                    throw ControlFault(.disconnected, "the other side does not read")
                }
            }
        }
    }

    /// Sends `message` unless that would mean to wait. For news that the next news makes obsolete.
    package func offer(_ message: JSONValue) {
        _ = state.withLockIfAvailable { state in
            do throws(ControlFault) {
                try push(&state)
                guard state.pending.isEmpty else { return }
                state.pending += Array(message.compactText.utf8) + [0]
                try push(&state)
            } catch {
                // Who does not listen any more is found out by the one who waits for the socket.
            }
        }
    }

    private func push(_ state: inout State) throws(ControlFault) {
        while !state.isBroken, !state.pending.isEmpty {
            let count = state.pending.withUnsafeBytes {
                Glibc.send(
                    socket.descriptor, $0.baseAddress, $0.count, Int32(MSG_DONTWAIT | MSG_NOSIGNAL))
            }
            if count > 0 {
                state.pending.removeFirst(min(count, state.pending.count))
                continue
            }
            if errno == EINTR { continue }
            if errno == EAGAIN { return }
            state.isBroken = true
        }
        if state.isBroken { throw ControlFault(.disconnected, "the other side has left") }
        if state.pending.isEmpty { state.pending = [] }
    }
}
