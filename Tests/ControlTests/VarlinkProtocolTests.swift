import Control
import Fault
import JSON
import Synchronization
import Testing

@Suite("The control protocol")
struct VarlinkProtocolTests {
    static let status = "{\"method\":\"io.ballast.Update.Status\"}"

    @Test("a call means the same wherever the stream cuts it")
    func fragments() throws {
        let host = try ControlHost(FakeAgent())
        let client = try RawClient(host.path)
        let message = Array(Self.status.utf8) + [0]
        for cut in 0...message.count {
            client.send(message[..<cut])
            client.send(message[cut...])
            #expect(try client.receive()?["parameters"]?["status"] == FakeAgent.status)
        }
        for byte in message { client.send([byte]) }
        #expect(try client.receive()?["parameters"]?["status"]?["version"] == "1.1.0")
    }

    @Test("calls that come in one piece are answered each, in their order")
    func pipelined() throws {
        let host = try ControlHost(
            FakeAgent { method, _ in
                guard case .history(let limit?, _) = method else { return [] }
                return .array((0..<limit).map { .integer(Int64($0)) })
            })
        let client = try RawClient(host.path)
        var bytes: [UInt8] = []
        for limit in 0..<200 {
            bytes += Array("{\"method\":\"io.ballast.Update.History\",\"parameters\":{\"limit\":\(limit)}}".utf8) + [0]
        }
        client.send(bytes)
        client.endWriting()
        for limit in 0..<200 {
            let expected = JSONValue.array((0..<limit).map { .integer(Int64($0)) })
            #expect(try client.receive()?["parameters"]?["events"] == expected)
        }
        #expect(try client.receive() == nil, "the connection ends when the caller has ended its side")
    }

    @Test("a message may have as many bytes as the limit says, and not one more")
    func oversize() throws {
        var limits = ServerLimits()
        limits.messageBytes = 2000
        let host = try ControlHost(FakeAgent(), limits: limits)
        func padded(to count: Int) -> String {
            let text = "{\"method\":\"io.ballast.Update.Status\",\"padding\":\""
            return text + String(repeating: "x", count: count - text.utf8.count - 2) + "\"}"
        }
        let client = try RawClient(host.path)
        client.send(padded(to: 2000))
        #expect(try client.receive()?["error"] == nil)
        client.send(padded(to: 2001))
        let answer = try #require(try client.receive())
        #expect(answer["error"] == "io.ballast.Update.Invalid")
        #expect(answer["parameters"]?["message"] == "a message has more than 2000 bytes")
        #expect(try client.receive() == nil)
    }

    @Test("a message without an end is cut off at 1 MiB")
    func endless() throws {
        let host = try ControlHost(FakeAgent())
        let client = try RawClient(host.path)
        let chunk = [UInt8](repeating: UInt8(ascii: " "), count: 64 << 10)
        var accepted = 0
        while accepted < 64 << 20, client.send(chunk) { accepted += chunk.count }
        #expect(accepted < 4 << 20)
        #expect(try RawClient(host.path).call("io.ballast.Update.Status")?["error"] == nil)
    }

    @Test(
        "what is no call is answered with what is wrong, and ends that connection only",
        arguments: [
            "", "x", "{", "[]", "null", "{}", "{\"method\":1}", "{\"method\":\"a.B\",\"parameters\":[]}",
            "{\"method\":\"a.B\",\"more\":1}", "{\"method\":\"a.B\",\"more\":true,\"oneway\":true}",
            "{\"method\":\"a.B\",\"method\":\"a.C\"}", String(repeating: "[", count: 60_000),
            "{\"method\":\"\u{1}\"}",
        ])
    func malformed(message: String) throws {
        let host = try ControlHost(FakeAgent())
        let other = try RawClient(host.path)
        let client = try RawClient(host.path)
        client.send(message)
        let answer = try #require(try client.receive())
        #expect(answer["error"] == "io.ballast.Update.Invalid")
        guard case .string(let text)? = answer["parameters"]?["message"] else {
            Issue.record("no message")
            return
        }
        #expect(text.hasPrefix("no Varlink message: "))
        #expect(try client.receive() == nil)
        #expect(try other.call("io.ballast.Update.Status")?["error"] == nil)
    }

    @Test("text that is not UTF-8 is no call")
    func notText() throws {
        let host = try ControlHost(FakeAgent())
        let client = try RawClient(host.path)
        client.send(Array("{\"method\":\"".utf8) + [0xFF, 0xC0] + Array("\"}".utf8) + [0])
        #expect(try client.receive()?["error"] == "io.ballast.Update.Invalid")
    }

