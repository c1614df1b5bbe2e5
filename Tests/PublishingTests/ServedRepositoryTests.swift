import Command
import Cryptography
import Fault
import FileIO
import Glibc
import Publishing
import Release
import Serving
import SystemPackage
import TestSupport
import Testing
import Transfer
import Trust

@Suite("A served repository")
struct ServedRepositoryTests {
    /// Runs `body` with the address and the directory of a repository that has one release, served over HTTP.
    func serving(_ body: (String, FilePath) async throws -> Void) async throws {
        let directory = try TemporaryDirectory()
        let path = directory.path.appending("repository")
        let build = try FakeBuild.write(to: directory.path.appending("build"), version: "1.0~rc1")
        let repository = Repository(path)
        try repository.initialize(keys: try FakeBuild.keys(), now: .now)
        _ = try await repository.publish(
            build, options: .init(channels: ["stable"]), keys: try FakeBuild.keys(), now: .now)
        let server = try RepositoryServer(root: path, host: "127.0.0.1", port: 0)
        let (addresses, continuation) = AsyncStream.makeStream(of: String.self)
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await server.run { continuation.yield($0) } }
            var iterator = addresses.makeAsyncIterator()
            try await body(try #require(await iterator.next()), path)
            group.cancelAll()
        }
    }

    /// A Python with the packages of requirements.txt, made once beside the build.
    static func python() async throws -> [String: String] {
        let client = FilePath(#filePath).removingLastComponent().appending("Client")
        let cache = FilePath(getenv("BALLAST_TEST_CACHE").map { String(cString: $0) } ?? "/var/tmp/ballast-test-cache")
        let packages = cache.appending("python-tuf")
        if !packages.appending("complete").exists {
            try await Command(
                "python3",
                [
                    "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--target", packages.string, "-r",
                    client.appending("requirements.txt").string,
                ]
            ).run()
            try packages.appending("complete").replaceContents(with: "")
        }
        return [
            "PATH": getenv("PATH").map { String(cString: $0) } ?? "/usr/bin:/bin", "PYTHONPATH": packages.string,
            "HOME": cache.string,
        ]
    }

    @Test("python-tuf accepts the repository and downloads a release")
    func pythonTUF() async throws {
        let environment = try await Self.python()
        try await serving { address, path in
            let script = FilePath(#filePath).removingLastComponent().appending("Client/client.py")
            let outcome = try await Command(
                "python3",
                [
                    script.string, address, path.appending("metadata/1.root.json").string,
                    path.appending("../client").string, "box_1.0~rc1_amd64.release.json",
                ], environment: environment
            ).run()
            let file = FilePath(String(outcome.outputText.split(separator: "\n").last ?? ""))
            let release = try ReleaseDocument(parsing: file.contents(), source: "release")
            #expect(release.version == (try ImageVersion("1.0~rc1")))
        }
    }

    @Test("our client accepts it over HTTP, fetches every blob, and refuses one with a flipped byte")
    func overHTTP() async throws {
        try await serving { address, path in
            try await onOwnThread { try self.expectWhole(path, at: address) }
        }
    }

    private func expectWhole(_ path: FilePath, at address: String) throws {
        let source = HTTPSource(base: address)
        let root = try path.appending("metadata/root.json").contents()
        let client = MetadataClient(
            trustedRoot: root, source: source, store: DirectoryStore(path.appending("../trust")))
        let trusted = try client.refresh(now: .now)
        let name = try #require(ReleaseEntry.all(in: trusted.targets).last?.name.description)
        let release = try ReleaseDocument(
            parsing: trusted.fetch(name, limit: ReleaseDocument.byteLimit), source: name)
        for blob in [release.kernel, release.image.index, release.image.frames] {
            let file = path.appending("../fetched")
            let url = "\(address)/\(blob.path)"
            try source.client.download(url, to: file, size: blob.size, digest: blob.digest)
            try file.removeTree()
            var bytes = try path.appending(blob.path).contents()
            bytes[bytes.count / 2] ^= 1
            try path.appending(blob.path).replaceContents(with: bytes)
            let fault = #expect(throws: TransferFault.self) {
                try source.client.download(url, to: file, size: blob.size, digest: blob.digest)
            }
            #expect(
                fault?.description == "\(url): what the server has is not what SHA-256 \(blob.digest) names; "
                    + "ask who runs the server; the file was not kept")
            #expect(!file.exists)
        }
    }
}

/// A repository over HTTP.
struct HTTPSource: MetadataSource {
    let base: String
    let client = HTTPClient(retries: RetryPolicy(attempts: 1))

    func fetch(_ path: String, limit: Int) throws -> [UInt8]? {
        do throws(TransferFault) {
            return try client.get("\(base)/\(path)", limit: limit, revalidate: true)
        } catch {
            if error.code == .notFound { return nil }
            throw error
        }
    }
}
