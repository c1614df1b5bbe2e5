import Dispatch
import Glibc

/// A web server on threads of its own that has one page, `/page`, with status 204, and one, `/drip`, of which a header comes
/// every few milliseconds and the last one never. It ends with this value.
final class PageServer: Sendable {
    let port: UInt16
    private let listener: CInt

    init() throws {
        listener = socket(AF_INET, CInt(SOCK_STREAM.rawValue), 0)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let listener = listener
        let isReady = withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { address in
                bind(listener, address, length) == 0 && listen(listener, 16) == 0
                    && getsockname(listener, address, &length) == 0
            }
        }
        guard isReady else { throw POSIXFailure(number: errno) }
        port = UInt16(bigEndian: address.sin_port)
        DispatchQueue(label: "page server").async {
            while true {
                let connection = accept(listener, nil, nil)
                guard connection >= 0 else { return }
                DispatchQueue(label: "page").async {
                    Self.answer(connection)
                    close(connection)
                }
            }
        }
    }

    deinit {
        shutdown(listener, CInt(SHUT_RDWR))
        close(listener)
    }

    struct POSIXFailure: Error { let number: CInt }

    private static func answer(_ connection: CInt) {
        var request = [UInt8](repeating: 0, count: 4096)
        let count = read(connection, &request, request.count)
        guard count > 0 else { return }
        let text = String(decoding: request[..<count], as: UTF8.self)
        if text.hasPrefix("GET /drip ") { return drip(connection) }
        let isPage = text.hasPrefix("GET /page ")
        let head = isPage ? "204 No Content" : "404 Not Found"
        let answer = Array("HTTP/1.1 \(head)\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".utf8)
        _ = write(connection, answer, answer.count)
    }

    private static func drip(_ connection: CInt) {
        var piece = Array("HTTP/1.1 200 OK\r\n".utf8)
        for number in 0..<600 {
            guard send(connection, piece, piece.count, CInt(MSG_NOSIGNAL)) > 0 else { return }
            piece = Array("X-\(number): \(String(repeating: "x", count: 300))\r\n".utf8)
            usleep(50_000)
        }
    }
}
