import CCurl
import Fault
import Glibc

/// One request and its answer, as libcurl's callbacks see them. Used on one thread, for one call of `perform`.
final class Exchange {
    let request: HTTPRequest
    /// Its address, as messages show it.
    private let url: String
    private let receive: (UnsafeRawBufferPointer) throws -> Void
    private let isCancelled: () -> Bool

    /// How many bytes have gone to the receiver.
    private(set) var delivered: Int64 = 0
    private(set) var failure: TransferFault?
    private(set) var isComplete = false
    private(set) var status = 0
    private var contentType = ""
    private var contentEncoding: String?
    private var retryAfter: Int64?
    private var contentLength: Int64?
    private var rangeStart: Int64?
    private var rangeTotal: Int64?
    private var bodyHasBegun = false
    /// Of what is skipped, the receiver is told at least so often, by no bytes.
    private static let longestSilence = Duration.seconds(5)
    private var lastGiven = ContinuousClock.now
    private var toSkip: Int64 = 0
    private var discarded = 0

    init(
        _ request: HTTPRequest, isCancelled: @escaping () -> Bool,
        receive: @escaping (UnsafeRawBufferPointer) throws -> Void
    ) {
        self.request = request
        url = WebAddress.redacted(request.url)
        self.isCancelled = isCancelled
        self.receive = receive
    }

    private var start: Int64 { request.start }
    private var end: Int64? { request.end }
    private var limit: Int64 { request.limit }

    /// What the request came to.
    func answer(_ failure: TransferFault?) -> HTTPAnswer {
        HTTPAnswer(status: status, delivered: delivered, retryAfter: retryAfter, failure: failure)
    }

    var isRanged: Bool { start > 0 || end != nil }

    func fault(_ code: TransferFaultCode, _ message: String, remedy: String? = nil, cause: (any Error)? = nil)
        -> TransferFault
    {
        TransferFault(code, message, at: .url(url), remedy: remedy, cause: cause)
    }

    // MARK: Callbacks

    /// One line of an answer's head. A redirect brings several heads; the last one counts.
    func takeHeader(_ bytes: UnsafeRawBufferPointer) {
        let line = String(decoding: bytes, as: UTF8.self)
        if line.hasPrefix("HTTP/") {
            contentType = ""
            contentEncoding = nil
            retryAfter = nil
            contentLength = nil
            rangeStart = nil
            rangeTotal = nil
            status = line.split(separator: " ").dropFirst().first.flatMap { Int($0.prefix { $0.isNumber }) } ?? 0
            return
        }
        guard let colon = line.firstIndex(of: ":") else { return }
        let value = line[line.index(after: colon)...].drop { $0 == " " || $0 == "\t" }.prefix { !$0.isNewline }
        switch line[..<colon].lowercased() {
        case "content-type": contentType = String(value).excerpt()
        case "content-encoding": contentEncoding = String(value).excerpt()
        case "retry-after": retryAfter = Self.seconds(String(value))
        case "content-length": contentLength = Int64(value)
        case "content-range":
            // RFC 9110, section 14.4: `bytes 10-19/100`, where the total may be `*`.
            guard value.lowercased().hasPrefix("bytes ") else { return }
            let parts = value.dropFirst(6).split(separator: "/")
            rangeStart = parts.first?.split(separator: "-").first.flatMap { Int64($0) }
            rangeTotal = parts.count == 2 ? Int64(parts[1]) : nil
        default: break
        }
    }

    /// Seconds from now: RFC 9110, section 10.2.3, has them as a number or as the date when they are over.
    private static func seconds(_ value: String) -> Int64? {
        if let number = Int64(value.prefix { $0 != " " && $0 != "\r" }) { return max(number, 0) }
        let date = curl_getdate(value, nil)
        return date < 0 ? nil : max(Int64(date) - Int64(time(nil)), 0)
    }

    /// Bytes of the answer's body.
    ///
    /// - Returns: false to end the transfer; `failure` or `isComplete` then says why.
    func takeBody(_ bytes: UnsafeRawBufferPointer) -> Bool {
        if !bodyHasBegun {
            bodyHasBegun = true
            failure = judgeHead()
            if failure != nil { return false }
        }
        guard status == 200 || status == 206 else {
            // An error page is read to keep the connection, but not for ever.
            discarded += bytes.count
            return discarded < 1 << 16
        }
        var bytes = bytes
        if toSkip > 0 {
            let skipped = Int(min(toSkip, Int64(bytes.count)))
            toSkip -= Int64(skipped)
            bytes = UnsafeRawBufferPointer(rebasing: bytes[skipped...])
        }
        // Who waits for what comes then knows that something comes.
        guard !bytes.isEmpty || ContinuousClock.now - lastGiven > Self.longestSilence else { return true }
        lastGiven = .now
        var ends = false
        if let end {
            let left = end - start - delivered
            if Int64(bytes.count) > left {
                guard status == 200 else {
                    failure = fault(.tooLarge, "the server sent more than the range that was asked for")
                    return false
                }
                bytes = UnsafeRawBufferPointer(rebasing: bytes[..<Int(left)])
                ends = true
            }
        }
        guard Int64(bytes.count) <= limit - delivered else {
            failure = tooLarge("more than the \(limit) bytes that are allowed here")
            return false
        }
        do {
            try receive(bytes)
        } catch {
            failure = fault(.receiver, "what came could not be taken", cause: error)
            return false
        }
        delivered += Int64(bytes.count)
        isComplete = ends
        return !ends
    }

