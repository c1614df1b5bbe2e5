import Command
import FileIO
import Foundation
import Glibc
import Synchronization
import SystemPackage
import TestSupport

/// A server program that ends with this value.
class ServerProcess: @unchecked Sendable {
    private var process = Process()

    private let input = Pipe()

    /// It ends when its standard input does, which is when this value is gone or this process ends, whichever way: a child that is left
    /// over would keep the output open that whoever runs the tests waits for.
    func start(_ arguments: [String], output: Any? = nil) throws {
        process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        // Not by a shell: a child of a thread of Dispatch's has its signals blocked, and dash then waits for ever.
        let guardian = """
            import subprocess, sys, threading
            child = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL)
            threading.Thread(target=lambda: (sys.stdin.read(), child.kill()), daemon=True).start()
            child.wait()
            """
        process.arguments = ["python3", "-c", guardian] + arguments
        process.standardInput = input
        process.standardOutput = output ?? FileHandle.nullDevice
        process.standardError = FileHandle.nullDevice
        try process.run()
    }

    var isRunning: Bool { process.isRunning }

    deinit { try? input.fileHandleForWriting.close() }

    /// Ports that servers of this process have been given: two that were free at the same time would be taken for each other.
    private static let given = Mutex<Set<UInt16>>([])

    /// A port that nobody uses at the moment, and that no other server of this process gets.
    static func freePort() throws -> UInt16 {
        while true {
            let port = try boundPort()
            if given.withLock({ $0.insert(port).inserted }) { return port }
        }
    }

    private static func boundPort() throws -> UInt16 {
        let listener = socket(AF_INET6, CInt(SOCK_STREAM.rawValue), 0)
        defer { close(listener) }
        var address = sockaddr_in6()
        address.sin6_family = sa_family_t(AF_INET6)
        var length = socklen_t(MemoryLayout<sockaddr_in6>.size)
        let isBound = withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(listener, $0, length) == 0 && getsockname(listener, $0, &length) == 0
            }
        }
        guard isBound else { throw Errno(rawValue: errno) }
        return UInt16(bigEndian: address.sin6_port)
    }

    /// Waits until somebody listens at `port`.
    ///
    /// - Returns: false where the server has ended before, as where another process has taken its port.
    fileprivate func isReached(at port: UInt16) -> Bool {
        while process.isRunning {
            let probe = socket(AF_INET, CInt(SOCK_STREAM.rawValue), 0)
            defer { close(probe) }
            var address = sockaddr_in()
            address.sin_family = sa_family_t(AF_INET)
            address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
            address.sin_port = port.bigEndian
            let result = withUnsafePointer(to: &address) { pointer in
                pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    connect(probe, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
                }
            }
            if result == 0 { return true }
            usleep(20_000)
        }
        return false
    }
}

/// nginx with the repository below several paths, each with a fault of its own.
final class Nginx: ServerProcess, @unchecked Sendable {
    let directory: FilePath
    private(set) var port: UInt16 = 0
    private(set) var tlsPort: UInt16 = 0
    var base: String { "http://127.0.0.1:\(port)" }

    init(serving repository: FilePath, in directory: FilePath) async throws {
        self.directory = directory.appending("nginx")
        super.init()
        try self.directory.makeDirectories()
        try await makeCertificates()
        let file = self.directory.appending("nginx.conf")
        repeat {
            (port, tlsPort) = (try Self.freePort(), try Self.freePort())
            try file.replaceContents(with: configuration(repository))
            try start(["/usr/sbin/nginx", "-p", self.directory.string, "-c", file.string])
        } while !isReached(at: tlsPort)
    }

    /// The requests that came, a line each.
    func requests() throws -> [String] {
        try directory.appending("access.log").text().split(separator: "\n").map(String.init)
    }

    /// An authority, a server's certificate for localhost, and one for a client.
    private func makeCertificates() async throws {
        func openssl(_ arguments: String...) async throws {
            try await Command("openssl", arguments.map { $0.replacing("DIR", with: directory.string) }).run()
        }
        for name in ["ca", "other"] {
            try await openssl(
                "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30",
                "-subj",
                "/CN=\(name)", "-keyout", "DIR/\(name).key", "-out", "DIR/\(name).pem")
        }
        for name in ["server", "client"] {
            try await openssl(
                "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=\(name)",
                "-addext",
                "subjectAltName=IP:127.0.0.1,DNS:localhost", "-keyout", "DIR/\(name).key", "-out", "DIR/\(name).csr")
            try await openssl(
                "x509", "-req", "-in", "DIR/\(name).csr", "-CA", "DIR/ca.pem", "-CAkey", "DIR/ca.key", "-days", "30",
                "-copy_extensions", "copy", "-out", "DIR/\(name).pem")
        }
    }

