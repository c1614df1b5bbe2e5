import Command
import Cryptography
import DebianArchive
import FileIO
import Foundation
import SystemPackage
import Testing

/// A small archive, signed with a key of its own and served on loopback.
final class LocalArchive {
    struct Package {
        var name: String
        var version = "1"
        var fields: [String: String] = [:]
        var content: [UInt8] = []
    }

    private let box: DirectoryBox
    let signer: Signer
    private let process = Process()
    private let input = Pipe()
    let mirror: Mirror
    /// A moment at which what `publish` writes is valid.
    static let now: Int64 = 1_790_000_000

    var root: FilePath { box.path.appending("www") }
    var cache: FilePath { box.path.appending("cache") }

    init() async throws {
        box = try DirectoryBox()
        signer = try await Signer.shared.value
        try box.path.appending("www").makeDirectories()
        // Ends when its standard input does, which is when this process ends.
        let script = """
            import base64, functools, http.server, os, sys, threading
            wanted = 'Basic ' + base64.b64encode('buyer:#p@ss:w/rd%1'.encode()).decode()
            class Handler(http.server.SimpleHTTPRequestHandler):
                def do_GET(self):
                    if self.path.startswith('/private/') and self.headers['Authorization'] != wanted:
                        return self.send_error(401)
                    if self.path.startswith('/moved/'):
                        self.send_response(302)
                        self.send_header('Location', self.path.replace('/moved/', '/private/'))
                        return self.end_headers()
                    super().do_GET()
                def log_message(self, *words): open(sys.argv[2], 'a').write(self.path + '\\n')
            server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), functools.partial(Handler, directory=sys.argv[1]))
            print(server.server_port, flush=True)
            threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()
            server.serve_forever()
            """
        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        process.arguments = [
            "python3", "-c", script, box.path.appending("www").string, box.path.appending("log").string,
        ]
        let output = Pipe()
        process.standardInput = input
        process.standardOutput = output
        try process.run()
        var line: [UInt8] = []
        while let byte = try output.fileHandleForReading.read(upToCount: 1)?.first, byte != UInt8(ascii: "\n") {
            line.append(byte)
        }
        let base = "http://127.0.0.1:\(String(decoding: line, as: UTF8.self))"
        mirror = Mirror(main: "\(base)/debian", credentials: AptCredentials())
    }

    deinit { try? input.fileHandleForWriting.close() }

    /// What was asked of the server, in order.
    var requests: [String] {
        ((try? box.path.appending("log").text()) ?? "").split(separator: "\n").map(String.init)
    }

    func client(at now: Int64 = LocalArchive.now, keyring: FilePath? = nil) -> ArchiveClient {
        ArchiveClient(mirror: mirror, cache: cache, keyring: Keyring(keyring ?? signer.keyring), now: { now })
    }

    func directory(ofSuite suite: String) -> FilePath {
        root.appending(suite.hasSuffix("-security") ? "debian-security" : "debian").appending("dists").appending(suite)
    }

    /// The text of a Packages index, and the packages put into the pool.
    func index(_ packages: [Package], suite: String) throws -> String {
        let base = directory(ofSuite: suite).removingLastComponent().removingLastComponent()
        var text = ""
        for package in packages {
            let content =
                package.content.isEmpty ? Array("deb of \(package.name) \(package.version)".utf8) : package.content
            let path = "pool/main/\(package.name)_\(package.version).deb"
            try base.appending(path).removingLastComponent().makeDirectories()
            try base.appending(path).replaceContents(with: content)
            var fields = package.fields
            fields["Architecture"] = fields["Architecture"] ?? "amd64"
            text += "Package: \(package.name)\nVersion: \(package.version)\n"
            for (name, value) in fields.sorted(by: { $0.key < $1.key }) { text += "\(name): \(value)\n" }
            text += "Filename: \(path)\nSize: \(content.count)\nSHA256: \(SHA256Digest(of: content))\n\n"
        }
        return text
    }

