import Fault
import FileIO
import Glibc
import JSON
public import SystemPackage
import Terminal
import Transfer

/// How the host reaches its repository: the member `transfer` of `agent.json`.
public struct TransferSettings: Sendable, Hashable {
    /// The proxy's address, or "none"; nil where the agent's environment says it.
    public var proxy: String?
    /// Hosts that are reached without it, as `no_proxy` names them.
    public var noProxy: [String] = []
    /// The most bytes a second.
    public var bytesPerSecond: Int64?
    /// A PEM file of the authorities that are trusted instead of the machine's own.
    public var authorities: FilePath?
    /// PEM file of the host's own certificate.
    public var certificate: FilePath?
    /// PEM file of its key.
    public var key: FilePath?

    private static let least: Int = 1024

    init() {}

    init(parsing cursor: JSONCursor) throws(JSONFault) {
        try cursor.refuseMembers(except: [
            "proxy", "no_proxy", "bytes_per_second", "ca_certificates", "client_certificate", "client_key",
        ])
        if let proxy = try cursor.optional("proxy") {
            let text = try proxy.string()
            let schemes = ["http://", "https://", "socks4://", "socks4a://", "socks5://", "socks5h://"]
            guard text == "none" || schemes.contains(where: { text.hasPrefix($0) }), text.utf8.count <= 2048 else {
                throw proxy.unexpected("expected 'none' or an address such as 'http://proxy.example.org:3128'")
            }
            guard text == "none" || AgentSettings.hasPlainAuthority(text) else {
                throw proxy.unexpected(
                    "expected a host and a port that is a number; a '/' in a password is written as %2F")
            }
            self.proxy = text
        }
        for name in try cursor.optional("no_proxy")?.elements(atMost: 1000) ?? [] { noProxy.append(try name.string()) }
        bytesPerSecond = try cursor.optional("bytes_per_second").map { limit throws(JSONFault) in
            Int64(try limit.integer(in: Self.least...(1 << 40)))
        }
        authorities = try cursor.optional("ca_certificates").map { path throws(JSONFault) in
            try AgentSettings.path(path)
        }
        certificate = try cursor.optional("client_certificate").map { path throws(JSONFault) in
            try AgentSettings.path(path)
        }
        key = try cursor.optional("client_key").map { path throws(JSONFault) in try AgentSettings.path(path) }
    }

    /// What requests go by. The files are read now, so that a certificate that was renewed counts at once.
    func options() throws(UpdateAgentFault) -> HTTPOptions {
        var options = HTTPOptions()
        options.userAgent = "ballastd/\(ProgramVersion.current)"
        options.bytesPerSecond = bytesPerSecond
        if let authorities { options.authorities = .pem(try Self.bytes(authorities)) }
        switch (certificate, key) {
        case (nil, nil): break
        case (let certificate?, let key?):
            options.identity = HTTPOptions.Identity(
                certificate: try Self.bytes(certificate), key: try Self.bytes(key))
        default:
            // Not when they are read: the operator's settings count one by one.
            throw UpdateAgentFault(
                .invalid, "of 'client_certificate' and 'client_key' one is missing",
                remedy: "give both in 'transfer' of the agent's settings, or neither")
        }
        switch proxy {
        case "none": options.proxy = .none
        case let address?: options.proxy = .server(address, except: noProxy)
        case nil: options.proxy = .environment
        }
        return options
    }

    private static func bytes(_ path: FilePath) throws(UpdateAgentFault) -> [UInt8] {
        do throws(FileIOFault) { return try path.contents(limit: 256 << 10) } catch {
            throw UpdateAgentFault(
                .invalid, "a certificate or key of the settings cannot be read", at: .path(path.string),
                remedy: "correct 'transfer' in the agent's settings, or put the file there", cause: error)
        }
    }
}

extension HTTPOptions.Proxy {
    /// What this process's environment says of `url`, by the names that curl knows.
    static func inEnvironment(for url: String) -> HTTPOptions.Proxy {
        func value(_ name: String) -> String? {
            getenv(name).map { String(cString: $0) }.flatMap { $0.isEmpty ? nil : $0 }
        }
        // HTTP_PROXY does not count: a web server would set it from a request's header.
        let own = url.lowercased().hasPrefix("https:") ? ["https_proxy", "HTTPS_PROXY"] : ["http_proxy"]
        guard let address = (own + ["all_proxy", "ALL_PROXY"]).lazy.compactMap(value).first else { return .none }
        let exceptions = value("no_proxy") ?? value("NO_PROXY") ?? ""
        return .server(address, except: exceptions.split(whereSeparator: { $0 == "," || $0 == " " }).map(String.init))
    }
}
