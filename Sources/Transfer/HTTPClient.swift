import CCurl
public import Fault

/// Fetches over HTTP and HTTPS, by libcurl. Calls block; each thread may make its own at the same time, and connections are
/// kept for the next call. Everything has a bound: size, redirects, time to connect, slowness, repetition.
public final class HTTPClient: Sendable {
    static let redirectLimit = 5

    private let options: HTTPOptions
    private let retries: RetryPolicy
    private let pool = HandlePool()

    /// A client that reaches servers as `options` says and asks again as `retries` says.
    public init(options: HTTPOptions, retries: RetryPolicy = RetryPolicy()) {
        self.options = options
        self.retries = retries
    }

    /// A client that calls itself `userAgent`.
    ///
    /// - Parameter certificateFile: PEM file with the authorities to trust instead of the system's own.
    public convenience init(
        userAgent: String = "ballast", patience: HTTPOptions.Patience = HTTPOptions.Patience(),
        retries: RetryPolicy = RetryPolicy(), certificateFile: String? = nil
    ) {
        var options = HTTPOptions()
        options.userAgent = userAgent
        options.patience = patience
        if let certificateFile { options.authorities = .file(certificateFile) }
        self.init(options: options, retries: retries)
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
            var request = HTTPRequest(url)
            request.limit = Int64(limit)
            request.revalidates = revalidate
            let answer = answer(to: request, isCancelled: isCancelled) { document.append(contentsOf: $0) }
            guard let failure = answer.failure else { return document }
            failures += 1
            try pauseBeforeRetry(after: failure, answer, failures: failures, url: url, isCancelled: isCancelled)
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
                throw TransferFault(
                    .refused, "a range begins before the first byte", at: .url(WebAddress.redacted(url)))
            }
            if range.isEmpty { return 0 }
        }
        let start = range?.lowerBound ?? 0
        var delivered: Int64 = 0
        var failures = 0
        while true {
            var request = HTTPRequest(url)
            request.start = start + delivered
            request.end = range?.upperBound
            request.limit = limit - delivered
            let answer = answer(to: request, isCancelled: isCancelled, receive: onData)
            delivered += answer.delivered
            guard let failure = answer.failure else { return delivered }
            // A long transfer over a bad line may be cut many times as long as it gets on.
            failures = answer.delivered >= 64 << 10 ? 1 : failures + 1
            try pauseBeforeRetry(after: failure, answer, failures: failures, url: url, isCancelled: isCancelled)
        }
    }

    /// Asks once, and gives the bytes that are wanted to `receive`, in order.
    ///
    /// - Parameter isCancelled: asked about once a second and between pieces of data; true ends the transfer.
    /// - Returns: what it came to; failures too.
    public func answer(
        to request: HTTPRequest, isCancelled: () -> Bool = { false },
        receive: (UnsafeRawBufferPointer) throws -> Void = { _ in }
    ) -> HTTPAnswer {
        withoutActuallyEscaping(isCancelled) { isCancelled in
            withoutActuallyEscaping(receive) { receive in
                let exchange = Exchange(request, isCancelled: isCancelled, receive: receive)
                if exchange.wantsToStop() { return exchange.answer(exchange.failure) }
                guard let handle = pool.borrow() else {
                    return exchange.answer(exchange.fault(.refused, "libcurl cannot be set up"))
                }
                defer { pool.giveBack(handle) }
                return exchange.answer(run(exchange, on: handle))
            }
        }
    }

    private func pauseBeforeRetry(
        after failure: TransferFault, _ answer: HTTPAnswer, failures: Int, url: String, isCancelled: () -> Bool
    ) throws(TransferFault) {
        guard failure.isTemporary, failures < retries.attempts else { throw failure }
        // In steps, so that whoever wants to stop does not wait for the end of the pause.
        var left = max(retries.pause(after: failures), .seconds(answer.retryAfter ?? 0))
        guard left <= retries.longestPause else { throw failure }
        while left > .zero {
            if isCancelled() {
                throw TransferFault(.cancelled, "the transfer was cancelled", at: .url(WebAddress.redacted(url)))
            }
            let step = min(left, .seconds(1))
            retries.sleep(step)
            left -= step
        }
    }

    private func run(_ exchange: Exchange, on handle: EasyHandle) -> TransferFault? {
        let request = exchange.request
        handle.set(CURLOPT_URL, request.url)
        handle.set(options, for: request)
        if exchange.isRanged {
            handle.set(CURLOPT_RANGE, "\(request.start)-" + (request.end.map { "\($0 - 1)" } ?? ""))
        }
        // What is compressed on the way has another length and another digest than what is published.
        var headers = curl_slist_append(nil, "Accept-Encoding: identity")
        defer { curl_slist_free_all(headers) }
        if request.revalidates { headers = curl_slist_append(headers, "Cache-Control: no-cache") ?? headers }
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
            // libcurl names the proxy as it was given to it.
            let isSecret = if case .server(let address, _) = options.proxy { address.contains("@") } else { false }
            return exchange.judge(
                result, detail: isSecret ? "" : String(decoding: text.prefix { $0 != 0 }, as: UTF8.self))
        }
    }

}
