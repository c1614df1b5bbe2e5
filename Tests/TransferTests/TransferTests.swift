import Cryptography
import Fault
import FileIO
import Glibc
import Synchronization
import SystemPackage
import Testing
import Transfer

@Suite("Transfer")
struct TransferTests {
    let server: FaultyServer
    let client = HTTPClient(userAgent: "ballast-test", retries: RetryPolicy(attempts: 4, sleep: { _ in }))

    init() throws { server = try FaultyServer.shared.get() }

    func url(_ path: String) -> String { "\(server.base)/\(path)" }

    func collect(_ path: String, range: Range<Int64>? = nil, limit: Int64 = .max) throws -> [UInt8] {
        var bytes: [UInt8] = []
        let count = try client.stream(url(path), range: range, limit: limit) { bytes.append(contentsOf: $0) }
        #expect(count == Int64(bytes.count))
        return bytes
    }

    @Test("a document comes whole, up to its limit and not above")
    func documents() throws {
        #expect(try client.get(url("data"), limit: 300_000) == server.data)
        let fault = try #require(throws: TransferFault.self) { try client.get(url("data"), limit: 299_999) }
        #expect(fault.code == .tooLarge)
        #expect(fault.message == "300000 bytes, and at most 299999 are allowed here")
        #expect(try client.get(url("agent"), limit: 100) == Array("ballast-test".utf8))
        #expect(try client.get(url("cache"), limit: 100, revalidate: true) == Array("no-cache".utf8))
        #expect(try client.get(url("cache"), limit: 100) == [])
    }

    @Test("an endless answer ends at the limit")
    func endless() throws {
        let fault = try #require(throws: TransferFault.self) { try client.get(url("endless"), limit: 1 << 20) }
        #expect(fault.code == .tooLarge)
    }

    @Test(
        "a range comes exactly, also from a server that ignores ranges",
        arguments: ["data", "no-range", "cut"], [0..<1, 1..<300_000, 100_000..<250_000, 299_999..<300_000, 7..<7])
    func ranges(path: String, range: Range<Int64>) throws {
        let expected = Array(server.data[Int(range.lowerBound)..<Int(range.upperBound)])
        #expect(SHA256Digest(of: try collect(path, range: range)) == SHA256Digest(of: expected))
    }

    @Test(
        "an answer to another range than the one asked for is not taken", arguments: ["wrong-range/a", "long-range/b"])
    func wrongRange(path: String) throws {
        let fault = try #require(throws: TransferFault.self) { try collect(path, range: 10..<20) }
        #expect([.refused, .tooLarge].contains(fault.code))
    }

    @Test("a range beyond the end of the file is an error, not a short answer")
    func beyondTheEnd() throws {
        for path in ["data", "no-range"] {
            let fault = try #require(throws: TransferFault.self) { try collect(path, range: 299_990..<300_010) }
            #expect(fault.code == .wrongSize)
        }
    }

    @Test("a stream that is cut goes on where it ended, each byte once")
    func cutStream() throws {
        #expect(SHA256Digest(of: try collect("cut")) == SHA256Digest(of: server.data))
        #expect(SHA256Digest(of: try collect("no-range-cut/stream")) == SHA256Digest(of: server.data))
    }

    @Test("a stream that never gets on is given up after the allowed number of attempts")
    func cutForEver() throws {
        let pauses = Mutex<[Duration]>([])
        let client = HTTPClient(
            retries: RetryPolicy(attempts: 4, firstPause: .milliseconds(500)) { pause in
                pauses.withLock { $0.append(pause) }
            })
        let fault = try #require(throws: TransferFault.self) { try client.stream(url("cut-at-once")) { _ in } }
        #expect(fault.code == .cut)
        #expect(pauses.withLock { $0 } == [.milliseconds(500), .seconds(1), .seconds(1), .seconds(1)])
    }

    @Test("a document that is cut begins again, so that two versions never mix")
    func changing() throws {
        #expect(try client.get(url("changing/get"), limit: 1000) == [UInt8](repeating: 0x42, count: 1000))
    }

    @Test("a server's own failure is tried again, a wrong request is not")
    func retries() throws {
        #expect(try client.get(url("fails-twice/a"), limit: 100) == Array("recovered".utf8))
        let missing = try #require(throws: TransferFault.self) { try client.get(url("missing/a"), limit: 100) }
        #expect(missing.code == .notFound)
        #expect(try client.get(url("count/missing/a"), limit: 10) == Array("1".utf8))
        let failing = try #require(throws: TransferFault.self) { try client.get(url("fails"), limit: 100) }
        #expect(failing.code == .unavailable)
        #expect(
            "\(failing)"
                == "\(url("fails")): the server cannot answer now (HTTP status 503); try again later or ask who runs the server"
        )
        let forbidden = try #require(throws: TransferFault.self) { try client.get(url("forbidden"), limit: 100) }
        #expect(forbidden.message == "the server does not let us have this (HTTP status 403)")
    }

    @Test("nobody who listens is a clear error after the retries")
    func unreachable() throws {
        let fault = try #require(throws: TransferFault.self) { try client.get("http://127.0.0.1:1/x", limit: 10) }
        #expect(fault.code == .unreachable)
        #expect("\(fault)".contains("check the network, the address and the proxy"))
    }

    @Test("a server that drips is given up")
    func slow() throws {
        var patience = HTTPOptions.Patience()
        patience.slowSeconds = 1
        let client = HTTPClient(patience: patience, retries: RetryPolicy(attempts: 1))
        let fault = try #require(throws: TransferFault.self) { try client.get(url("slow"), limit: 1000) }
        #expect(fault.code == .timeout)
    }

    @Test("redirects are bounded and lead to http only", arguments: [("redirect/6", 302), ("redirect-to-file", 302)])
    func redirects(path: String, status: Int) throws {
        #expect(try client.get(url("redirect/4"), limit: 300_000) == server.data)
        let fault = try #require(throws: TransferFault.self) { try client.get(url(path), limit: 300_000) }
        #expect(fault.code == .refused)
    }

    @Test("no file of this machine is fetched", arguments: ["file:///etc/hostname", "ftp://127.0.0.1/x", "no address"])
    func protocols(url: String) throws {
        let fault = try #require(throws: TransferFault.self) { try client.get(url, limit: 1 << 20) }
        #expect([.refused, .unreachable].contains(fault.code))
    }

    @Test("whoever cancels waits for nothing, not even for the pause between attempts")
    func cancelled() throws {
        var pieces = 0
        let fault = try #require(throws: TransferFault.self) {
            try client.stream(url("endless"), isCancelled: { pieces > 2 }) { _ in pieces += 1 }
        }
        #expect(fault.code == .cancelled)
    }

    @Test("the receiver's own failure ends the transfer and is handed on")
    func receiver() throws {
        let fault = try #require(throws: TransferFault.self) {
            try client.stream(url("data")) { _ in throw FileIOFault(.noSpace, "full") }
        }
        #expect(fault.code == .receiver)
        #expect((fault.cause as? FileIOFault)?.code == .noSpace)
    }

    @Test("a password in an address stays out of messages")
    func redaction() throws {
        let address = url("missing/b").replacing("http://", with: "http://user:secret@")
        let fault = try #require(throws: TransferFault.self) { try client.get(address, limit: 10) }
        #expect(!"\(fault)".contains("secret"))
    }
}
