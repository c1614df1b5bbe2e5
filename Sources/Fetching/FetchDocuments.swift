import Fault
import JSON
import Transfer

// What fetcher and worker write to each other; both ends are the same executable.

/// What a worker is asked for.
enum WorkOrder {
    case fetch(FetchRequest)
    case connect(host: String, port: UInt16, seconds: Int)

    init(parsing bytes: [UInt8]) throws(JSONFault) {
        let cursor = try JSONCursor(parsing: bytes, source: "the request")
        if let host = try cursor.optional("host") {
            self = .connect(
                host: try host.string(), port: UInt16(try cursor.field("port").integer(in: 1...65535)),
                seconds: try cursor.field("seconds").integer(in: 1...86400))
        } else {
            self = .fetch(try FetchRequest(parsing: cursor))
        }
    }

    var json: JSONValue {
        switch self {
        case .fetch(let request): request.json
        case .connect(let host, let port, let seconds):
            ["host": .string(host), "port": .integer(Int64(port)), "seconds": .integer(Int64(seconds))]
        }
    }
}

extension FetchRequest {
    init(parsing cursor: JSONCursor) throws(JSONFault) {
        var http = HTTPRequest(try cursor.field("url").string())
        http.start = Int64(try cursor.field("start").integer())
        http.end = try cursor.optional("end").map { end throws(JSONFault) in Int64(try end.integer()) }
        http.limit = Int64(try cursor.field("limit").integer())
        http.revalidates = try cursor.field("revalidates").bool()
        let form = try cursor.field("form")
        guard let known = Form(rawValue: try form.string()) else { throw form.unexpected("an unknown form") }
        self.init(http, form: known, options: try HTTPOptions(parsing: cursor.field("options")))
    }

    var json: JSONValue {
        [
            "url": .string(http.url), "start": .integer(http.start), "end": http.end.map { .integer($0) } ?? .null,
            "limit": .integer(http.limit), "revalidates": .bool(http.revalidates), "form": .string(form.rawValue),
            "options": options.json,
        ]
    }
}

extension HTTPOptions {
    fileprivate init(parsing cursor: JSONCursor) throws(JSONFault) {
        self.init()
        userAgent = try cursor.field("user_agent").string()
        patience.connectSeconds = try cursor.field("connect_seconds").integer(in: 1...86400)
        patience.slowBytesPerSecond = try cursor.field("slow_bytes_per_second").integer()
        patience.slowSeconds = try cursor.field("slow_seconds").integer(in: 1...86400)
        patience.totalSeconds = try cursor.optional("total_seconds")?.integer(in: 1...(1 << 31))
        bytesPerSecond = try cursor.optional("bytes_per_second").map { limit throws(JSONFault) in
            Int64(try limit.integer(in: 1...Int.max))
        }
        if let text = try cursor.optional("authorities") { authorities = .pem(Array(try text.string().utf8)) }
        if let text = try cursor.optional("certificate") {
            identity = Identity(
                certificate: Array(try text.string().utf8), key: Array(try cursor.field("key").string().utf8))
        }
        if let address = try cursor.optional("proxy") {
            var exceptions: [String] = []
            for name in try cursor.field("no_proxy").elements(atMost: 1000) { exceptions.append(try name.string()) }
            proxy = .server(try address.string(), except: exceptions)
        } else {
            proxy = .none
        }
    }

    /// A proxy of the environment must have been looked up before: the worker has another one.
    fileprivate var json: JSONValue {
        var members: [String: JSONValue] = [
            "user_agent": .string(userAgent), "connect_seconds": .integer(Int64(patience.connectSeconds)),
            "slow_bytes_per_second": .integer(Int64(patience.slowBytesPerSecond)),
            "slow_seconds": .integer(Int64(patience.slowSeconds)),
        ]
        if let seconds = patience.totalSeconds { members["total_seconds"] = .integer(Int64(seconds)) }
        if let bytesPerSecond { members["bytes_per_second"] = .integer(bytesPerSecond) }
        if case .pem(let bytes) = authorities {
            members["authorities"] = .string(String(decoding: bytes, as: UTF8.self))
        }
        if let identity {
            members["certificate"] = .string(String(decoding: identity.certificate, as: UTF8.self))
            members["key"] = .string(String(decoding: identity.key, as: UTF8.self))
        }
        if case .server(let address, let exceptions) = proxy {
            members["proxy"] = .string(address)
            members["no_proxy"] = .array(exceptions.map { .string($0) })
        }
        return .object(members)
    }
}

extension FetchAnswer {
    init(parsing bytes: [UInt8]) throws(JSONFault) {
        let cursor = try JSONCursor(parsing: bytes, source: "the fetch worker's answer")
        status = try cursor.field("status").integer(in: 0...999)
        received = Int64(try cursor.field("received").integer())
        retryAfter = try cursor.optional("retry_after").map { seconds throws(JSONFault) in
            Int64(try seconds.integer())
        }
        guard let problem = try cursor.optional("failure") else { return }
        let code = try problem.field("code")
        guard let known = TransferFaultCode(rawValue: try code.string()) else {
            throw code.unexpected("an unknown kind of failure")
        }
        failure = TransferFault(
            known, try problem.field("message").string().excerpt(limit: 2000),
            at: try problem.optional("url").map { url throws(JSONFault) in
                .url(try url.string().excerpt(limit: 2000))
            },
            remedy: try problem.optional("remedy")?.string().excerpt(limit: 2000))
    }

    var json: JSONValue {
        var members: [String: JSONValue] = ["status": .integer(Int64(status)), "received": .integer(received)]
        if let retryAfter { members["retry_after"] = .integer(retryAfter) }
        if let failure {
            let message = failure.message + (failure.cause.map { ": \($0)" } ?? "")
            members["failure"] = [
                "code": .string(failure.code.rawValue), "message": .string(message),
                "url": failure.place.map { .string("\($0)") } ?? .null,
                "remedy": failure.remedy.map { .string($0) } ?? .null,
            ]
        }
        return .object(members)
    }
}
