public import Transfer

/// What a fetcher is asked for.
public struct FetchRequest: Sendable, Hashable {
    /// What is done with what comes.
    public enum Form: String, Sendable, Hashable, CaseIterable {
        /// It is given as it is stored.
        case stored
        /// It consists of zstd frames, and what they hold is given.
        case decompressed
        /// It is dropped: only the status counts.
        case dropped
    }

    /// What is asked of the server.
    public var http: HTTPRequest
    /// What is done with its answer.
    public var form: Form
    /// How the server is reached.
    public var options: HTTPOptions

    /// `http` as `options` say.
    public init(_ http: HTTPRequest, form: Form = .stored, options: HTTPOptions) {
        self.http = http
        self.form = form
        self.options = options
    }
}

/// What a request came to.
public struct FetchAnswer: Sendable {
    /// The HTTP status, or 0 where none came.
    public var status: Int
    /// How many bytes of what is stored have come, and been given to the receiver.
    public var received: Int64
    /// After how many seconds the server wants to be asked again, where it says so.
    public var retryAfter: Int64?
    /// Why not everything came; nil where it did.
    public var failure: TransferFault?

    /// An answer.
    public init(status: Int, received: Int64, retryAfter: Int64? = nil, failure: TransferFault?) {
        self.status = status
        self.received = received
        self.retryAfter = retryAfter
        self.failure = failure
    }
}

/// Whoever fetches from web servers.
public protocol Fetcher: Sendable {
    /// Makes one request and gives what comes to `receive`, each byte once and in order, with the number of stored bytes that have
    /// come until then.
    ///
    /// - Parameter isCancelled: asked about once a second; true ends it.
    /// - Returns: what it came to; failures too, `receiver` where `receive` threw.
    func fetch(
        _ request: FetchRequest, isCancelled: () -> Bool,
        receive: (_ bytes: UnsafeRawBufferPointer, _ received: Int64) throws -> Void
    ) -> FetchAnswer

    /// Why no connection to `port` of `host` opens within `seconds`, or nil where one does.
    func connectionProblem(host: String, port: UInt16, seconds: Int) -> String?
}
