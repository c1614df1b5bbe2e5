public import Fault

/// Why something could not be fetched.
public enum TransferFaultCode: String, FaultCode {
    /// The server says that there is nothing at this address (404, 410).
    case notFound = "not-found"
    /// The server answered with another status than success; it stands in the message.
    case http
    /// The server cannot answer now (429, 500 and above).
    case unavailable
    /// No connection: the name is unknown, nobody listens, the proxy refuses.
    case unreachable
    /// The connection ended in the middle.
    case cut
    /// There is more than was allowed or announced.
    case tooLarge = "too-large"
    /// There is less, or something of another length than the one that was expected.
    case wrongSize = "wrong-size"
    /// What came is not what the digest names.
    case digestMismatch = "digest-mismatch"
    /// Connecting took too long, or the data came too slowly for too long.
    case timeout
    /// The server's certificate or the TLS handshake is not acceptable.
    case tls
    /// The caller asked to stop.
    case cancelled
    /// This client does not do what the address or the server asks for: another protocol, too many redirects.
    case refused
    /// Whoever receives the data failed; the cause says why.
    case receiver
    /// The file that the data goes to could not be written.
    case file
}

/// A failure of fetching something.
public typealias TransferFault = Fault<TransferFaultCode>

extension Fault where Code == TransferFaultCode {
    /// Whether the same request may well succeed a moment later.
    public var isTemporary: Bool {
        switch code {
        case .unreachable, .cut, .timeout, .unavailable: true
        case .http, .notFound, .tooLarge, .wrongSize, .digestMismatch, .tls, .cancelled, .refused, .receiver, .file:
            false
        }
    }

    init(status: Int, url: String) {
        switch status {
        case 404, 410:
            self.init(
                .notFound, "the server has nothing here (HTTP status \(status))", at: .url(url),
                remedy: "check the address and that it is published")
        case 429, 500...:
            self.init(
                .unavailable, "the server cannot answer now (HTTP status \(status))", at: .url(url),
                remedy: "try again later or ask who runs the server")
        case 401, 403, 407:
            self.init(
                .http, "the server does not let us have this (HTTP status \(status))", at: .url(url),
                remedy: "check permissions and credentials on the server or the proxy")
        default:
            // nginx has no status of its own for a client without a certificate.
            let isOfCertificate = status == 400 && url.lowercased().hasPrefix("https:")
            self.init(
                .http, "the server answered with HTTP status \(status) where 200 was expected", at: .url(url),
                remedy: "check the address"
                    + (isOfCertificate ? ", and whether the server wants a client certificate" : ""))
        }
    }
}
