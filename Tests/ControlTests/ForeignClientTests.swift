import Command
import Control
import Fault
import FileIO
import Glibc
import JSON
import SystemPackage
import Testing

@Suite("Other people's clients")
struct ForeignClientTests {
    /// A Varlink client in twenty lines that shares nothing with ours.
    static let client = """
        import json, socket, sys
        path = sys.argv[1]
        def talk(*calls):
            link = socket.socket(socket.AF_UNIX)
            link.settimeout(20)
            link.connect(path)
            link.sendall(b"".join(json.dumps(call).encode() + b"\\0" for call in calls))
            data = b""
            while True:
                while b"\\0" in data:
                    message, data = data.split(b"\\0", 1)
                    yield json.loads(message)
                chunk = link.recv(65536)
                if not chunk:
                    return
                data += chunk
        update = "io.ballast.Update."
        print(next(talk({"method": update + "Status"}))["parameters"]["status"]["version"])
        answers = talk({"method": update + "Pin", "parameters": {"version": "1.0"}}, {"method": update + "Unpin"},
                       {"method": update + "Gone"}, {"method": "org.varlink.service.GetInfo"})
        print(next(answers)["parameters"]["detail"])
        print(next(answers)["parameters"]["detail"])
        print(next(answers)["error"])
        print(*next(answers)["parameters"]["interfaces"])
        for answer in talk({"method": update + "Update", "more": True}):
            print(answer.get("continues", False), *answer["parameters"])
            if not answer.get("continues"):
                break
        watch = talk({"method": update + "Watch", "more": True})
        print(next(watch)["parameters"]["status"]["state"]["name"])
        """

    @Test("a client of another language calls, pipelines and streams")
    func python() async throws {
        let host = try ControlHost(
            FakeAgent { method, progress in
                if method == .update { progress(FakeAgent.progress(1, of: 2)) }
                return FakeAgent.document(for: method)
            })
        let outcome = try await Command("python3", ["-c", Self.client, host.path]).run()
        #expect(
            outcome.outputText == """
                1.1.0
                pinned to 1.0
                not pinned any more
                org.varlink.service.MethodNotFound
                io.ballast.Update org.varlink.service
                True progress
                False result
                good

                """)
    }

    /// systemd's client, where the machine has one.
    static let varlinkctl: String? = {
        if let named = getenv("BALLAST_VARLINKCTL") { return String(cString: named) }
        let path = getenv("PATH").map { String(cString: $0) } ?? ""
        return path.split(separator: ":").map { "\($0)/varlinkctl" }.first { access($0, X_OK) == 0 }
    }()

    @Test("systemd's varlinkctl works on the socket unchanged", .enabled(if: varlinkctl != nil, "no varlinkctl here"))
    func systemd() async throws {
        let program = try #require(Self.varlinkctl)
        let host = try ControlHost(
            FakeAgent { method, progress in
                if method == .update { progress(FakeAgent.progress(1, of: 2)) }
                return FakeAgent.document(for: method)
            })
        let info = try await Command(program, ["info", host.path]).run()
        #expect(info.outputText.contains("io.ballast.Update"))
        for interface in ["io.ballast.Update", "org.varlink.service"] {
            // It parses the definition, and says so where it cannot.
            let definition = try await Command(program, ["introspect", host.path, interface]).run()
            #expect(definition.outputText.contains("interface \(interface)"))
            #expect(definition.errorText.isEmpty)
            let valid = try await Command(program, ["validate-idl"]).run(input: definition.output)
            #expect(valid.status == 0 && !valid.errorText.contains("refusing"), "\(valid.errorText)")
            let text = try InterfaceDefinition(parsing: definition.outputText)
            #expect(text.name == interface && !text.methods.isEmpty)
        }
        let status = try await Command(program, ["call", "-j", host.path, "io.ballast.Update.Status", "{}"]).run()
        #expect(try JSONValue(parsing: status.output, source: "varlinkctl")["status"] == FakeAgent.status)
        let update = try await Command(program, ["call", "-j", "--more", host.path, "io.ballast.Update.Update", "{}"])
            .run()
        #expect(update.outputText.contains("progress") && update.outputText.contains("result"))
        let wrong = try await Command(program, ["call", host.path, "io.ballast.Update.Pin", "{}"]).outcome()
        #expect(wrong.status != 0)
        #expect(wrong.errorText.contains("InvalidParameter"))
    }

    @Test(
        "what is no definition is refused",
        arguments: [
            "", "interface", "interface a.b\nmethod M() -> (x: Y)", "interface a.b\ntype T (x: int",
            "interface a.b\nmethod M()", "interface a.b\nkind T ()", "interface a.b\ntype T (x: int)\nmethod T() -> ()",
            "interface a.b\ntype T (x: int, y)",
            "interface a.b\ntype T (x: []" + String(repeating: "[]", count: 100) + "int)",
        ])
    func noDefinition(text: String) {
        let fault = #expect(throws: ControlFault.self) { try InterfaceDefinition(parsing: text) }
        #expect(fault?.code == .malformed)
    }

    @Test("the definition has every method and error that the service answers with")
    func definition() throws {
        let definition = try InterfaceDefinition(parsing: UpdateInterface.description)
        #expect(definition.name == UpdateInterface.name)
        for (name, fields) in definition.errors {
            #expect(fields.map(\.name) == ["message", "remedy"], "\(name)")
            #expect(fields.map(\.shape) == [.text, .optional(.text)], "\(name)")
        }
        // Those that only a caller sees have no name in it.
        let own: Set<String> = ["unsupported", "not-running", "disconnected", "malformed", "socket"]
        #expect(definition.errors.count == ControlFaultCode.allCases.count { !own.contains($0.rawValue) })
    }
}
