import Glibc

/// Connections that say only whether somebody is there.
enum SocketProbe {
    /// - Returns: why no connection to `port` of `host` opens, or nil where one does.
    static func problem(host: String, port: UInt16, seconds: Int) -> String? {
        var hints = addrinfo()
        hints.ai_socktype = CInt(SOCK_STREAM.rawValue)
        var list: UnsafeMutablePointer<addrinfo>?
        let status = getaddrinfo(host, String(port), &hints, &list)
        guard status == 0 else { return "\(host): \(String(cString: gai_strerror(status)))" }
        defer { freeaddrinfo(list) }
        var problem = "\(host) has no address"
        var next = list
        while let entry = next {
            let descriptor = socket(entry.pointee.ai_family, entry.pointee.ai_socktype, entry.pointee.ai_protocol)
            if descriptor >= 0 {
                defer { close(descriptor) }
                setTimeouts(of: descriptor, seconds: seconds)
                if connect(descriptor, entry.pointee.ai_addr, entry.pointee.ai_addrlen) == 0 { return nil }
            }
            problem = "\(host):\(port): \(String(cString: strerror(errno)))"
            next = entry.pointee.ai_next
        }
        return problem
    }

    /// The timeout for sending bounds connect(2) too (socket(7)).
    private static func setTimeouts(of descriptor: CInt, seconds: Int) {
        var time = timeval(tv_sec: seconds, tv_usec: 0)
        for option in [SO_SNDTIMEO, SO_RCVTIMEO] {
            _ = setsockopt(descriptor, SOL_SOCKET, option, &time, socklen_t(MemoryLayout<timeval>.size))
        }
    }
}
