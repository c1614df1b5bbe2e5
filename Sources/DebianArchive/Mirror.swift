public import Fault
import FileIO
public import SystemPackage

/// Where the archive is fetched from.
public struct Mirror: Sendable, Hashable {
    /// The base address of the main archive, without a slash at its end.
    public let main: String
    /// The base address of the security archive, without a slash at its end.
    public let security: String
    /// What this machine shows to servers that ask for a name and a password, the manifest's archives among them.
    public let credentials: AptCredentials

    /// A mirror at `main`; its security archive is beside it under the name with `-security`, unless `security` says otherwise.
    public init(main: String, security: String? = nil, credentials: AptCredentials = .ofMachine()) {
        self.credentials = credentials
        func trimmed(_ address: String) -> String {
            var address = address
            while address.hasSuffix("/") { address.removeLast() }
            return address
        }
        self.main = trimmed(main)
        self.security = security.map(trimmed) ?? trimmed(main) + "-security"
    }

    /// The base address of `suite`: the security archive for names that end in `-security`.
    public func base(ofSuite suite: String) -> String { suite.hasSuffix("-security") ? security : main }

    /// The mirror given by address, or else the machine's own.
    public static func choose(main: String?, security: String?) throws(DebianArchiveFault) -> Mirror {
        if let main { return Mirror(main: main, security: security) }
        let own = try ofMachine()
        return Mirror(main: own.main, security: security ?? own.security)
    }

    /// The mirror that this machine's apt uses: of the first `deb` source that has the machine's own release and the
    /// component main.
    ///
    /// - Parameter root: the root of the file system; another one in tests.
    public static func ofMachine(root: FilePath = "/") throws(DebianArchiveFault) -> Mirror {
        let osRelease = (try? root.appending("etc/os-release").text(limit: 1 << 16)) ?? ""
        let release =
            osRelease.split(separator: "\n").first { $0.hasPrefix("VERSION_CODENAME=") }
            .map { $0.dropFirst("VERSION_CODENAME=".count).filter { $0 != "\"" } } ?? ""
        let sources = try AptSource.all(root: root)
        func first(_ isWanted: (String) -> Bool) -> String? {
            sources.first { $0.components.contains("main") && $0.suites.contains(where: isWanted) }?.address
        }
        // A machine that is no Debian can still have a Debian source.
        guard let main = first({ $0 == release }) ?? first({ !$0.contains("-") && !$0.contains("/") }) else {
            throw DebianArchiveFault(
                .noMirror, "apt's sources name no Debian mirror", at: .path(root.appending("etc/apt").string),
                remedy: "give one with --mirror")
        }
        return Mirror(main: main, security: first { $0.hasSuffix("-security") })
    }
}

/// An entry of apt's sources (sources.list(5)), in either of its two formats.
struct AptSource: Hashable {
    let address: String
    let suites: [String]
    let components: [String]

    /// All `deb` entries with an http or https address, in apt's order of files.
    static func all(root: FilePath) throws(DebianArchiveFault) -> [AptSource] {
        let directory = root.appending("etc/apt")
        var files = [directory.appending("sources.list")]
        let parts = directory.appending("sources.list.d")
        files += ((try? parts.directoryEntries()) ?? []).map { parts.appending($0) }
        var sources: [AptSource] = []
        for file in files {
            guard let bytes = try? file.contents(limit: 1 << 20) else { continue }
            switch file.extension {
            case "list": sources += oneLine(String(decoding: bytes, as: UTF8.self))
            case "sources": sources += try paragraphs(bytes, source: file.string)
            default: continue
            }
        }
        return sources.filter { $0.address.hasPrefix("http://") || $0.address.hasPrefix("https://") }
    }

    static func oneLine(_ text: String) -> [AptSource] {
        text.split(separator: "\n").compactMap { line in
            var words = line.prefix { $0 != "#" }.split { $0 == " " || $0 == "\t" }[...]
            guard words.popFirst() == "deb" else { return nil }
            // Options in brackets may have spaces in them.
            if words.first?.hasPrefix("[") == true {
                while let word = words.popFirst(), !word.hasSuffix("]") {}
            }
            guard let address = words.popFirst(), let suite = words.popFirst() else { return nil }
            return AptSource(address: String(address), suites: [String(suite)], components: words.map(String.init))
        }
    }

    static func paragraphs(_ bytes: [UInt8], source: String) throws(DebianArchiveFault) -> [AptSource] {
        var parser = Deb822Parser(bytes, source: source, allowsComments: true)
        var sources: [AptSource] = []
        while let paragraph = try parser.next() {
            func words(_ name: StaticString) -> [String] {
                (paragraph[name] ?? "").split { $0 == " " || $0 == "\n" || $0 == "\t" }.map(String.init)
            }
            guard words("Types").contains("deb"), paragraph["Enabled"]?.lowercased() != "no" else { continue }
            for address in words("URIs") {
                sources.append(AptSource(address: address, suites: words("Suites"), components: words("Components")))
            }
        }
        return sources
    }
}
