import CLinux
import Fault
import Glibc
import SystemPackage

/// A descriptor that is closed with the last reference to it.
package final class Socket: Sendable {
    package let descriptor: Int32

    package init(owning descriptor: Int32) { self.descriptor = descriptor }

    deinit { close(descriptor) }

    /// A new unix stream socket.
    static func unixStream() throws(ControlFault) -> Socket {
        let descriptor = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        guard descriptor >= 0 else { throw .last(.socket, "cannot make a socket") }
        return Socket(owning: descriptor)
    }

    /// Ends the conversation for both sides; whoever waits for this socket wakes up.
    func shutDown() { _ = shutdown(descriptor, Int32(SHUT_RDWR)) }

    /// Waits until the socket can be read or written.
    ///
    /// - Returns: false when `deadline` came first.
    func wait(for events: Int16, until deadline: ContinuousClock.Instant?) throws(ControlFault) -> Bool {
        while true {
            var entry = pollfd(fd: descriptor, events: events, revents: 0)
            let count = poll(&entry, 1, Self.milliseconds(until: deadline))
            if count > 0 { return true }
            if count == 0, let deadline, ContinuousClock.now >= deadline { return false }
            if count < 0 && errno != EINTR { throw .last(.disconnected, "cannot wait for the socket") }
        }
    }

    /// What poll(2) takes for a point in time: at most an hour at once, and rounded up, so that nobody spins.
    static func milliseconds(until deadline: ContinuousClock.Instant?) -> Int32 {
        guard let deadline else { return -1 }
        let left = min(max(deadline - .now, .zero), .seconds(3600))
        return Int32(left / .milliseconds(1)) + 1
    }

    /// Calls `body` with the address of a unix socket at `path`.
    static func withAddress<Result>(
        of path: String, _ body: (UnsafePointer<sockaddr>, socklen_t) -> Result
    ) throws(ControlFault) -> Result {
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        let bytes = Array(path.utf8)
        let capacity = MemoryLayout.size(ofValue: address.sun_path)
        // The kernel's limit, with the NUL at the end.
        guard !bytes.isEmpty, bytes.count < capacity, !bytes.contains(0) else {
            throw ControlFault(
                .invalid, "a socket's path has 1 to \(capacity - 1) bytes", at: .path(path),
                remedy: "use a shorter path")
        }
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: bytes) }
        return withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                body($0, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
    }
}

extension Fault where Code == ControlFaultCode {
    /// The failure that the last system call left in `errno`.
    static func last(_ code: ControlFaultCode, _ what: String, at path: String? = nil) -> ControlFault {
        ControlFault(code, what, at: path.map { .path($0) }, cause: Errno(rawValue: Glibc.errno))
    }
}

/// A flag that poll(2) can wait for: an eventfd.
final class WakeUp: Sendable {
    let descriptor: Int32

    init() throws(ControlFault) {
        descriptor = ballast_event_descriptor()
        guard descriptor >= 0 else { throw .last(.socket, "cannot make an event descriptor") }
    }

    deinit { close(descriptor) }

    /// Raises the flag.
    func raise() {
        var one: UInt64 = 1
        _ = write(descriptor, &one, 8)
    }

    /// Takes it down.
    func clear() {
        var count: UInt64 = 0
        _ = read(descriptor, &count, 8)
    }
}
