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

    /// Speaks the beginning of HTTP/2 (RFC 9113, section 3.4) to a UNIX socket: the server must answer with its settings.
    ///
    /// - Returns: why it does not, or nil where it does.
    static func problem(http2Socket path: String, seconds: Int) -> String? {
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        let name = Array(path.utf8)
        guard name.count < MemoryLayout.size(ofValue: address.sun_path) else { return "\(path) is too long a path" }
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: name) }
        let descriptor = socket(AF_UNIX, CInt(SOCK_STREAM.rawValue), 0)
        guard descriptor >= 0 else { return String(cString: strerror(errno)) }
        defer { close(descriptor) }
        setTimeouts(of: descriptor, seconds: seconds)
        let connected = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
        guard connected == 0 else { return "\(path): \(String(cString: strerror(errno)))" }
        // The preface and an empty SETTINGS frame: length 0, type 4, no flags, stream 0.
        let preface = Array("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".utf8) + [0, 0, 0, 4, 0, 0, 0, 0, 0]
        guard send(descriptor, preface, preface.count, CInt(MSG_NOSIGNAL)) == preface.count else {
            return "\(path) takes nothing"
        }
        var header = [UInt8](repeating: 0, count: 9)
        guard recv(descriptor, &header, header.count, CInt(MSG_WAITALL)) == header.count else {
            return "\(path) does not answer"
        }
        return header[3] == 4 ? nil : "\(path) does not speak HTTP/2"
    }
}
