import Control
import Fault
import FileIO
import Glibc
import JSON
import Synchronization
import SystemPackage

/// An agent that answers what a test says, and keeps what it was asked.
final class FakeAgent: ControlHandler {
    typealias Answer = @Sendable (UpdateMethod, @escaping @Sendable (JSONValue) -> Void) throws -> JSONValue

    private let answer: Answer
    private let state = Mutex(State())

    private struct State {
        var calls: [(method: UpdateMethod, caller: Caller)] = []
        var observers: [Int: @Sendable (JSONValue) -> Void] = [:]
        var registrations = 0
    }

    /// Receives true when an observer comes and false when one goes.
    let observation: AsyncStream<Bool>
    private let observed: AsyncStream<Bool>.Continuation

    init(_ answer: @escaping Answer = { method, _ in FakeAgent.document(for: method) }) {
        self.answer = answer
        (observation, observed) = AsyncStream.makeStream(of: Bool.self)
    }

    var methods: [UpdateMethod] { state.withLock { $0.calls.map(\.method) } }
    var callers: [Caller] { state.withLock { $0.calls.map(\.caller) } }

    func call(
        _ method: UpdateMethod, caller: Caller, hasLeft: @escaping @Sendable () -> Bool,
        progress: @escaping @Sendable (JSONValue) -> Void
    ) throws -> JSONValue {
        state.withLock { $0.calls.append((method, caller)) }
        return try answer(method, progress)
    }

    func watch(_ observer: @escaping @Sendable (JSONValue) -> Void) -> @Sendable () -> Void {
        let number = state.withLock { state in
            state.registrations += 1
            state.observers[state.registrations] = observer
            return state.registrations
        }
        observer(Self.status)
        observed.yield(true)
        return {
            self.state.withLock { _ = $0.observers.removeValue(forKey: number) }
            self.observed.yield(false)
        }
    }

    /// Tells all observers.
    func change(to status: JSONValue) {
        for observer in state.withLock({ Array($0.observers.values) }) { observer(status) }
    }

    static let status: JSONValue = [
        "product": "containerd", "version": "1.1.0", "architecture": "amd64", "slot": "b",
        "other_slot": ["name": "a", "version": "1.0.0", "standing": "good"],
        "state": ["name": "good", "version": "1.1.0"], "progress": .null, "pinned": .null,
        "denied": [["version": "1.2.0", "cause": "health check 'containerd' failed", "time": "2030-01-31T00:00:00Z"]],
        "last_check": "2030-01-31T01:00:00Z", "next_check": "2030-01-31T02:00:00Z",
        "reason": "1.1.0 is the newest version of the channel", "last_error": .null,
        "repository": "https://images.example.org/r", "channel": "stable", "agent": "0.1.0",
        "colour": ["a newer agent": ["says", "more"]],
    ]

    static let events: [JSONValue] = [
        [
            "time": "2030-01-31T00:00:00Z", "kind": "staged", "version": "1.2.0", "detail": "written into slot b",
            "bytes": 152_500_000, "seconds": 31,
        ],
        [
            "time": "2030-01-31T00:01:00Z", "kind": "rolled-back", "version": "1.2.0", "detail": "back to 1.1.0",
            "cause": "health check 'containerd' failed", "colour": true,
        ],
    ]

    static func progress(_ done: Int64, of total: Int64, in state: String = "staging") -> JSONValue {
        [
            "state": ["name": .string(state), "version": "1.1.0"], "bytes_done": .integer(done),
            "bytes_total": .integer(total), "bytes_per_second": 1_048_576,
            "percent": .integer(total == 0 ? 0 : done * 100 / total),
        ]
    }

