import Command
import Control
import Fault
import FileIO
import Glibc
import JSON
import Synchronization
import SystemPackage
import TestSupport
import Testing

@Suite("ballastctl")
struct BallastctlTests {
    @Test("status says what an operator has to know, and passes over what it does not know")
    func status() async throws {
        let host = try ControlHost(FakeAgent())
        let outcome = try await ControlTool(socket: host.path).run(["status"])
        #expect(outcome.status == 0)
        #expect(
            outcome.outputText == """
                containerd 1.1.0 (amd64) in slot b
                  state       1.1.0 is good
                  because     1.1.0 is the newest version of the channel
                  other slot  a: 1.0.0, was good here
                  pinned      no
                  denied      1.2.0 since 2030-01-31T00:00:00Z: health check 'containerd' failed
                  repository  https://images.example.org/r, channel stable
                  last check  2030-01-31T01:00:00Z
                  next check  2030-01-31T02:00:00Z
                  last error  none
                  agent       0.1.0

                """)
    }

    @Test("history is a table, with each cause below its line")
    func history() async throws {
        let host = try ControlHost(FakeAgent())
        let outcome = try await ControlTool(socket: host.path).run(["history"])
        #expect(
            outcome.outputText == """
                TIME                  EVENT        VERSION  DETAIL
                2030-01-31T00:00:00Z  staged       1.2.0    written into slot b (145.4 MiB, 31 s)
                2030-01-31T00:01:00Z  rolled-back  1.2.0    back to 1.1.0
                                                            cause: health check 'containerd' failed

                """)
        let last = try await ControlTool(socket: host.path).run(["history", "--limit", "1", "--format", "json"])
        #expect(try document(last) == .array([FakeAgent.events[1]]))
        let empty = try ControlHost(FakeAgent { _, _ in [] })
        #expect(try await ControlTool(socket: empty.path).run(["history"]).outputText == "nothing has happened yet\n")
    }

    @Test(
        "each verb calls its method, and says what came of it",
        arguments: [
            (["check"], .check(waits: true), "1.1.0 is available (100.0 MiB): newest of the channel\n  New kernel.\n"),
            (
                ["check", "--no-wait"], .check(waits: false),
                "1.1.0 is available (100.0 MiB): newest of the channel\n  New kernel.\n"
            ),
            (["update"], .update, "1.1.0 is in slot b and boots next (100.0 MiB fetched, 12 s)\n"),
            (["reboot"], .reboot(force: false), "rebooting\n"),
            (["rollback"], .rollback(reboot: false, force: false), "back to 1.0.0\n"),
            (["rollback", "--reboot"], .rollback(reboot: true, force: false), "back to 1.0.0, rebooting\n"),
            (["pin", "1.0.0"], .pin(version: "1.0.0"), "pinned to 1.0.0\n"),
            (["unpin"], .unpin, "not pinned any more\n"),
            (["deny", "1.2.0"], .deny(version: "1.2.0", reason: nil), "1.2.0 is denied: no reason\n"),
            (
                ["deny", "1.2.0", "--reason", "it hums"], .deny(version: "1.2.0", reason: "it hums"),
                "1.2.0 is denied: it hums\n"
            ),
            (["allow", "1.2.0"], .allow(version: "1.2.0"), "1.2.0 is allowed again\n"),
        ] as [([String], UpdateMethod, String)])
    func verbs(arguments: [String], method: UpdateMethod, text: String) async throws {
        let agent = FakeAgent()
        let host = try ControlHost(agent)
        let tool = ControlTool(socket: host.path)
        let outcome = try await tool.run(arguments)
        #expect(outcome.status == 0)
        #expect(outcome.outputText == text)
        let json = try await tool.run(arguments + ["--format", "json"])
        let expected = FakeAgent.document(for: method)
        #expect(try document(json) == (method == .update ? ["result": expected] : expected))
        #expect(agent.methods == [method, method])
    }

    @Test("what a version has left is shown without control characters, and doctor says what to do")
    func logsAndDoctor() async throws {
        let agent = FakeAgent()
        let host = try ControlHost(agent)
        let tool = ControlTool(socket: host.path)
        let logs = try await tool.run(["logs", "1.2.0"])
        #expect(logs.outputText == "web: refused\nline one\nline  [31mtwo\n")
        #expect(
            try document(await tool.run(["logs", "1.2.0", "--format", "json"]))
                == FakeAgent.document(for: .logs(version: "1.2.0")))
        let doctor = try await tool.run(["doctor"])
        #expect(doctor.status == 1)
        #expect(
            doctor.outputText == "disk        good     slot a runs\nclock       problem  it is 1970; set it\n")
        let json = try await tool.run(["doctor", "--format", "json"])
        #expect(json.status == 1 && json.outputText.split(separator: "\n").count == 1)
        #expect(try document(json) == FakeAgent.document(for: .doctor))
        _ = try await tool.run(["history", "--since", "2d"])
        #expect(
            agent.methods == [
                .logs(version: "1.2.0"), .logs(version: "1.2.0"), .doctor, .doctor, .history(limit: nil, since: "2d"),
            ])
    }

    @Test("status and watch give the status itself as JSON")
    func statusJSON() async throws {
        let host = try ControlHost(FakeAgent())
        let outcome = try await ControlTool(socket: host.path).run(["status", "--format", "json"])
        #expect(try document(outcome) == FakeAgent.status)
    }

    @Test("a command line that is not valid is one JSON document too, where JSON is asked for")
    func misusedJSON() async throws {
        let tool = ControlTool(socket: "/nowhere")
        for arguments in [
            ["status", "--format", "json", "--colour"], ["pin", "--format=json"], ["nothing", "--format", "json"],
            ["status", "--format", "json", "--busy-timeout", "-1"],
        ] {
            let outcome = try await tool.run(arguments)
            #expect(outcome.status == 2)
            let answer = try document(outcome)
            #expect(answer["error"]?["code"] == "usage", "\(outcome.outputText)")
        }
        #expect(try await tool.run(["status", "--colour"]).outputText.isEmpty)
        let version = try await document(
            Command(BuiltExecutable.path("ballastctl").string, ["version", "--format", "json"]).run())
        #expect(version["version"] != nil)
        let absent = try await tool.run(["status", "--format", "json"])
        #expect(absent.status == 6)
        #expect(try document(absent)["error"]?["code"] == "not-running")
    }

    @Test("nothing to do is no failure")
    func nothing() async throws {
        let host = try ControlHost(
            FakeAgent { method, _ in
                method == .check(waits: true)
                    ? ["running": "1.1.0", "available": .null, "reason": "1.1.0 is the newest", "in_other_slot": false]
                    : ["outcome": "nothing", "version": .null, "detail": "1.1.0 is the newest", "seconds": 0]
            })
        for verb in ["check", "update"] {
            let outcome = try await ControlTool(socket: host.path).run([verb])
            #expect(outcome.status == 0)
            #expect(outcome.outputText == "nothing to do: 1.1.0 is the newest\n")
        }
    }

    static let steps = FakeAgent { method, progress in
        if method == .update {
            progress(FakeAgent.progress(0, of: 0, in: "planning"))
            progress(FakeAgent.progress(0, of: 104_857_600))
            progress(FakeAgent.progress(104_857_600, of: 104_857_600))
        }
        return FakeAgent.document(for: method)
    }

    @Test("in a pipe an update is plain lines, progress apart from the result")
    func updateInPipe() async throws {
        let host = try ControlHost(Self.steps)
        let outcome = try await ControlTool(socket: host.path).run(["update"])
        #expect(outcome.outputText == "1.1.0 is in slot b and boots next (100.0 MiB fetched, 12 s)\n")
        let lines = outcome.errorText.split(separator: "\n")
        #expect(lines.first == "working out what 1.1.0 needs")
        #expect(lines.last?.hasPrefix("writing 1.1.0 100 %, 100.0 MiB of 100.0 MiB, ") == true)
        #expect(!outcome.errorText.contains("\u{1B}") && !outcome.errorText.contains("\r"))
        let json = try await ControlTool(socket: host.path).run(["update", "--format", "json"])
        let documents = try json.outputText.split(separator: "\n").map {
            try JSONValue(parsing: String($0), source: "")
        }
        #expect(documents.count == 4)
        #expect(documents.dropLast().allSatisfy { $0["progress"] != nil } && documents.last?["result"] != nil)
        #expect(json.errorText.isEmpty)
    }

    @Test("on a terminal an update is a bar", .enabled(if: access("/usr/bin/script", X_OK) == 0, "no script(1) here"))
    func updateOnTerminal() async throws {
        let host = try ControlHost(Self.steps)
        let line = "\(try BuiltExecutable.path("ballastctl")) update --socket \(host.path)"
        let outcome = try await Command("script", ["-qec", line, "/dev/null"]).run()
        #expect(outcome.outputText.contains("writing 1.1.0 [########################] 100 %"))
    }

    @Test("who does not wait is told that the update has begun, and leaves it going")
    func noWait() async throws {
        let (ends, end) = AsyncStream.makeStream(of: Void.self)
        var gate: [Int32] = [0, 0]
        try #require(pipe(&gate) == 0)
        let (entrance, exit) = (gate[1], gate[0])
        defer { close(exit) }
        let host = try ControlHost(
            FakeAgent { method, progress in
                progress(FakeAgent.progress(0, of: 0, in: "checking"))
                var byte: UInt8 = 0
                _ = read(exit, &byte, 1)
                end.yield()
                return FakeAgent.document(for: method)
            })
        let outcome = try await ControlTool(socket: host.path).run(["update", "--no-wait"])
        #expect(outcome.status == 0)
        #expect(
            outcome.outputText
                == "the update has begun: asking the repository; 'ballastctl watch' shows how far it is\n")
        close(entrance)
        var iterator = ends.makeAsyncIterator()
        await iterator.next()
    }

    @Test("watch shows each change as it comes, and says when the agent leaves")
    func watch() async throws {
        let agent = FakeAgent()
        let host = try ControlHost(agent)
        var observation = agent.observation.makeAsyncIterator()
        let shown = host.directory.path.appending("shown")
        let command = Command(
            "sh",
            [
                "-c", "exec \"$0\" watch --socket \"$1\" >\"$2\"", "\(try BuiltExecutable.path("ballastctl"))",
                host.path, shown.string,
            ])
        async let running = command.outcome()
        #expect(await observation.next() == true)
        agent.change(to: FakeAgent.status)
        agent.change(to: [
            "product": "containerd", "version": "1.1.0", "state": ["name": "humming", "version": "3", "reason": "new"],
            "last_error": "the disk is full",
        ])
        while try !shown.exists || shown.text().split(separator: "\n").count < 2 { await Task.yield() }
        host.server.stop()
        let outcome = try await running
        #expect(outcome.status == 6)
        #expect(
            try shown.text() == """
                containerd 1.1.0 (amd64) in slot b; 1.1.0 is good
                containerd 1.1.0; humming (3): new; last error: the disk is full

                """)
    }

    @Test(
        "each kind of failure has its exit status, its sentence and its remedy",
        arguments: [
            (.busy, 4), (.denied, 5), (.pinned, 5), (.notFound, 5), (.nothingGood, 5), (.untrusted, 1), (.expired, 1),
            (.transfer, 1), (.noSpace, 1), (.notPermitted, 3), (.invalid, 1), (.state, 1),
        ] as [(FakeAgentCode, Int)])
    func failures(code: FakeAgentCode, status: Int) async throws {
        let host = try ControlHost(FakeAgent { _, _ in throw Fault(code, "it did not work", remedy: "try again") })
        let tool = ControlTool(socket: host.path)
        let outcome = try await tool.run(["check", "--busy-timeout", "0"])
        #expect(outcome.status == status)
        #expect(outcome.outputText.isEmpty)
        #expect(outcome.errorText == "ballastctl: it did not work\n  try again\n")
        let json = try await tool.run(["check", "--format", "json", "--busy-timeout", "0"])
        #expect(json.status == status)
        #expect(try JSONValue(parsing: json.output, source: "")["error"]?["message"] == "it did not work")
    }

    @Test("it waits for the end of another job, and says so once", arguments: ["rollback", "update"])
    func busy(verb: String) async throws {
        let refusals = Mutex(2)
        let host = try ControlHost(
            FakeAgent { method, _ in
                let isBusy = refusals.withLock { left in
                    left -= 1
                    return left >= 0
                }
                if isBusy { throw Fault(FakeAgentCode.busy, "'check' runs already") }
                return FakeAgent.document(for: method)
            })
        let outcome = try await ControlTool(socket: host.path).run([verb])
        #expect(outcome.status == 0)
        #expect(outcome.errorText == "ballastctl: 'check' runs already; waiting for its end\n")
        #expect(refusals.withLock { $0 } == -1)
    }

    @Test("without an agent it says that there is none, and what to do")
    func missing() async throws {
        let directory = try TemporaryDirectory(prefix: "ballast-control")
        let path = directory.path.appending("socket")
        let tool = ControlTool(socket: path.string)
        let remedy = "  look at 'systemctl status ballastd', and start it with 'systemctl start ballastd'\n"
        let missing = try await tool.run(["status"])
        #expect(missing.status == 6)
        #expect(missing.errorText == "ballastctl: \(path): ballastd does not run: there is no socket\n" + remedy)
        try path.replaceContents(with: "no socket")
        let refused = try await tool.run(["update"])
        #expect(refused.status == 6)
        #expect(refused.errorText == "ballastctl: \(path): ballastd does not run: nobody listens\n" + remedy)
    }

    @Test("an older agent that does not know a verb is named as the reason")
    func older() {
        let fault = ControlFault(
            error: "org.varlink.service.MethodNotFound", parameters: ["method": "io.ballast.Update.Hum"])
        #expect(fault.code == .unsupported)
        #expect(fault.message == "the agent does not know 'io.ballast.Update.Hum'")
    }

    @Test("text from elsewhere cannot command the terminal")
    func controlCharacters() async throws {
        let host = try ControlHost(FakeAgent { _, _ in ["detail": "a\u{1B}[2Jb\r\nc\u{9B}d"] })
        let outcome = try await ControlTool(socket: host.path).run(["reboot"])
        #expect(outcome.outputText == "a [2Jb  c d\n")
    }

    @Test(
        "a wrong command line ends with status 2",
        arguments: [["hum"], ["pin"], ["status", "--format", "xml"], ["history", "--limit", "-1"], ["unpin", "1.0"]])
    func usage(arguments: [String]) async throws {
        let outcome = try await Command(try BuiltExecutable.path("ballastctl").string, arguments).outcome()
        #expect(outcome.status == 2)
        #expect(outcome.errorText.hasPrefix("Error: "))
    }

    @Test(
        "every verb's help has an example",
        arguments: [
            "status", "check", "update", "reboot", "rollback", "pin", "unpin", "deny", "allow", "history", "events",
            "logs", "doctor", "watch", "interface", "version",
        ])
    func help(verb: String) async throws {
        let outcome = try await Command(try BuiltExecutable.path("ballastctl").string, [verb, "--help"]).run()
        #expect(outcome.outputText.contains("Example:\n"))
        #expect(outcome.outputText.contains("ballastctl \(verb)"))
    }

    @Test(
        "docs/io.ballast.Update.varlink is the interface; if not, run `ballastctl interface > docs/io.ballast.Update.varlink`"
    )
    func interface() async throws {
        let outcome = try await Command(try BuiltExecutable.path("ballastctl").string, ["interface"]).run()
        let page = FilePath(#filePath).removingLastComponent().removingLastComponent().removingLastComponent()
            .appending("docs/io.ballast.Update.varlink")
        #expect(try page.text() == outcome.outputText)
        #expect(try InterfaceDefinition(parsing: outcome.outputText).methods.count > 10)
    }

    @Test("the executable is small, and carries no tables of ICU")
    func size() async throws {
        let path = try BuiltExecutable.path("ballastctl")
        #expect(try FileStatus(of: path).size < 16_000_000)
        #expect(try await Command("grep", ["-c", "icudt", path.string]).outcome().status == 1)
    }

    func document(_ outcome: Command.Outcome) throws -> JSONValue {
        try JSONValue(parsing: outcome.output, source: "ballastctl")
    }

    @Test("an output that has no room, or whose reader is slow, is not cut short in silence")
    func output() async throws {
        let program = try BuiltExecutable.path("ballastctl").string
        let full = try await Command("/bin/sh", ["-c", "exec \"$1\" interface >/dev/full", "sh", program]).outcome()
        #expect(full.status == 1)
        #expect(full.errorText.hasPrefix("ballastctl: standard output cannot be written: No space left on device\n"))
        let gone = try await Command(
            "/bin/bash", ["-c", "\"$1\" interface | :; exit \"${PIPESTATUS[0]}\"", "sh", program]
        )
        .outcome()
        #expect(gone.errorText.isEmpty)
        // A pipe that does not wait, of one page, and a reader that comes late.
        let slow = """
            import fcntl, os, subprocess, sys, time
            reading, writing = os.pipe()
            fcntl.fcntl(writing, 1031, 4096)
            os.set_blocking(writing, False)
            child = subprocess.Popen([sys.argv[1], "interface"], stdout=writing)
            os.close(writing)
            time.sleep(0.5)
            with open(reading, "rb") as pipe: sys.stdout.buffer.write(pipe.read())
            sys.exit(child.wait())
            """
        let late = try await Command("python3", ["-c", slow, program]).outcome()
        let whole = try await Command(program, ["interface"]).outcome()
        #expect(late.status == 0 && late.output == whole.output && whole.output.count > 4096)
    }
}
