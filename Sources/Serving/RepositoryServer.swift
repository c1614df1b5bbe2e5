public import Fault
import FileIO
import HTTPTypes
import Hummingbird
import Logging
import NIOCore
public import SystemPackage
import UnixSignals

/// Serves a directory's files over HTTP: for trying, for tests and for small sites. Every other server of static files does
/// as well.
public struct RepositoryServer: Sendable {
    private let root: FilePath
    private let host: String
    private let port: Int

    /// A server of the files below `root`.
    ///
    /// - Parameter port: 0 for one that is free.
    public init(root: FilePath, host: String, port: Int) throws(ServingFault) {
        guard let status = try? FileStatus(following: root), status.kind == .directory else {
            throw ServingFault(.noDirectory, "is not a directory", at: .path(root.string))
        }
        guard root.appending("metadata/timestamp.json").exists else {
            throw ServingFault(
                .noDirectory, "holds no repository: there is no metadata/timestamp.json in it", at: .path(root.string),
                remedy: "make one with 'ballast repo init'")
        }
        self.root = root
        self.host = host
        self.port = port
    }

    /// Serves until the process is told to end.
    ///
    /// - Parameters:
    ///   - onRequest: called with a line for each request as its answer begins: `127.0.0.1 GET /metadata/timestamp.json 200 512`,
    ///     the bytes last. From any thread.
    ///   - onListening: called with the address once connections are accepted: `http://127.0.0.1:8080`.
    public func run(
        onRequest: @escaping @Sendable (String) -> Void = { _ in }, onListening: @escaping @Sendable (String) -> Void
    ) async throws(ServingFault) {
        let root = root
        let host = host
        var logger = Logger(label: "ballast")
        logger.logLevel = .critical
        let application = Application(
            responder: CallbackResponder<Context> { request, context in
                let response = Self.respond(to: request, root: root)
                onRequest(Self.line(of: request, from: context.peer, answeredWith: response))
                return response
            },
            configuration: ApplicationConfiguration(address: .hostname(host, port: port), serverName: nil),
            onServerRunning: { channel in
                let address = host.contains(":") ? "[\(host)]" : host
                onListening("http://\(address):\(channel.localAddress?.port ?? 0)")
            },
            logger: logger)
        do {
            try await application.runService(gracefulShutdownSignals: [.sigterm, .sigint, .sighup])
        } catch {
            throw ServingFault(
                .address, "cannot listen on port \(port) of \(host)", remedy: "choose another --port or --host",
                cause: Self.cause(of: error))
        }
    }

    /// A request and who sent it.
    private struct Context: RequestContext {
        var coreContext: CoreRequestContextStorage
        let peer: String

        init(source: ApplicationRequestContextSource) {
            coreContext = CoreRequestContextStorage(source: source)
            peer = source.channel.remoteAddress?.ipAddress ?? "-"
        }
    }

    private static func line(of request: Request, from peer: String, answeredWith response: Response) -> String {
        let path = request.uri.string.excerpt(limit: 200)
        let size = response.headers[.contentLength] ?? "0"
        return "\(peer) \(request.method.rawValue.excerpt(limit: 16)) \(path) \(response.status.code) \(size)"
    }

    /// What a person makes something of in `error`.
    private static func cause(of error: any Error) -> any Error {
        switch error {
        case let error as IOError: Errno(rawValue: error.errnoCode)
        case is SocketAddressError: ServingFault(.address, "no such host")
        default: error
        }
    }

    private static func respond(to request: Request, root: FilePath) -> Response {
        guard request.method == .get || request.method == .head else {
            return Response(status: .methodNotAllowed, headers: [.allow: "GET, HEAD", .contentLength: "0"])
        }
        guard let file = ServedFile(requestPath: request.uri.string, root: root) else {
            return text("There is nothing here.\n", status: .notFound, isHead: request.method == .head)
        }
        var headers: HTTPFields = [
            .eTag: file.entityTag, .cacheControl: file.cacheControl, .acceptRanges: "bytes",
            .contentType: file.contentType,
        ]
        if let tags = request.headers[.ifNoneMatch], file.matches(tags, isStrong: false) {
            return Response(status: .notModified, headers: headers)
        }
        var header = request.headers[.range]
        // A range of another version of the file would be worse than none (RFC 9110, section 13.1.5).
        if let tag = request.headers[.ifRange], !file.matches(tag, isStrong: true) { header = nil }
        let range: Range<Int64>
        var status = HTTPResponse.Status.ok
        switch ByteRange(header: header, size: file.size) {
        case .whole: range = 0..<file.size
        case .part(let part):
            range = part
            status = .partialContent
            headers[.contentRange] = "bytes \(part.lowerBound)-\(part.upperBound - 1)/\(file.size)"
        case .unsatisfiable:
            headers[.contentRange] = "bytes */\(file.size)"
            headers[.contentLength] = "0"
            return Response(status: .rangeNotSatisfiable, headers: headers)
        }
        headers[.contentLength] = String(range.upperBound - range.lowerBound)
        guard request.method == .get else { return Response(status: status, headers: headers) }
        return Response(status: status, headers: headers, body: body(of: OpenedFile(file.file), range: range))
    }

    /// Bytes of a file, read as fast as the client takes them.
    private static func body(of file: OpenedFile, range: Range<Int64>) -> ResponseBody {
        ResponseBody(contentLength: Int(range.upperBound - range.lowerBound)) { writer in
            var position = range.lowerBound
            while position < range.upperBound {
                let count = Int(min(range.upperBound - position, 256 << 10))
                try await writer.write(ByteBuffer(bytes: try file.bytes(at: position, count: count)))
                position += Int64(count)
            }
            try await writer.finish(nil)
        }
    }

    private static func text(_ text: String, status: HTTPResponse.Status, isHead: Bool) -> Response {
        let headers: HTTPFields = [
            .contentType: "text/plain; charset=utf-8", .contentLength: String(text.utf8.count),
        ]
        return isHead
            ? Response(status: status, headers: headers)
            : Response(status: status, headers: headers, body: ResponseBody(byteBuffer: ByteBuffer(string: text)))
    }
}

/// An open file that is closed with the response's body that holds it.
private final class OpenedFile: Sendable {
    private let file: OpenFile

    init(_ file: consuming OpenFile) { self.file = file }

    func bytes(at offset: Int64, count: Int) throws(FileIOFault) -> [UInt8] { try file.bytes(at: offset, count: count) }
}
