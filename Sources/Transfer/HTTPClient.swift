import CCurl
public import Fault

/// Fetches over HTTP and HTTPS, by libcurl. Calls block; each thread may make its own at the same time, and connections are
/// kept for the next call.
///
/// Everything has a bound: size, redirects, time to connect, slowness, repetition. Proxies come from the environment
/// (`http_proxy`, `https_proxy`, `no_proxy`), as curl reads it.
public final class HTTPClient: Sendable {
    static let redirectLimit = 5

    /// How long the client waits for others.
    public struct Patience: Sendable {
        /// The longest time to connect, TLS included.
        public var connectSeconds = 20
        /// A transfer below `slowBytesPerSecond` for `slowSeconds` is given up.
        public var slowBytesPerSecond = 1024
        /// A transfer below `slowBytesPerSecond` for `slowSeconds` is given up.
        public var slowSeconds = 30
        /// The longest time for a request from its beginning to its end; nil for any.
        public var totalSeconds: Int?

        /// 20 seconds to connect, and at least 1 KiB/s averaged over 30 seconds.
        public init() {}
    }

    private let userAgent: String
    private let patience: Patience
    private let retries: RetryPolicy
    private let certificateFile: String?
    private let pool = HandlePool()

    /// A client that calls itself `userAgent`.
    ///
    /// - Parameter certificateFile: PEM file with the authorities to trust instead of the system's own.
    public init(
        userAgent: String = "ballast", patience: Patience = Patience(), retries: RetryPolicy = RetryPolicy(),
        certificateFile: String? = nil
    ) {
        self.userAgent = userAgent
        self.patience = patience
        self.retries = retries
        self.certificateFile = certificateFile
    }

    /// The whole document at `url`. A request that failed half-way begins again at the first byte, so that two versions of a
    /// document never mix.
    ///
    /// - Parameters:
    ///   - limit: the most bytes it may have.
    ///   - revalidate: asks caches on the way to look whether there is something newer.
    ///   - isCancelled: asked now and then; true ends the transfer.
    public func get(
        _ url: String, limit: Int, revalidate: Bool = false, isCancelled: () -> Bool = { false }
    ) throws(TransferFault) -> [UInt8] {
        var failures = 0
        while true {
            var document: [UInt8] = []
            let outcome = perform(
                url, start: 0, end: nil, limit: Int64(limit), revalidate: revalidate, isCancelled: isCancelled
            ) { document.append(contentsOf: $0) }
            guard let failure = outcome.failure else { return document }
            failures += 1
            try pauseBeforeRetry(after: failure, failures: failures, url: url, isCancelled: isCancelled)
        }
    }

    /// Gives the bytes at `url` to `onData`, each once and in order. After a cut the transfer goes on where it ended, so this
    /// is only for what does not change under its name; whoever receives checks a digest.
    ///
    /// - Parameters:
    ///   - range: the part that is wanted, of which every byte must come; nil for all there is. A server that ignores
    ///     ranges costs time, not correctness.
    ///   - limit: the most bytes to deliver.
    ///   - isCancelled: asked now and then; true ends the transfer.
    /// - Returns: how many bytes were delivered.
    /// - Throws: `receiver`, with what `onData` threw as its cause, when it throws.
    @discardableResult
    public func stream(
        _ url: String, range: Range<Int64>? = nil, limit: Int64 = .max, isCancelled: () -> Bool = { false },
        onData: (UnsafeRawBufferPointer) throws -> Void
    ) throws(TransferFault) -> Int64 {
        if let range {
            guard range.lowerBound >= 0 else {
                throw TransferFault(.refused, "a range begins before the first byte", at: .url(Self.redacted(url)))
            }
            if range.isEmpty { return 0 }
        }
        let start = range?.lowerBound ?? 0
        var delivered: Int64 = 0
        var failures = 0
        while true {
            let outcome = perform(
                url, start: start + delivered, end: range?.upperBound, limit: limit - delivered, revalidate: false,
                isCancelled: isCancelled, receive: onData)
            delivered += outcome.delivered
            guard let failure = outcome.failure else { return delivered }
            // A long transfer over a bad line may be cut many times as long as it gets on.
            failures = outcome.delivered >= 64 << 10 ? 1 : failures + 1
            try pauseBeforeRetry(after: failure, failures: failures, url: url, isCancelled: isCancelled)
        }
    }

    /// The HTTP status that `url` is answered with, whatever it is. One request; the answer's content is dropped, of which no
    /// more than 1 MiB is read.
    ///
    /// - Throws: also where an answer began and did not come to its end.
    public func status(of url: String) throws(TransferFault) -> Int {
        let exchange = Exchange(
            url: Self.redacted(url), start: 0, end: nil, limit: 1 << 20, isCancelled: { false }, receive: { _ in })
        guard let handle = pool.borrow() else { throw exchange.fault(.refused, "libcurl cannot be set up") }
        defer { pool.giveBack(handle) }
        let failure = run(exchange, url: url, revalidate: false, on: handle)
        guard exchange.status != 0 else {
            throw failure ?? exchange.fault(.refused, "the server answered without a status")
        }
        switch failure?.code {
        case .timeout, .cut, .cancelled, .receiver, .file: if let failure { throw failure }
        case nil, .notFound, .http, .unreachable, .tooLarge, .wrongSize, .digestMismatch, .tls, .refused: break
        }
        return exchange.status
    }

