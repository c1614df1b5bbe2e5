import Command
import Control
import Fault
import FileIO
import JSON
import Synchronization
import SystemPackage
import TestSupport
import Testing
import UpdateAgent

/// A real agent behind a real socket, as `ballastctl` and other programs see it.
@Suite("The agent behind its socket")
struct ControlledAgentTests {
    private final class Scene: Sendable {
        private let temporary: TemporaryDirectory
        private let server = Mutex<VarlinkServer?>(nil)
        private let called = Mutex<Set<String>>([])
        let host: TestHost
        let repository: TestRepository
        let definition: InterfaceDefinition

        init(publishing images: [TestImage]? = nil) async throws {
            let directory = try TemporaryDirectory(prefix: "ballast-controlled")
            (host, repository) = try await UpdateTests.prepare(in: directory.path, publishing: images)
            definition = try InterfaceDefinition(parsing: UpdateInterface.description)
            temporary = directory
        }

        deinit { server.withLock { $0?.stop() } }

        /// Each boot has its own.
        var socket: String { temporary.path.appending("socket \(host.state.withLock { $0.boots })").string }
        var methods: Set<String> { called.withLock { $0 } }

        /// The agent of this boot answers from now on.
        func serve(_ agent: Agent) throws {
            server.withLock { $0?.stop() }
            let new = try VarlinkServer(
                on: ListeningSocket(path: socket), service: ControlService(AgentControl(agent)),
                information: ServiceInformation(vendor: "", product: "", version: "", address: ""))
            try new.start()
            server.withLock { $0 = new }
        }

        /// Calls a method whose answers have to be as the definition has them.
        func call(_ method: String, _ parameters: JSONValue = [:]) async throws -> JSONValue {
            called.withLock { _ = $0.insert(method) }
            let known = try #require(definition.methods[method])
            let answers = Mutex<[JSONValue]>([])
            let (socket, name) = (socket, "\(UpdateInterface.name).\(method)")
            try await onOwnThread {
                try VarlinkClient(connectingTo: socket).stream(name, parameters) { (answer, _) throws(ControlFault) in
                    answers.withLock { $0.append(answer) }
                    return method != "Watch"
                }
            }
            let all = answers.withLock { $0 }
            for answer in all {
                let mismatch = definition.mismatch(answer, of: known.answer)
                #expect(mismatch == nil, "\(method): \(answer.compactText)")
            }
            return try #require(all.last)
        }

        func tool(_ arguments: String...) async throws -> Command.Outcome {
            try await Command(
                BuiltExecutable.path("ballastctl").string, arguments + ["--socket", socket, "--busy-timeout", "0"]
            ).outcome()
        }
    }

    @Test("each answer is as the interface's definition has it, whatever state the host is in")
    func definition() async throws {
        let scene = try await Scene()
        let agent = try scene.host.agent()
        try scene.serve(agent)
        func look() async throws {
            for method in ["Status", "History", "Events", "Doctor", "Watch"] { _ = try await scene.call(method) }
        }
        try await look()
        #expect(try await scene.call("Check", ["wait": true])["available"] == "1.1")
        #expect(try await scene.call("Update")["result"]?["outcome"] == "staged")
        try await look()
        for (method, parameters) in [
            ("Deny", ["version": "3.0", "reason": "it hums"]), ("Allow", ["version": "3.0"]),
            ("Pin", ["version": "1.1"]),
            ("Unpin", [:]), ("AcknowledgeEvents", ["sequence": 1]),
        ] as [(String, JSONValue)] {
            _ = try await scene.call(method, parameters)
        }
        scene.host.state.withLock { $0.inhibitors = ["rsync"] }
        let held = try await #require(throws: ControlFault.self) { _ = try await scene.call("Reboot") }
        #expect(held.code == .held && held.message.contains("rsync"))
        try await look()
        #expect(try await scene.call("Reboot", ["force": true])["rebooting"] == true)
        for _ in 0..<3 {
            #expect(try scene.host.boot() == "1.1")
            _ = try scene.host.failHealth()
        }
        #expect(try scene.host.boot() == "1.0")
        let back = try scene.host.agent()
        try back.reconcile()
        try scene.serve(back)
        try await look()
        #expect(try await scene.call("Logs", ["version": "1.1"])["report"]?["passed"] == false)
        let nothing = try await #require(throws: ControlFault.self) { _ = try await scene.call("Rollback") }
        #expect(nothing.code == .nothingGood)
        // Methods that nobody calls here could answer anything.
        #expect(scene.methods == Set(scene.definition.methods.keys))
    }