    /// Whether the caller wants to stop; asked about once a second and between pieces of data.
    func wantsToStop() -> Bool {
        guard isCancelled() else { return false }
        failure = fault(.cancelled, "the transfer was cancelled")
        return true
    }

    // MARK: Judgement

    private func tooLarge(_ found: String) -> TransferFault {
        fault(.tooLarge, found + pageHint, remedy: "check that the address leads to a repository and not to a web page")
    }

    /// Names the usual reason of a wrong length: a portal or a proxy that answers everything with a page of its own.
    private var pageHint: String {
        contentType.lowercased().hasPrefix("text/html") ? " (the server sent a web page, \(contentType))" : ""
    }

    private func wrongSize(_ found: Int64, expected: Int64) -> TransferFault {
        fault(
            .wrongSize, "the file has \(found) bytes where \(expected) are expected\(pageHint)",
            remedy: "try again; if it stays, the repository or a cache on the way is damaged")
    }

    /// What the answer's head alone already rules out.
    private func judgeHead() -> TransferFault? {
        if status == 200 || status == 206, let contentEncoding, contentEncoding.lowercased() != "identity" {
            return fault(
                .refused, "the server sends it compressed (\(contentEncoding)), which was not asked for",
                remedy: "turn that off for this address, in the server or the proxy")
        }
        switch status {
        case 206:
            guard isRanged, rangeStart == start else {
                return fault(
                    .refused, "the server answered with another range than the one that was asked for",
                    remedy: "check the server's or the proxy's support for range requests")
            }
            if let rangeTotal, let end, rangeTotal < end {
                return wrongSize(rangeTotal, expected: end)
            }
        case 200:
            // A server may ignore Range (RFC 9110, section 14.2): what is already there is read again and dropped.
            toSkip = start
            if let contentLength, let end, contentLength < end {
                return wrongSize(contentLength, expected: end)
            }
            if end == nil, let contentLength, contentLength - start > limit {
                return tooLarge("\(contentLength) bytes, and at most \(limit) are allowed here")
            }
        default: break
        }
        return nil
    }

    /// The failure that the finished transfer amounts to, if it does.
    func judge(_ result: CURLcode, detail: String) -> TransferFault? {
        if let failure { return failure }
        if isComplete { return nil }
        guard result == CURLE_OK || (result == CURLE_WRITE_ERROR && status >= 300) else {
            return fault(of: result, detail: detail)
        }
        guard status == 200 || status == 206 else { return TransferFault(status: status, url: url) }
        if !bodyHasBegun, let failure = judgeHead() { return failure }
        if let end, delivered < end - start {
            return fault(
                .cut, "the connection ended after \(delivered) of \(end - start) bytes\(pageHint)",
                remedy: "try again; what is there is kept")
        }
        return nil
    }

    private func fault(of result: CURLcode, detail: String) -> TransferFault {
        let text = detail.isEmpty ? String(cString: curl_easy_strerror(result)) : detail
        switch result {
        case CURLE_COULDNT_RESOLVE_HOST, CURLE_COULDNT_RESOLVE_PROXY, CURLE_COULDNT_CONNECT:
            return fault(.unreachable, "no connection: \(text)", remedy: "check the network, the address and the proxy")
        case CURLE_OPERATION_TIMEDOUT:
            return fault(.timeout, "too slow: \(text)", remedy: "check the network and try again")
        case CURLE_PARTIAL_FILE, CURLE_RECV_ERROR, CURLE_SEND_ERROR, CURLE_GOT_NOTHING, CURLE_HTTP2, CURLE_HTTP2_STREAM:
            return fault(
                .cut, "the connection ended in the middle, after \(delivered) bytes: \(text)",
                remedy: "try again; what is there is kept")
        case CURLE_SSL_CONNECT_ERROR, CURLE_PEER_FAILED_VERIFICATION, CURLE_SSL_CERTPROBLEM, CURLE_SSL_CIPHER,
            CURLE_SSL_CACERT_BADFILE, CURLE_SSL_ISSUER_ERROR, CURLE_SSL_INVALIDCERTSTATUS, CURLE_USE_SSL_FAILED:
            return fault(
                .tls, "no trustworthy TLS connection: \(text)",
                remedy: "check the server's certificate, the clock and the certificate authorities of this machine")
        case CURLE_TOO_MANY_REDIRECTS:
            return fault(.refused, "more than \(HTTPClient.redirectLimit) redirects", remedy: "check the server")
        case CURLE_UNSUPPORTED_PROTOCOL where text.contains("HTTP/0.9"), CURLE_WEIRD_SERVER_REPLY:
            return fault(
                .cut, "what came is no answer of HTTP: \(text)",
                remedy: "try again; if it stays, the server or something on the way is broken")
        case CURLE_UNSUPPORTED_PROTOCOL:
            return fault(
                .refused, "only http and https are fetched, and https never leads on to http: \(text)",
                remedy: "correct the address")
        case CURLE_URL_MALFORMAT:
            return fault(.refused, "this is no valid address: \(text)", remedy: "correct the address")
        default:
            return fault(.refused, "the transfer failed: \(text) (libcurl error \(result.rawValue))")
        }
    }
}