    /// Writes a suite with one component.
    func publish(
        _ packages: [Package], suite: String = "trixie", codename: String? = nil, date: Int64 = LocalArchive.now - 3600,
        validUntil: Int64? = LocalArchive.now + 86_400, extra: String = ""
    ) async throws {
        let plain = Array(try index(packages, suite: suite).utf8)
        let directory = directory(ofSuite: suite)
        let binary = directory.appending("main/binary-amd64")
        try binary.makeDirectories()
        let compressed = try await DebCommand.run("xz", ["--stdout", "-0"], input: plain)
        try binary.appending("Packages.xz").replaceContents(with: compressed)
        var release = "Origin: Test\nSuite: stable\nCodename: \(codename ?? suite)\nDate: \(Self.text(date))\n"
        if let validUntil { release += "Valid-Until: \(Self.text(validUntil))\n" }
        release += "Architectures: amd64 arm64\nComponents: main\n\(extra)SHA256:\n"
        for (name, bytes) in [("Packages", plain), ("Packages.xz", compressed)] {
            release += " \(SHA256Digest(of: bytes)) \(bytes.count) main/binary-amd64/\(name)\n"
        }
        try await sign(release, suite: suite)
    }

    func sign(_ release: String, suite: String) async throws {
        try directory(ofSuite: suite).appending("InRelease")
            .replaceContents(with: try await signer.sign(Array(release.utf8)))
    }

    static func text(_ seconds: Int64) -> String {
        let formatter = DateFormatter()
        formatter.locale = Locale(identifier: "en_US_POSIX")
        formatter.timeZone = TimeZone(identifier: "UTC")
        formatter.dateFormat = "EEE, dd MMM yyyy HH:mm:ss 'UTC'"
        return formatter.string(from: Date(timeIntervalSince1970: Double(seconds)))
    }
}

/// A throw-away key, made once for all tests.
struct Signer: Sendable {
    private let home: FilePath
    let keyring: FilePath
    // A static has no deinit. Without its directory, gpg's agent ends too.
    private static let box = Result {
        let box = try DirectoryBox()
        atexit { Signer.remove() }
        return box
    }
    static let shared = Task { try await Signer(name: "signer") }
    static let stranger = Task { try await Signer(name: "stranger") }
    /// Whose key ended with the year 2020, in which all is signed by it.
    static let expired = Task { try await Signer(name: "expired", until: "2020-12-31", at: "20200601T000000") }
    private let clock: [String]

    private init(name: String, until end: String = "never", at time: String? = nil) async throws {
        clock = time.map { ["--faked-system-time", $0] } ?? []
        home = try Self.box.get().path.appending(name)
        keyring = home.appending("keyring.gpg")
        try home.makeDirectories(permissions: FilePermissions(rawValue: 0o700))
        _ = try await DebCommand.run(
            "gpg",
            ["--homedir", home.string, "--batch"] + clock + [
                "--passphrase", "", "--quick-gen-key", "\(name) <\(name)@example.org>", "ed25519", "sign", end,
            ])
        try keyring.replaceContents(with: try await DebCommand.run("gpg", ["--homedir", home.string, "--export"]))
    }

    private static func remove() { try? box.get().path.removeTree() }

    /// Where gpg finds the secret key.
    var directory: FilePath { home }

    /// A key of its own that can be revoked.
    static func revocable() async throws -> Signer { try await Signer(name: "revocable") }

    /// Revokes the key, by the certificate that gpg makes with each.
    func revoke() async throws {
        let directory = home.appending("openpgp-revocs.d")
        let name = try #require(try directory.directoryEntries().first)
        // gpg writes a colon before it, so that nobody revokes a key by mistake.
        let text = try directory.appending(name).text().replacing(":-----BEGIN", with: "-----BEGIN")
        _ = try await DebCommand.run("gpg", ["--homedir", home.string, "--batch", "--import"], input: Array(text.utf8))
    }

    /// The public key as vendors offer it.
    func armored() async throws -> [UInt8] {
        try await DebCommand.run("gpg", ["--homedir", home.string, "--armor", "--export"])
    }

    /// A signature by itself. One without armor can be put after another one.
    func signApart(_ text: [UInt8], isArmored: Bool = true) async throws -> [UInt8] {
        try await DebCommand.run(
            "gpg",
            ["--homedir", home.string, "--batch"] + clock + (isArmored ? ["--armor"] : [])
                + ["--detach-sign", "--output", "-"], input: text)
    }

    func sign(_ text: [UInt8]) async throws -> [UInt8] {
        try await DebCommand.run("gpg", ["--homedir", home.string, "--batch", "--clearsign"], input: text)
    }
}

enum DebCommand {
    static func run(_ program: String, _ arguments: [String], input: [UInt8] = []) async throws -> [UInt8] {
        try await Command(program, arguments).run(input: input).output
    }
}

/// Unchecked, because nothing of it changes between its making and its end.
final class DirectoryBox: @unchecked Sendable {
    private let directory: TemporaryDirectory
    var path: FilePath { directory.path }
    init() throws { directory = try TemporaryDirectory(prefix: "ballast-archive-tests") }
}
