import Cryptography
import Fault
import FileIO
import SystemPackage
import Testing
import Transfer

@Suite("Download")
struct DownloadTests {
    let server: FaultyServer
    let client = HTTPClient(retries: RetryPolicy(attempts: 2, sleep: { _ in }))
    let digest: SHA256Digest

    init() throws {
        server = try FaultyServer.shared.get()
        digest = SHA256Digest(of: server.data)
    }

    /// What stood in the directory after a download of `path`, with `part` there before it.
    private func download(_ path: String, part: [UInt8]? = nil, size: Int64 = 300_000) throws -> (
        files: [String], content: [UInt8]?, fault: TransferFault?, progress: Int64
    ) {
        let directory = try TemporaryDirectory()
        let file = directory.path.appending("file")
        if let part { try directory.path.appending("file.part").replaceContents(with: part) }
        var progress: Int64 = 0
        var fault: TransferFault?
        do throws(TransferFault) {
            try client.download(
                "\(server.base)/\(path)", to: file, size: size, digest: digest,
                progress: { progress += $0 })
        } catch {
            fault = error
        }
        return (try directory.path.directoryEntries(), try? file.contents(), fault, progress)
    }

    @Test(
        "a file arrives whole whatever was there and however often the line is cut",
        arguments: ["data", "cut", "no-range"], [nil, 0, 1, 150_000, 299_999, 300_000, 300_001])
    func arrives(path: String, present: Int?) throws {
        let part = present.map { Array((server.data + [0]).prefix($0)) }
        let result = try download(path, part: part)
        #expect(result.fault == nil)
        #expect(result.files == ["file"])
        #expect(result.content.map { SHA256Digest(of: $0) } == digest)
        #expect(result.progress == 300_000)
    }

    @Test("a partial file that is wrong is thrown away, and the file still arrives")
    func wrongPart() throws {
        for length in [10, 300_000] {
            let result = try download("data", part: [UInt8](repeating: 0xEE, count: length))
            #expect(result.content.map { SHA256Digest(of: $0) } == digest)
            #expect(result.files == ["file"])
            #expect(result.progress == 300_000)
        }
    }

    @Test("one flipped bit is refused and leaves nothing")
    func flipped() throws {
        let result = try download("flipped")
        #expect(result.fault?.code == .digestMismatch)
        #expect(result.fault?.message == "what the server has is not what SHA-256 \(digest) names")
        #expect(result.files == [])
    }

    @Test("a web page in place of the file is named as such")
    func page() throws {
        let result = try download("html")
        #expect(result.fault?.code == .wrongSize)
        #expect(
            result.fault?.message
                == "the file has 39 bytes where 300000 are expected (the server sent a web page, text/html; charset=utf-8)"
        )
        #expect(result.content == nil)
    }

    @Test("a cut that lasts keeps what has come for the next time")
    func kept() throws {
        let directory = try TemporaryDirectory()
        let file = directory.path.appending("file")
        let once = HTTPClient(retries: RetryPolicy(attempts: 1))
        let fault = try #require(throws: TransferFault.self) {
            try once.download("\(server.base)/cut", to: file, size: 300_000, digest: digest)
        }
        #expect(fault.code == .cut)
        #expect(try directory.path.directoryEntries() == ["file.part"])
        #expect(try FileStatus(of: directory.path.appending("file.part")).size == 100_000)
        try client.download("\(server.base)/data", to: file, size: 300_000, digest: digest)
        #expect(try SHA256Digest.ofFile(file).digest == digest)
    }

    @Test("a second request for the same file finds it there")
    func present() throws {
        let directory = try TemporaryDirectory()
        let file = directory.path.appending("file")
        try file.replaceContents(with: server.data)
        try client.download("\(server.base)/missing/c", to: file, size: 300_000, digest: digest)
        #expect(try directory.path.directoryEntries() == ["file"])
    }
}
