import Glibc

/// Connections that say only whether somebody is there.
enum SocketProbe {
    /// - Parameter seconds: how long all of the name's addresses may take together.
    /// - Returns: why no connection to `port` of `host` opens, or nil where one does.
    static func problem(host: String, port: UInt16, seconds: Int) -> String? {
        var hints = addrinfo()
        hints.ai_socktype = CInt(SOCK_STREAM.rawValue)
        var list: UnsafeMutablePointer<addrinfo>?
        let status = getaddrinfo(host, String(port), &hints, &list)
        guard status == 0 else { return "\(host): \(String(cString: gai_strerror(status)))" }
        defer { freeaddrinfo(list) }
        var problem = "\(host) has no address"
        let deadline = ContinuousClock.now + .seconds(seconds)
        var left = 0
        var next = list
        while let entry = next {
            left += 1
            next = entry.pointee.ai_next
        }
        next = list
        while let entry = next {
            // What one does not need of its share is for the next ones.
            let share = max((deadline - .now) / .milliseconds(1) / Double(left), 1)
            left -= 1
            let descriptor = socket(entry.pointee.ai_family, entry.pointee.ai_socktype, entry.pointee.ai_protocol)
            if descriptor >= 0 {
                defer { close(descriptor) }
                setTimeouts(of: descriptor, milliseconds: Int(share))
                if connect(descriptor, entry.pointee.ai_addr, entry.pointee.ai_addrlen) == 0 { return nil }
            }
            // That the time of a socket is over is said so: connect(2).
            let isLate = errno == EINPROGRESS || errno == EAGAIN
            let reason = isLate ? "did not open within \(seconds) s" : String(cString: strerror(errno))
            problem = "\(host):\(port): \(reason)"
            next = entry.pointee.ai_next
        }
        return problem
    }

    /// The timeout for sending bounds connect(2) too (socket(7)).
    private static func setTimeouts(of descriptor: CInt, milliseconds: Int) {
        var time = timeval(tv_sec: milliseconds / 1000, tv_usec: milliseconds % 1000 * 1000)
        for option in [SO_SNDTIMEO, SO_RCVTIMEO] {
            _ = setsockopt(descriptor, SOL_SOCKET, option, &time, socklen_t(MemoryLayout<timeval>.size))
        }
    }
}
