import CLinux
import Fault
import Glibc
import SystemPackage
import Transfer

/// Messages of a kind and some bytes over a stream socket: a byte, the length in four, big-endian, and the bytes.
final class MessageChannel: Sendable {
    enum Kind: UInt8 {
        /// To the worker: what to do, in JSON.
        case order = 0x4F
        /// From it: eight bytes that say how much has come, and data.
        case data = 0x44
        /// From it: what the order came to, in JSON.
        case answer = 0x41
    }

    /// The most bytes of a message.
    static let limit = 1 << 20

    let descriptor: CInt

    /// Takes over `descriptor`.
    init(owning descriptor: CInt) { self.descriptor = descriptor }

    deinit { close(descriptor) }

    /// Whether the other side has left.
    var isClosedByPeer: Bool {
        var entry = pollfd(fd: descriptor, events: Int16(ballast_poll_peer_closed), revents: 0)
        return poll(&entry, 1, 0) > 0 && entry.revents != 0
    }

    /// Sends a message whole.
    ///
    /// - Parameter seconds: how long the other side may take to read the next piece of it.
    /// - Throws: where it does not, or has left.
    func send(_ kind: Kind, _ parts: UnsafeRawBufferPointer..., seconds: Int) throws(Errno) {
        let count = parts.reduce(0) { $0 + $1.count }
        guard count <= Self.limit else { throw .fileTooLarge }
        let head = [kind.rawValue] + withUnsafeBytes(of: UInt32(count).bigEndian) { Array($0) }
        try head.withUnsafeBytes { head in
            Result { () throws(Errno) in try push(head, seconds: seconds) }
        }.get()
        for part in parts { try push(part, seconds: seconds) }
    }

    private func push(_ bytes: UnsafeRawBufferPointer, seconds: Int) throws(Errno) {
        var rest = bytes[...]
        while !rest.isEmpty {
            let piece = UnsafeRawBufferPointer(rebasing: rest)
            let count = Glibc.send(descriptor, piece.baseAddress, piece.count, CInt(MSG_DONTWAIT | MSG_NOSIGNAL))
            if count > 0 {
                rest = rest.dropFirst(count)
                continue
            }
            switch errno {
            case EINTR: continue
            case EAGAIN:
                guard try wait(for: Int16(POLLOUT), milliseconds: CInt(clamping: seconds * 1000)) else {
                    throw .timedOut
                }
            default: throw Errno(rawValue: errno)
            }
        }
    }

    /// Waits until the socket can be read or written, or the other side has left.
    ///
    /// - Returns: false where time was up.
    private func wait(for events: Int16, milliseconds: CInt) throws(Errno) -> Bool {
        var entry = pollfd(fd: descriptor, events: events, revents: 0)
        let count = poll(&entry, 1, milliseconds)
        if count < 0, errno != EINTR { throw Errno(rawValue: errno) }
        return count != 0
    }

    /// The next message.
    ///
    /// - Parameters:
    ///   - seconds: how long it may be silent before and inside the message.
    ///   - isCancelled: asked about once a second.
    /// - Returns: nil where the other side has left in between two messages.
    func receive(
        into buffer: inout [UInt8], seconds: Int, isCancelled: () -> Bool = { false }
    ) throws(Errno) -> Kind? {
        var head = [UInt8](repeating: 0, count: 5)
        guard try fill(&head, seconds: seconds, isCancelled: isCancelled, mayEnd: true) else { return nil }
        let count = head[1...].reduce(0) { $0 << 8 | Int($1) }
        guard let kind = Kind(rawValue: head[0]), count <= Self.limit else { throw .badMessage }
        if buffer.count < count { buffer += [UInt8](repeating: 0, count: count - buffer.count) }
        buffer.removeLast(buffer.count - count)
        _ = try fill(&buffer, seconds: seconds, isCancelled: isCancelled, mayEnd: false)
        return kind
    }

    private func fill(
        _ buffer: inout [UInt8], seconds: Int, isCancelled: () -> Bool, mayEnd: Bool
    ) throws(Errno) -> Bool {
        var filled = 0
        var last = ContinuousClock.now
        while filled < buffer.count {
            let count = buffer.withUnsafeMutableBytes { bytes in
                recv(
                    descriptor, bytes.baseAddress.map { $0 + filled }, bytes.count - filled, CInt(MSG_DONTWAIT))
            }
            if count > 0 {
                filled += count
                last = .now
                continue
            }
            if count == 0 {
                if mayEnd, filled == 0 { return false }
                throw .connectionReset
            }
            guard errno == EAGAIN || errno == EINTR else { throw Errno(rawValue: errno) }
            if isCancelled() { throw .canceled }
            guard try !wait(for: Int16(POLLIN), milliseconds: 1000) else { continue }
            guard ContinuousClock.now - last < .seconds(seconds) else { throw .timedOut }
        }
        return true
    }
}
