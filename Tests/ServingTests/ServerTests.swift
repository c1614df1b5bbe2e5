import Command
import Cryptography
import Fault
import FileIO
import Serving
import SystemPackage
import Testing

@Suite("Serving")
struct ServerTests {
    /// Runs `body` with the address of a server of a directory that has a few files.
    func serving(_ body: (String, FilePath) async throws -> Void) async throws {
        let directory = try TemporaryDirectory()
        let root = directory.path.appending("repository")
        for name in ["metadata", "blobs"] { try root.appending(name).makeDirectories() }
        for name in ["timestamp", "12.root"] {
            try root.appending("metadata/\(name).json").replaceContents(with: "{}")
        }
        try root.appending("blobs").appending(Self.digest).replaceContents(with: Self.blob)
        try root.appending(".lock").replaceContents(with: "hidden")
        try directory.path.appending("secret").replaceContents(with: "secret")
        try await Command("ln", ["-s", "../../secret", root.appending("blobs/out").string]).run()
        try await Command("ln", ["-s", "/etc/passwd", root.appending("blobs/absolute").string]).run()
        try await Command("ln", ["-s", "timestamp.json", root.appending("metadata/in.json").string]).run()
        let server = try RepositoryServer(root: root, host: "127.0.0.1", port: 0)
        let (addresses, continuation) = AsyncStream.makeStream(of: String.self)
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await server.run { continuation.yield($0) } }
            var iterator = addresses.makeAsyncIterator()
            let address = try #require(await iterator.next())
            #expect(address.hasPrefix("http://127.0.0.1:"))
            try await body(address, root)
            group.cancelAll()
        }
    }

    static let blob = (0..<1_000_000).map { UInt8(truncatingIfNeeded: $0 * 7 + $0 >> 8) }
    static let digest = SHA256Digest(of: blob).description

    /// What curl got: the status, the headers by lower-case name, and the body.
    func curl(_ url: String, _ arguments: [String] = []) async throws -> (
        status: Int, headers: [String: String], body: [UInt8]
    ) {
        let outcome = try await Command("curl", ["-s", "-i", "--path-as-is", "--max-time", "600"] + arguments + [url])
            .run()
        let end = try #require(outcome.output.indices.first { outcome.output[$0...].starts(with: [13, 10, 13, 10]) })
        let lines = String(decoding: outcome.output[..<end], as: UTF8.self).split(separator: "\r\n")
        var headers: [String: String] = [:]
        for line in lines.dropFirst() {
            let parts = line.split(separator: ":", maxSplits: 1)
            if parts.count == 2 { headers[parts[0].lowercased()] = String(parts[1].drop { $0 == " " }) }
        }
        let status = Int(try #require(lines.first).split(separator: " ")[1]) ?? 0
        return (status, headers, Array(outcome.output[(end + 4)...]))
    }

    @Test("files come whole, in single ranges, or only when they changed, as RFC 9110 says")
    func answers() async throws {
        try await serving { address, root in
            let url = "\(address)/blobs/\(Self.digest)"
            let whole = try await curl(url)
            #expect(whole.status == 200)
            #expect(SHA256Digest(of: whole.body).description == Self.digest)
            #expect(whole.headers["etag"] == "\"\(Self.digest)\"")
            #expect(whole.headers["cache-control"] == "public, max-age=31536000, immutable")
            #expect(whole.headers["content-length"] == "1000000")
            let part = try await curl(url, ["-r", "500000-500009"])
            #expect(part.status == 206)
            #expect(part.body == Array(Self.blob[500_000..<500_010]))
            #expect(part.headers["content-range"] == "bytes 500000-500009/1000000")
            let tail = try await curl(url, ["-r", "-5"])
            #expect(tail.body == Array(Self.blob.suffix(5)))
            let beyond = try await curl(url, ["-r", "1000000-"])
            #expect(beyond.status == 416)
            #expect(beyond.headers["content-range"] == "bytes */1000000")
            let same = try await curl(url, ["-H", "If-None-Match: \"x\", \"\(Self.digest)\""])
            #expect(same.status == 304)
            #expect(same.body.isEmpty)
            let fresh = try await curl(url, ["-r", "0-9", "-H", "If-Range: \"\(Self.digest)\""])
            #expect(fresh.status == 206)
            let stale = try await curl(url, ["-r", "0-9", "-H", "If-Range: \"other\""])
            #expect(stale.status == 200)
            #expect(stale.body.count == 1_000_000)
            let head = try await curl(url, ["-I"])
            #expect(head.status == 200)
            #expect(head.headers["content-length"] == "1000000")
            #expect(try await curl(url, ["-X", "POST", "-d", "x"]).status == 405)
            let timestamp = try await curl("\(address)/metadata/timestamp.json")
            #expect(timestamp.headers["cache-control"] == "no-cache")
            #expect(timestamp.headers["content-type"] == "application/json")
            let root12 = try await curl("\(address)/metadata/12.root.json")
            #expect(root12.headers["cache-control"] == "public, max-age=31536000, immutable")
            #expect(root12.headers["etag"] != "\"12\"")
            try root.appending("metadata/timestamp.json").replaceContents(with: "[]")
            #expect(try await curl("\(address)/metadata/timestamp.json").headers["etag"] != timestamp.headers["etag"])
            #expect(try await curl("\(address)/metadata/in.json").body == Array("[]".utf8))
        }
    }

    @Test("nothing outside the directory and nothing hidden is shown, however it is asked for")
    func escapes() async throws {
        try await serving { address, _ in
            for path in [
                "/../secret", "/%2e%2e/secret", "/blobs/../../secret", "/blobs/..%2f..%2fsecret", "/blobs/out",
                "/blobs/absolute", "//etc/passwd", "/.lock", "/%2elock", "/blobs", "/blobs/", "/", "/nothing",
                "/blobs/\(Self.digest)%00", "/%", "/%zz", "/%ff", "/metadata/./.lock",
            ] {
                let answer = try await curl(address + path)
                #expect(answer.status == 404 || answer.status == 400, "\(path)")
                #expect(!String(decoding: answer.body, as: UTF8.self).contains("secret"), "\(path)")
            }
        }
    }

    @Test("a download that was cut is resumed by curl")
    func resumed() async throws {
        try await serving { address, root in
            let file = root.appending("../part")
            try file.replaceContents(with: Array(Self.blob.prefix(123_456)))
            try await Command("curl", ["-s", "-C", "-", "-o", file.string, "\(address)/blobs/\(Self.digest)"]).run()
            #expect(try SHA256Digest.ofFile(file).digest.description == Self.digest)
        }
    }

    @Test("a directory that is missing, and a port that is taken, are clear errors")
    func refused() async throws {
        let missing = #expect(throws: ServingFault.self) {
            try RepositoryServer(root: "/nothing/here", host: "127.0.0.1", port: 0)
        }
        #expect(missing?.description == "/nothing/here: is not a directory")
        let directory = try TemporaryDirectory()
        let empty = #expect(throws: ServingFault.self) {
            try RepositoryServer(root: directory.path, host: "127.0.0.1", port: 0)
        }
        #expect(
            empty?.description
                == "\(directory.path): holds no repository: there is no metadata/timestamp.json in it; make "
                + "one with 'ballast repo init'")
        try await serving { address, root in
            let port = try #require(Int(address.split(separator: ":").last ?? ""))
            let second = try RepositoryServer(root: root, host: "127.0.0.1", port: port)
            let fault = await #expect(throws: ServingFault.self) { try await second.run { _ in } }
            #expect(
                fault?.description
                    == "cannot listen on port \(port) of 127.0.0.1: Address already in use; choose another "
                    + "--port or --host")
        }
    }
}