    private func configuration(_ repository: FilePath) -> String {
        """
        daemon off;
        master_process off;
        pid nginx.pid;
        error_log error.log;
        events {}
        http {
          log_format whole '$request_uri $status $body_bytes_sent $http_range $http_accept_encoding';
          access_log access.log whole;
          client_body_temp_path t1; proxy_temp_path t2; fastcgi_temp_path t3; uwsgi_temp_path t4; scgi_temp_path t5;
          default_type application/octet-stream;
          server {
            listen 127.0.0.1:\(port);
            listen [::1]:\(port);
            location /plain/ { alias \(repository)/; }
            location /a/long%20prefix/of/it/ { alias \(repository)/; }
            location "/a/long prefix/of/it/" { alias \(repository)/; }
            location /no-ranges/ { alias \(repository)/; max_ranges 0; }
            location /gzip/ { alias \(repository)/; gzip on; gzip_types *; gzip_min_length 1; gzip_proxied any; }
            location /recompressed/ {
              proxy_pass http://127.0.0.1:\(port)/gzip/; proxy_set_header Accept-Encoding gzip; proxy_http_version 1.1;
            }
            location /steady/ { alias \(repository)/; limit_rate 4m; }
            location /slow-whole/ { alias \(repository)/; max_ranges 0; limit_rate 25k; }
            location /crawl/ { alias \(repository)/; limit_rate 20k; }
            location /drip/ { alias \(repository)/; }
            location /drip/blobs/ { alias \(repository)/blobs/; limit_rate 100; }
            location /portal/ { default_type text/html; return 200 "<!DOCTYPE html><html>Please log in</html>"; }
            location /redirect/ { return 302 /portal/login; }
            location /moved/ { rewrite ^/moved/(.*) /plain/$1 redirect; }
            location /loop/ { rewrite ^/loop/(.*) /loop/$1 redirect; }
            location /busy/ { add_header Retry-After 7200 always; return 503; }
            location /limited/ { add_header Retry-After "Fri, 31 Dec 2055 23:59:59 GMT" always; return 429; }
            location /broken/ { return 500; }
            location /forbidden/ { return 403; }
            location /store/ { alias \(repository)/; error_page 404 =403 /forbidden/; }
            location /without-targets/ { alias \(repository)/; }
            location /without-targets/targets/ { return 404; }
            location /page-targets/ { alias \(repository)/; }
            location /page-targets/targets/ { default_type text/html; return 200 "<html>Not found</html>"; }
            location /without-blobs/ { alias \(repository)/; }
            location /without-blobs/blobs/ { return 404; }
          }
          server {
            listen 127.0.0.1:\(tlsPort) ssl;
            ssl_certificate server.pem; ssl_certificate_key server.key;
            ssl_client_certificate ca.pem; ssl_verify_client on;
            location / { alias \(repository)/; }
          }
        }
        """
    }
}

/// tinyproxy, whose log says what went through it.
final class Tinyproxy: ServerProcess, @unchecked Sendable {
    private var port: UInt16 = 0
    private let log: FilePath
    var address: String { "http://127.0.0.1:\(port)" }

    init(in directory: FilePath) throws {
        log = directory.appending("tinyproxy.log")
        super.init()
        let configuration = directory.appending("tinyproxy.conf")
        repeat {
            port = try Self.freePort()
            try configuration.replaceContents(
                with: "Port \(port)\nListen 127.0.0.1\nLogFile \"\(log)\"\nLogLevel Connect\nMaxClients 10\n")
            try start(["tinyproxy", "-d", "-c", configuration.string])
        } while !isReached(at: port)
    }

    /// How many requests went through it.
    func count() throws -> Int { try log.text().split(separator: "\n").filter { $0.contains("Request (file") }.count }
}

/// The Python server beside this file that lies.
final class LyingServer: ServerProcess, @unchecked Sendable {
    private(set) var base = ""
    init(serving repository: FilePath) throws {
        super.init()
        let output = Pipe()
        let script = FilePath(#filePath).removingLastComponent().appending("Server/lying.py").string
        try start(["python3", script, repository.string], output: output)
        let line = String(decoding: output.fileHandleForReading.availableData, as: UTF8.self)
        base = "http://127.0.0.1:\(line.prefix { $0.isNumber })"
    }
}
