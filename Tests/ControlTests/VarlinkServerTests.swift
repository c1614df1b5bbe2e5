import Control
import Fault
import FileIO
import Glibc
import JSON
import SystemPackage
import Testing

@Suite("The control socket")
struct VarlinkServerTests {
    @Test("64 callers are served at once, the next is told so, and there is room again when one leaves")
    func manyConnections() async throws {
        let host = try ControlHost(FakeAgent())
        var clients = try (0..<64).map { _ in try RawClient(host.path) }
        for client in clients {
            #expect(try client.call("io.ballast.Update.Status")?["error"] == nil)
        }
        let refused = try RawClient(host.path)
        let answer = try #require(try refused.receive())
        #expect(answer["error"] == "io.ballast.Update.Busy")
        #expect(try refused.receive() == nil)
        let fault = #expect(throws: ControlFault.self) {
            try VarlinkClient(connectingTo: host.path).call("io.ballast.Update.Status")
        }
        #expect(fault?.code == .busy)
        clients.removeAll()
        while host.server.connectionCount > 0 { await Task.yield() }
        #expect(try RawClient(host.path).call("io.ballast.Update.Status")?["error"] == nil)
    }

    @Test("who says nothing, or stops in the middle of a call, is let go")
    func silence() throws {
        var limits = ServerLimits()
        limits.idle = .milliseconds(50)
        limits.completion = .milliseconds(50)
        let host = try ControlHost(FakeAgent(), limits: limits)
        let silent = try RawClient(host.path)
        #expect(try silent.receive() == nil)
        let halting = try RawClient(host.path)
        halting.send(Array("{\"method\":".utf8))
        #expect(try halting.receive() == nil)
    }

    @Test("a socket that a dead process left is replaced, and one that answers is not")
    func staleSocket() throws {
        let directory = try TemporaryDirectory(prefix: "ballast-control")
        let path = directory.path.appending("socket")
        let listener = try ListeningSocket(path: path.string)
        #expect(try FileStatus(of: path).permissions & 0o777 == 0o666)
        let fault = #expect(throws: ControlFault.self) { try ListeningSocket(path: path.string) }
        #expect(fault?.code == .busy)
        withExtendedLifetime(listener) {}
        // bind(2) alone leaves what a killed process leaves.
        let dead = directory.path.appending("dead").string
        try #require(leaveSocket(at: dead))
        let replaced = try ListeningSocket(path: dead)
        _ = try RawClient(dead)
        withExtendedLifetime(replaced) {}
    }

    @Test("a socket goes with the process that made it, and a later one stays")
    func removal() throws {
        let directory = try TemporaryDirectory(prefix: "ballast-control")
        let path = directory.path.appending("socket")
        do {
            let first = try ListeningSocket(path: path.string)
            withExtendedLifetime(first) {}
        }
        #expect(!path.exists)
        var first: ListeningSocket? = try ListeningSocket(path: path.string)
        withExtendedLifetime(first) {}
        unlink(path.string)
        let second = try ListeningSocket(path: path.string)
        first = nil
        #expect(path.exists)
        withExtendedLifetime(second) {}
    }

    @Test(
        "a path that no socket can have is an error, not a shorter path",
        arguments: ["", String(repeating: "x", count: 200)])
    func paths(path: String) {
        let fault = #expect(throws: ControlFault.self) { try ListeningSocket(path: path) }
        #expect(fault?.code == .invalid)
        #expect(throws: ControlFault.self) { try VarlinkClient(connectingTo: path) }
    }

    @Test("a server that stops ends its callers' streams")
    func stop() async throws {
        let agent = FakeAgent()
        var observation = agent.observation.makeAsyncIterator()
        let host = try ControlHost(agent)
        let client = try RawClient(host.path)
        client.send(VarlinkStreamTests.watch)
        #expect(await observation.next() == true)
        _ = try client.receive()
        host.server.stop()
        #expect(try client.receive() == nil)
        #expect(await observation.next() == false)
    }

    @Test("the socket that systemd passes is taken, and its variables are not inherited")
    func activation() async throws {
        await #expect(processExitsWith: .success) {
            let directory = try TemporaryDirectory(prefix: "ballast-control")
            let path = directory.path.appending("socket").string
            let descriptor = try #require(listeningDescriptor(at: path))
            // The third name is that of descriptor 5; here it is one that nothing else uses.
            let position = 97
            try #require(dup2(descriptor, Int32(3 + position)) >= 0)
            setenv("LISTEN_PID", "\(getpid())", 1)
            setenv("LISTEN_FDS", "\(position + 1)", 1)
            setenv("LISTEN_FDNAMES", String(repeating: "other:", count: position) + "varlink", 1)
            let listener = try #require(try ListeningSocket.activated())
            #expect(getenv("LISTEN_FDS") == nil)
            #expect(try ListeningSocket.activated() == nil)
            let server = try VarlinkServer(
                on: listener, service: try ControlService(FakeAgent()),
                information: ServiceInformation(vendor: "", product: "", version: "", address: ""))
            try server.start()
            #expect(try RawClient(path).call("io.ballast.Update.Status")?["error"] == nil)
            // A descriptor that is no socket is an error.
            setenv("LISTEN_PID", "\(getpid())", 1)
            setenv("LISTEN_FDS", "2", 1)
            setenv("LISTEN_FDNAMES", "other:varlink", 1)
            dup2(open("/dev/null", O_RDONLY), 4)
            #expect(throws: ControlFault.self) { try ListeningSocket.activated() }
            // One that is for another process is not ours.
            setenv("LISTEN_PID", "1", 1)
            #expect(try ListeningSocket.activated() == nil)
        }
    }
}

/// A listening socket at `path`, made without the code that is being tested.
private func listeningDescriptor(at path: String) -> Int32? {
    let descriptor = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
    var address = sockaddr_un()
    address.sun_family = sa_family_t(AF_UNIX)
    withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8) }
    let result = withUnsafePointer(to: &address) {
        $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
            bind(descriptor, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
        }
    }
    return result == 0 && listen(descriptor, 8) == 0 ? descriptor : nil
}

/// Leaves a socket at `path` that nobody listens at.
private func leaveSocket(at path: String) -> Bool {
    guard let descriptor = listeningDescriptor(at: path) else { return false }
    return close(descriptor) == 0
}
