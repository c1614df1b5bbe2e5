public import Fault

/// One GET.
public struct HTTPRequest: Sendable, Hashable {
    /// Where.
    public var url: String
    /// The first byte that is wanted. A server that ignores ranges costs time, not correctness.
    public var start: Int64 = 0
    /// The end of what is wanted, of which every byte must come; nil for all there is.
    public var end: Int64?
    /// The most bytes to deliver.
    public var limit = Int64.max
    /// Whether caches on the way shall look if there is something newer.
    public var revalidates = false

    /// All there is at `url`.
    public init(_ url: String) { self.url = url }
}

/// What a request came to.
public struct HTTPAnswer: Sendable {
    /// The last status, or 0 where none came.
    public var status: Int
    /// How many bytes were delivered.
    public var delivered: Int64
    /// After how many seconds the server wants to be asked again, where it says so (RFC 9110, section 10.2.3).
    public var retryAfter: Int64?
    /// Why not everything came that is wanted; nil where it did.
    public var failure: TransferFault?

    /// An answer.
    public init(status: Int, delivered: Int64, retryAfter: Int64? = nil, failure: TransferFault?) {
        self.status = status
        self.delivered = delivered
        self.retryAfter = retryAfter
        self.failure = failure
    }
}