    private func pauseBeforeRetry(
        after failure: TransferFault, failures: Int, url: String, isCancelled: () -> Bool
    ) throws(TransferFault) {
        guard failure.isTemporary, failures < retries.attempts else { throw failure }
        // In steps, so that whoever wants to stop does not wait for the end of the pause.
        var left = retries.pause(after: failures)
        while left > .zero {
            if isCancelled() {
                throw TransferFault(.cancelled, "the transfer was cancelled", at: .url(Self.redacted(url)))
            }
            let step = min(left, .seconds(1))
            retries.sleep(step)
            left -= step
        }
    }

    private func perform(
        _ url: String, start: Int64, end: Int64?, limit: Int64, revalidate: Bool, isCancelled: () -> Bool,
        receive: (UnsafeRawBufferPointer) throws -> Void
    ) -> (delivered: Int64, failure: TransferFault?) {
        withoutActuallyEscaping(isCancelled) { isCancelled in
            withoutActuallyEscaping(receive) { receive in
                let exchange = Exchange(
                    url: Self.redacted(url), start: start, end: end, limit: limit, isCancelled: isCancelled,
                    receive: receive)
                if exchange.wantsToStop() { return (0, exchange.failure) }
                guard let handle = pool.borrow() else {
                    return (0, exchange.fault(.refused, "libcurl cannot be set up"))
                }
                defer { pool.giveBack(handle) }
                let failure = run(exchange, url: url, revalidate: revalidate, on: handle)
                return (exchange.delivered, failure)
            }
        }
    }

    private func run(_ exchange: Exchange, url: String, revalidate: Bool, on handle: EasyHandle) -> TransferFault? {
        handle.set(CURLOPT_URL, url)
        handle.set(CURLOPT_USERAGENT, userAgent)
        // Without it libcurl uses signals for its timeouts, which a program with threads cannot have.
        handle.set(CURLOPT_NOSIGNAL, 1)
        handle.set(CURLOPT_CONNECTTIMEOUT, patience.connectSeconds)
        handle.set(CURLOPT_LOW_SPEED_LIMIT, patience.slowBytesPerSecond)
        handle.set(CURLOPT_LOW_SPEED_TIME, patience.slowSeconds)
        if let seconds = patience.totalSeconds { handle.set(CURLOPT_TIMEOUT, seconds) }
        handle.set(CURLOPT_FOLLOWLOCATION, 1)
        handle.set(CURLOPT_MAXREDIRS, Self.redirectLimit)
        handle.set(CURLOPT_PROTOCOLS_STR, "http,https")
        handle.set(CURLOPT_REDIR_PROTOCOLS_STR, url.lowercased().hasPrefix("https:") ? "https" : "http,https")
        if let certificateFile { handle.set(CURLOPT_CAINFO, certificateFile) }
        if exchange.isRanged {
            handle.set(CURLOPT_RANGE, "\(exchange.start)-" + (exchange.end.map { "\($0 - 1)" } ?? ""))
        }
        let headers = revalidate ? curl_slist_append(nil, "Cache-Control: no-cache") : nil
        defer { curl_slist_free_all(headers) }
        if let headers { _ = ballast_curl_set_list(handle.pointer, CURLOPT_HTTPHEADER, headers) }

        let context = Unmanaged.passUnretained(exchange).toOpaque()
        handle.set(CURLOPT_HEADERDATA, context)
        _ = ballast_curl_set_data_callback(handle.pointer, CURLOPT_HEADERFUNCTION) { data, size, count, context in
            guard let data, let context else { return 0 }
            Unmanaged<Exchange>.fromOpaque(context).takeUnretainedValue()
                .takeHeader(UnsafeRawBufferPointer(start: data, count: size * count))
            return size * count
        }
        handle.set(CURLOPT_WRITEDATA, context)
        _ = ballast_curl_set_data_callback(handle.pointer, CURLOPT_WRITEFUNCTION) { data, size, count, context in
            guard let data, let context else { return 0 }
            let exchange = Unmanaged<Exchange>.fromOpaque(context).takeUnretainedValue()
            return exchange.takeBody(UnsafeRawBufferPointer(start: data, count: size * count)) ? size * count : 0
        }
        handle.set(CURLOPT_NOPROGRESS, 0)
        handle.set(CURLOPT_XFERINFODATA, context)
        _ = ballast_curl_set_progress_callback(handle.pointer) { context, _, _, _, _ in
            guard let context else { return 0 }
            return Unmanaged<Exchange>.fromOpaque(context).takeUnretainedValue().wantsToStop() ? 1 : 0
        }

        // libcurl writes into the buffer as long as the option stands; `giveBack` resets it after this call.
        return withUnsafeTemporaryAllocation(byteCount: Int(CURL_ERROR_SIZE), alignment: 1) { text in
            text.initializeMemory(as: UInt8.self, repeating: 0)
            if let address = text.baseAddress { handle.set(CURLOPT_ERRORBUFFER, address) }
            let result = withExtendedLifetime(exchange) { curl_easy_perform(handle.pointer) }
            _ = ballast_curl_set_pointer(handle.pointer, CURLOPT_ERRORBUFFER, nil)
            return exchange.judge(result, detail: String(decoding: text.prefix { $0 != 0 }, as: UTF8.self))
        }
    }

    /// The address without a user and password, as messages show it.
    static func redacted(_ url: String) -> String {
        // Not by a search for "://": that links the string processing library into the agent.
        guard let colon = url.firstIndex(of: ":"), url[colon...].hasPrefix("://") else { return url }
        let authority = url.index(colon, offsetBy: 3)
        guard let at = url[authority...].prefix(while: { $0 != "/" }).lastIndex(of: "@") else { return url }
        return String(url[..<authority] + url[url.index(after: at)...])
    }
}
