import CLinux
import Glibc

/// Looks whether containerd answers, without a client of its own.
enum ContainerdProbe {
    /// Speaks the beginning of HTTP/2 (RFC 9113, section 3.4) to a UNIX socket: the server must answer with its settings.
    ///
    /// - Returns: why it does not, or nil where it does.
    static func problem(http2Socket path: String, seconds: Int) -> String? {
        let descriptor = ballast_connect_unix(path)
        guard descriptor >= 0 else { return "\(path): \(String(cString: strerror(errno)))" }
        defer { close(descriptor) }
        var time = timeval(tv_sec: seconds, tv_usec: 0)
        for option in [SO_SNDTIMEO, SO_RCVTIMEO] {
            _ = setsockopt(descriptor, SOL_SOCKET, option, &time, socklen_t(MemoryLayout<timeval>.size))
        }
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
