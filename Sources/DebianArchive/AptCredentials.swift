import FileIO
public import SystemPackage

/// Names and passwords of archives, as this machine's apt has them (apt_auth.conf(5)): manifests and locks hold none.
public struct AptCredentials: Sendable, Hashable {
    fileprivate struct Entry: Hashable {
        /// `http` or `https`; nil for https only.
        var scheme: String?
        var host: String
        var port: String?
        /// What the path of an address begins with.
        var path: String
        var login = ""
        var password = ""
    }

    private var entries: [Entry] = []

    private static let sizeLimit = 1 << 20

    /// No credentials.
    public init() {}

    /// The credentials in a text of the form of netrc(5), of which apt has its own kind.
    public init(parsing text: String) {
        var words: [Substring] = []
        for line in text.split(whereSeparator: \.isNewline) {
            let found = line.split { $0 == " " || $0 == "\t" }
            if found.first?.hasPrefix("#") != true { words += found }
        }
        var rest = words[...]
        while let key = rest.popFirst() {
            switch key {
            case "machine": if let machine = rest.popFirst() { entries.append(Self.entry(machine)) }
            case "login", "user": set(\.login, rest.popFirst())
            case "password": set(\.password, rest.popFirst())
            default: break
            }
        }
    }

    /// What apt reads of the machine; files that may not be read count for nothing, as for apt.
    ///
    /// - Parameter root: the root of the file system; another one in tests.
    public static func ofMachine(root: FilePath = "/") -> AptCredentials {
        let directory = root.appending("etc/apt")
        let parts = directory.appending("auth.conf.d")
        let files =
            ((try? parts.directoryEntries()) ?? []).sorted().filter { $0.hasSuffix(".conf") }.map {
                parts.appending($0)
            }
            + [directory.appending("auth.conf")]
        return AptCredentials(
            parsing: files.compactMap { try? $0.text(limit: sizeLimit) }.joined(separator: "\n"))
    }

    /// The address with the name and the password that belong to it, or as it is.
    func authorize(_ address: String) -> String {
        guard let (scheme, authority, path) = Self.split(address[...]), let scheme, !authority.contains("@"),
            let entry = entries.first(where: { $0.isFor(scheme: scheme, authority: authority, path: path) })
        else { return address }
        return "\(scheme)://\(Self.escaped(entry.login)):\(Self.escaped(entry.password))@\(authority)\(path)"
    }

    private mutating func set(_ key: WritableKeyPath<Entry, String>, _ value: Substring?) {
        guard let value, !entries.isEmpty else { return }
        entries[entries.count - 1][keyPath: key] = String(value)
    }

    /// `[SCHEME://]HOST[:PORT][/PATH]`.
    private static func entry(_ machine: Substring) -> Entry {
        let (scheme, authority, path) = split(machine) ?? (nil, machine, "")
        let (host, port) = hostAndPort(authority)
        return Entry(scheme: scheme.map(String.init), host: host, port: port, path: String(path))
    }

    private static func split(_ address: Substring) -> (scheme: Substring?, authority: Substring, path: Substring)? {
        var rest = address
        var scheme: Substring?
        if let range = rest.firstRange(of: "://") {
            scheme = rest[..<range.lowerBound]
            rest = rest[range.upperBound...]
        }
        let authority = rest.prefix { $0 != "/" }
        return authority.isEmpty ? nil : (scheme, authority, rest[authority.endIndex...])
    }

    fileprivate static func hostAndPort(_ authority: Substring) -> (host: String, port: String?) {
        // An address of IPv6 has colons in its brackets.
        guard let colon = authority.lastIndex(of: ":"), !authority[colon...].contains("]") else {
            return (authority.lowercased(), nil)
        }
        return (authority[..<colon].lowercased(), String(authority[authority.index(after: colon)...]))
    }

    private static func escaped(_ text: String) -> String {
        var escaped = ""
        for byte in text.utf8 {
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: "_"),
                UInt8(ascii: "~"):
                escaped.unicodeScalars.append(Unicode.Scalar(byte))
            default:
                let digits = String(byte, radix: 16, uppercase: true)
                escaped += byte < 16 ? "%0\(digits)" : "%\(digits)"
            }
        }
        return escaped
    }
}

extension AptCredentials.Entry {
    fileprivate func isFor(scheme: Substring, authority: Substring, path: Substring) -> Bool {
        let (host, port) = AptCredentials.hostAndPort(authority)
        return (self.scheme ?? "https") == scheme && self.host == host && (self.port == nil || self.port == port)
            && path.hasPrefix(self.path)
    }
}
