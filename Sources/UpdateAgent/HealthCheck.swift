import JSON

/// One thing that must hold before a boot counts as good.
public struct HealthCheck: Sendable, Hashable {
    /// What is looked at.
    public enum Probe: Sendable, Hashable {
        /// The unit is active.
        case unit(String)
        /// The program, given by its path, ends with status 0.
        case command(program: String, arguments: [String])
        /// A GET of the address is answered with a status from 200 to 299.
        case http(String)
        /// A connection to the port opens.
        case tcp(host: String, port: UInt16)
        /// containerd answers on its socket.
        case containerd
    }

    /// Its name.
    public var name: String
    /// How long it may take to hold, in seconds.
    public var timeout: Int
    /// What is looked at.
    public var probe: Probe
    /// Whether it is about what is outside the host, so that its failure says nothing about the version.
    public var blamesEnvironment = false

    /// The check `name`, which may take `timeout` seconds.
    public init(name: String, timeout: Int, probe: Probe) {
        self.name = name
        self.timeout = timeout
        self.probe = probe
    }

    init(parsing cursor: JSONCursor) throws(JSONFault) {
        name = try cursor.field("name").string()
        timeout = try cursor.field("timeout_seconds").integer(in: 1...3600)
        if let blame = try cursor.optional("blame") {
            guard let known = ["version": false, "environment": true][try blame.string()] else {
                throw blame.unexpected("expected 'version' or 'environment'")
            }
            blamesEnvironment = known
        }
        let probes = ["unit", "command", "http", "tcp", "containerd"]
        try cursor.refuseMembers(except: Set(probes + ["name", "timeout_seconds", "blame"]))
        var found: [(kind: String, value: JSONCursor)] = []
        for kind in probes {
            if let value = try cursor.optional(kind) { found.append((kind, value)) }
        }
        guard found.count == 1, let (kind, value) = found.first else {
            throw cursor.unexpected("expected exactly one of \(probes.joined(separator: ", "))")
        }
        switch kind {
        case "unit": probe = .unit(try value.string())
        case "command":
            var words: [String] = []
            for word in try value.elements(atMost: 1000) { words.append(try word.string()) }
            guard let program = words.first else { throw value.unexpected("expected a program") }
            probe = .command(program: program, arguments: Array(words.dropFirst()))
        case "http": probe = .http(try value.string())
        case "tcp": probe = try Self.endpoint(value)
        default:
            guard try value.bool() else { throw value.unexpected("expected true") }
            probe = .containerd
        }
    }

    private static func endpoint(_ cursor: JSONCursor) throws(JSONFault) -> Probe {
        let text = try cursor.string()
        guard let colon = text.lastIndex(of: ":"), let port = UInt16(text[text.index(after: colon)...]), port > 0 else {
            throw cursor.unexpected("expected a host and port, such as '127.0.0.1:80'")
        }
        var host = text[..<colon]
        if host.hasPrefix("["), host.hasSuffix("]") { host = host.dropFirst().dropLast() }
        guard !host.isEmpty else { throw cursor.unexpected("expected a host before the port") }
        return .tcp(host: String(host), port: port)
    }
}