    @Test("the tool says of a real agent's answers what an operator has to know")
    func tool() async throws {
        let scene = try await Scene()
        try scene.serve(try scene.host.agent())
        #expect(try await scene.tool("status").outputText.hasPrefix("box 1.0 (amd64) in slot a\n"))
        let update = try await scene.tool("update")
        #expect(update.status == 0 && update.outputText.hasPrefix("1.1 is written to the other slot"))
        #expect(try await scene.tool("update").outputText.hasPrefix("nothing to do: 1.1 is ready"))
        let status = try await scene.tool("status").outputText
        #expect(status.contains("  restart     of the machine, into 1.1\n"))
        scene.host.state.withLock { $0.inhibitors = ["rsync, process 7: nightly copy"] }
        let held = try await scene.tool("reboot")
        #expect(held.status == 5 && held.errorText.contains("held back by inhibitor 'shutdown': rsync"))
        #expect(held.errorText.contains("--force"))
        #expect(try await scene.tool("status").outputText.contains("held back by inhibitor 'shutdown': rsync"))
        let history = try await scene.tool("history", "--limit", "1").outputText
        #expect(history.contains("restart-held  1.1") && history.contains("cause: rsync, process 7: nightly copy"))
        let forced = try await scene.tool("reboot", "--force")
        #expect(forced.status == 0 && forced.outputText.hasPrefix("rebooting into 1.1; an operator passed over"))
        #expect(scene.host.state.withLock { $0.reboots } == 1)
        let events = try await scene.tool("events")
        #expect(events.outputText.hasSuffix("'ballastctl events --acknowledge 3' takes them\n"))
        #expect(try await scene.tool("events", "--acknowledge", "3").status == 0)
        #expect(try await scene.tool("events").outputText == "no event that was not taken\n")
        #expect(try await scene.tool("events", "--acknowledge", "4").status == 1)
    }

    @Test("an update after which the host reboots at once has succeeded, and says so", arguments: ["text", "json"])
    func rebootsAtOnce(format: String) async throws {
        let scene = try await Scene()
        try scene.serve(try scene.host.agent { $0["reboot"] = "immediate" })
        let outcome = try await scene.tool("update", "--format", format)
        #expect(outcome.status == 0)
        #expect(scene.host.state.withLock { $0.reboots } == 1)
        if format == "text" {
            #expect(outcome.outputText.hasPrefix("1.1 is written to the other slot"))
            #expect(outcome.outputText.hasSuffix("\nrebooting now\n"), "\(outcome.outputText)")
        } else {
            let last = try #require(outcome.outputText.split(separator: "\n").last)
            let answer = try JSONCursor(parsing: Array(last.utf8), source: "answer").value
            #expect(answer["result"]?["rebooting"] == true, "\(last)")
        }
    }

    @Test("an update that runs already is joined, and an operator's decision ends it")
    func joining() async throws {
        let scene = try await Scene()
        try scene.serve(try scene.host.agent { $0["poll"] = ["interval_seconds": 3600, "jitter_seconds": 0] })
        async let first = scene.tool("update", "--format", "json")
        async let second = scene.tool("update", "--format", "json")
        let outcomes = try await [first, second]
        #expect(outcomes.allSatisfy { $0.status == 0 })
        // Whoever came second either waited for the first, or found it done.
        let details = try outcomes.map { outcome -> String in
            let line = try #require(outcome.outputText.split(separator: "\n").last)
            guard
                case .string(let detail)? = try JSONValue(parsing: Array(line.utf8), source: "ballastctl")["result"]?[
                    "detail"]
            else { return "" }
            return detail
        }
        #expect(details.allSatisfy { $0.hasPrefix("1.1 is ") }, "\(details)")
        #expect(try await scene.call("History")["events"].map { "\($0)".contains("staged") } == true)
        #expect(try await scene.tool("deny", "1.1").status == 0)
        #expect(try scene.host.order() == ["1.0", "1.1+0"])
        let refused = try await scene.tool("check")
        #expect(refused.outputText.contains("denied"))
    }
}