    static func document(for method: UpdateMethod) -> JSONValue {
        func action(_ detail: String, _ version: String? = nil) -> JSONValue {
            ["detail": .string(detail), "version": version.map { .string($0) } ?? .null, "rebooting": false]
        }
        switch method {
        case .status: return status
        case .history: return .array(events)
        case .events: return ["events": .array(events), "acknowledged": 3, "missed": 0]
        case .acknowledgeEvents(let sequence): return action("events up to \(sequence) are taken")
        case .logs(let version):
            return [
                "version": .string(version),
                "report": [
                    "format": 1, "version": .string(version), "time": "2030-01-31T00:00:00Z", "passed": false,
                    "checks": [
                        ["name": "web", "passed": false, "problem": "refused", "seconds": 60, "environment": false]
                    ],
                ], "journal": "line one\nline \u{1B}[31mtwo\n",
            ]
        case .doctor:
            return [
                ["name": "disk", "verdict": "good", "detail": "slot a runs", "remedy": .null],
                ["name": "clock", "verdict": "problem", "detail": "it is 1970", "remedy": "set it"],
            ]
        case .check:
            return [
                "running": "1.0.0", "available": "1.1.0", "reason": "newest of the channel", "notes": "New kernel.",
                "download_size": 104_857_600, "in_other_slot": false,
            ]
        case .update:
            return [
                "outcome": "staged", "version": "1.1.0", "detail": "1.1.0 is in slot b and boots next",
                "bytes_fetched": 104_857_600, "seconds": 12, "rebooting": false,
            ]
        case .reboot: return action("rebooting")
        case .rollback(let reboot, _): return action("back to 1.0.0\(reboot ? ", rebooting" : "")", "1.0.0")
        case .pin(let version): return action("pinned to \(version)", version)
        case .unpin: return action("not pinned any more")
        case .deny(let version, let reason): return action("\(version) is denied: \(reason ?? "no reason")", version)
        case .allow(let version): return action("\(version) is allowed again", version)
        }
    }
}

/// The agent's kinds of failure, by the names that the agent gives them.
enum FakeAgentCode: String, FaultCode, CaseIterable {
    case busy, denied, pinned, untrusted, expired, transfer, mismatch, invalid, unconfigured, unsupported, storage,
        state
    case system, failed, socket
    case notFound = "not-found"
    case rolledBack = "rolled-back"
    case noSpace = "no-space"
    case nothingGood = "nothing-good"
    case notPermitted = "not-permitted"
}

/// A server in a directory of its own that every user may enter.
final class ControlHost {
    let directory: TemporaryDirectory
    let server: VarlinkServer
    var path: String { directory.path.appending("io.ballast.Update").string }

    init(
        _ agent: FakeAgent, group: String = "ballast", limits: ServerLimits = ServerLimits()
    ) throws {
        directory = try TemporaryDirectory(prefix: "ballast-control")
        chmod(directory.path.string, 0o755)
        server = try VarlinkServer(
            on: ListeningSocket(path: directory.path.appending("io.ballast.Update").string),
            service: try ControlService(agent, group: group),
            information: ServiceInformation(
                vendor: "Ballast", product: "ballastd", version: "0.1.0", address: "man:ballastctl(1)"),
            limits: limits)
        try server.start()
    }

    deinit { server.stop() }
}

/// A client that sends any bytes at all.
final class RawClient {
    private var descriptor: Int32
    private var received: [UInt8] = []

    init(_ path: String) throws {
        descriptor = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8) }
        let result = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
        guard result == 0 else { throw Errno(rawValue: errno) }
    }

    deinit { close() }

    func close() {
        if descriptor >= 0 { _ = Glibc.close(descriptor) }
        descriptor = -1
    }

    func endWriting() { _ = shutdown(descriptor, Int32(SHUT_WR)) }

    /// False where the server has left.
    @discardableResult
    func send(_ bytes: some Collection<UInt8>) -> Bool {
        var rest = Array(bytes)[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes { Glibc.send(descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL)) }
            if count <= 0 { return false }
            rest = rest.dropFirst(count)
        }
        return true
    }

    @discardableResult
    func send(_ text: String) -> Bool { send(Array(text.utf8) + [0]) }

    /// The next answer, or nil at the end of the stream.
    func receive() throws -> JSONValue? {
        while true {
            if let end = received.firstIndex(of: 0) {
                defer { received.removeFirst(end + 1) }
                return try JSONValue(parsing: Array(received[..<end]), source: "answer")
            }
            var chunk = [UInt8](repeating: 0, count: 4096)
            let count = recv(descriptor, &chunk, chunk.count, 0)
            guard count > 0 else { return nil }
            received += chunk.prefix(count)
        }
    }

    /// Calls `method` without parameters.
    func call(_ method: String) throws -> JSONValue? {
        send("{\"method\":\"\(method)\"}")
        return try receive()
    }
}