    @Test(
        "each wrong call has the error that Varlink names for it, and the connection goes on",
        arguments: [
            ("io.ballast.Update.Nothing", "{}", "MethodNotFound", ["method": "io.ballast.Update.Nothing"]),
            ("org.varlink.service.Nothing", "{}", "MethodNotFound", ["method": "org.varlink.service.Nothing"]),
            ("Status", "{}", "MethodNotFound", ["method": "Status"]),
            ("io.ballast.Update.", "{}", "MethodNotFound", ["method": "io.ballast.Update."]),
            ("io.ballast.Other.Status", "{}", "InterfaceNotFound", ["interface": "io.ballast.Other"]),
            ("io.ballast.Update.Status", "{\"x\":1}", "InvalidParameter", ["parameter": "x"]),
            ("io.ballast.Update.Pin", "{}", "InvalidParameter", ["parameter": "version"]),
            ("io.ballast.Update.Pin", "{\"version\":null}", "InvalidParameter", ["parameter": "version"]),
            ("io.ballast.Update.Pin", "{\"version\":1}", "InvalidParameter", ["parameter": "version"]),
            ("io.ballast.Update.Deny", "{\"reason\":\"r\"}", "InvalidParameter", ["parameter": "version"]),
            ("io.ballast.Update.Rollback", "{\"reboot\":\"yes\"}", "InvalidParameter", ["parameter": "reboot"]),
            ("io.ballast.Update.History", "{\"limit\":-1}", "InvalidParameter", ["parameter": "limit"]),
            ("io.ballast.Update.History", "{\"limit\":1.5}", "InvalidParameter", ["parameter": "limit"]),
            ("io.ballast.Update.Watch", "{}", "ExpectedMore", [:]),
            ("org.varlink.service.GetInterfaceDescription", "{}", "InvalidParameter", ["parameter": "interface"]),
            (
                "org.varlink.service.GetInterfaceDescription", "{\"interface\":\"a.b\"}", "InterfaceNotFound",
                ["interface": "a.b"]
            ),
        ] as [(String, String, String, JSONValue)])
    func errors(method: String, parameters: String, error: String, details: JSONValue) throws {
        let host = try ControlHost(FakeAgent())
        let client = try RawClient(host.path)
        client.send("{\"method\":\"\(method)\",\"parameters\":\(parameters)}")
        let answer = try #require(try client.receive())
        #expect(answer["error"] == .string("org.varlink.service.\(error)"))
        #expect(answer["parameters"] == details)
        #expect(try client.call("io.ballast.Update.Status")?["error"] == nil)
    }

    @Test(
        "text that would garble a log or a terminal is refused, a NUL in it included",
        arguments: ["\\u0000", "\\n", "\\u001b[2J", "\\u009b", String(repeating: "x", count: 1001)])
    func text(reason: String) throws {
        let agent = FakeAgent()
        let host = try ControlHost(agent)
        let client = try RawClient(host.path)
        client.send(
            "{\"method\":\"io.ballast.Update.Deny\",\"parameters\":{\"version\":\"1.0\",\"reason\":\"\(reason)\"}}")
        #expect(try client.receive()?["error"] == "io.ballast.Update.Invalid")
        #expect(agent.methods.isEmpty)
    }

    @Test("a call that wants no answer gets none, not even an error")
    func oneway() throws {
        let agent = FakeAgent()
        let host = try ControlHost(agent)
        let client = try RawClient(host.path)
        client.send("{\"method\":\"io.ballast.Update.Unpin\",\"oneway\":true}")
        client.send("{\"method\":\"io.ballast.Update.Nothing\",\"oneway\":true}")
        client.send(Self.status)
        #expect(try client.receive()?["parameters"]?["status"] != nil)
        #expect(agent.methods == [.unpin, .status])
    }

    @Test("a call that wants to change the protocol is refused")
    func upgrade() throws {
        let host = try ControlHost(FakeAgent())
        let client = try RawClient(host.path)
        client.send("{\"method\":\"io.ballast.Update.Status\",\"upgrade\":true}")
        #expect(try client.receive()?["error"] == "org.varlink.service.MethodNotImplemented")
    }

    @Test("members that this version does not know are passed over")
    func unknownMembers() throws {
        let host = try ControlHost(FakeAgent())
        let client = try RawClient(host.path)
        client.send("{\"method\":\"io.ballast.Update.Status\",\"parameters\":null,\"fds\":[1],\"more\":null}")
        #expect(try client.receive()?["error"] == nil)
    }

    @Test(
        "a failure of the agent keeps its sentence and remedy, and gets the protocol's nearest kind",
        arguments: FakeAgentCode.allCases)
    func faults(code: FakeAgentCode) throws {
        let host = try ControlHost(
            FakeAgent { _, _ in throw Fault(code, "it did not work", at: .path("/var"), remedy: "try again") })
        let expected: [FakeAgentCode: String] = [
            .busy: "Busy", .denied: "Denied", .pinned: "Denied", .untrusted: "Untrusted", .mismatch: "Untrusted",
            .rolledBack: "Untrusted", .expired: "Expired", .transfer: "Transfer", .invalid: "Invalid",
            .unconfigured: "Invalid", .notFound: "NotFound", .noSpace: "NoSpace", .nothingGood: "NothingGood",
            .notPermitted: "NotPermitted",
        ]
        let answer = try #require(try RawClient(host.path).call("io.ballast.Update.Check"))
        #expect(answer["error"] == .string("io.ballast.Update.\(expected[code] ?? "Failed")"))
        #expect(answer["parameters"] == ["message": "/var: it did not work", "remedy": "try again"])
    }

    @Test("a history larger than a message keeps its newest events")
    func longHistory() throws {
        let events = (0..<5000).map {
            JSONValue.object(["detail": .string("\($0) " + String(repeating: "x", count: 1000))])
        }
        let host = try ControlHost(FakeAgent { _, _ in .array(events) })
        let client = try VarlinkClient(connectingTo: host.path, replyLimit: 1 << 20)
        guard case .array(let kept)? = try client.call("io.ballast.Update.History")["events"] else {
            Issue.record("no events")
            return
        }
        #expect(kept.count > 900)
        #expect(kept == events.suffix(kept.count))
    }
}
