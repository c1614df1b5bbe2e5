import CCurl

/// How a client reaches servers.
public struct HTTPOptions: Sendable, Hashable {
    /// How long the client waits for others.
    public struct Patience: Sendable, Hashable {
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

    /// Whose certificates are trusted.
    public enum Authorities: Sendable, Hashable {
        /// The machine's own.
        case system
        /// Those in a PEM file.
        case file(String)
        /// These, in PEM.
        case pem([UInt8])
    }

    /// A certificate by which a server knows this client, with its key, both in PEM.
    public struct Identity: Sendable, Hashable {
        /// The certificate, followed by those of its issuers.
        public var certificate: [UInt8]
        /// Its key, without a passphrase.
        public var key: [UInt8]

        /// `certificate` with its `key`.
        public init(certificate: [UInt8], key: [UInt8]) {
            self.certificate = certificate
            self.key = key
        }
    }

    /// Through whom servers are reached.
    public enum Proxy: Sendable, Hashable {
        /// As `http_proxy`, `https_proxy`, `all_proxy` and `no_proxy` say in the environment, as curl reads it.
        case environment
        /// Directly.
        case none
        /// By the proxy at this address, other than the hosts that are named, as `no_proxy` names them.
        case server(String, except: [String])
    }

    /// What the client calls itself.
    public var userAgent = "ballast"
    /// How long it waits for others.
    public var patience = Patience()
    /// Whose certificates are trusted.
    public var authorities = Authorities.system
    /// The client's own certificate.
    public var identity: Identity?
    /// Through whom servers are reached.
    public var proxy = Proxy.environment
    /// The most bytes a second; nil for any number.
    public var bytesPerSecond: Int64?
    /// Of what the server has sent, how many bytes may wait in the kernel until the client takes them, roughly; nil for as many as the
    /// kernel finds good. Fewer are slower on long ways.
    public var receiveBuffer: Int?

    /// Any speed, the machine's authorities, the environment's proxies.
    public init() {}
}

extension EasyHandle {
    func set(_ options: HTTPOptions, for request: HTTPRequest) {
        set(CURLOPT_USERAGENT, options.userAgent)
        // Without it libcurl uses signals for its timeouts, which a program with threads cannot have.
        set(CURLOPT_NOSIGNAL, 1)
        let patience = options.patience
        set(CURLOPT_CONNECTTIMEOUT, patience.connectSeconds)
        // Whoever limits the speed is not to be taken for a slow server.
        let slow = options.bytesPerSecond.map { min(Int($0 / 2), patience.slowBytesPerSecond) }
        set(CURLOPT_LOW_SPEED_LIMIT, max(slow ?? patience.slowBytesPerSecond, 1))
        set(CURLOPT_LOW_SPEED_TIME, patience.slowSeconds)
        if let seconds = patience.totalSeconds { set(CURLOPT_TIMEOUT, seconds) }
        if let speed = options.bytesPerSecond {
            _ = ballast_curl_set_offset(pointer, CURLOPT_MAX_RECV_SPEED_LARGE, curl_off_t(speed))
            // libcurl takes up to a hundred buffers before it looks at the clock.
            set(CURLOPT_BUFFERSIZE, min(max(Int(speed / 100), 1024), 16384))
        }
        if let size = options.receiveBuffer { _ = ballast_curl_set_receive_buffer(pointer, size) }
        set(CURLOPT_FOLLOWLOCATION, 1)
        set(CURLOPT_MAXREDIRS, HTTPClient.redirectLimit)
        set(CURLOPT_PROTOCOLS_STR, "http,https")
        set(CURLOPT_REDIR_PROTOCOLS_STR, request.url.lowercased().hasPrefix("https:") ? "https" : "http,https")
        switch options.proxy {
        case .environment: break
        case .none:
            // An empty one also keeps the environment's from being used.
            set(CURLOPT_PROXY, "")
        case .server(let address, let exceptions):
            set(CURLOPT_PROXY, address)
            set(CURLOPT_NOPROXY, exceptions.joined(separator: ","))
        }
        switch options.authorities {
        case .system: break
        case .file(let path): set(CURLOPT_CAINFO, path)
        case .pem(let bytes): set(CURLOPT_CAINFO_BLOB, bytes)
        }
        if let identity = options.identity {
            set(CURLOPT_SSLCERT_BLOB, identity.certificate)
            set(CURLOPT_SSLKEY_BLOB, identity.key)
        }
    }

    private func set(_ option: CURLoption, _ bytes: [UInt8]) {
        bytes.withUnsafeBytes { _ = ballast_curl_set_blob(pointer, option, $0.baseAddress, $0.count) }
    }
}
