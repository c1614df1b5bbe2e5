import Command
import Control
import FileIO
import Glibc
import JSON
import SystemPackage
import TestSupport
import Testing

@Suite("Who may do what", .enabled(if: getuid() == 0, "only root can become another user"))
struct CredentialTests {
    /// Every verb that changes something.
    static let changing = [
        ["check"], ["update"], ["update", "--no-wait"], ["reboot"], ["rollback"], ["rollback", "--reboot"],
        ["pin", "1.0.0"], ["unpin"], ["deny", "1.0.0"], ["allow", "1.0.0"],
    ]

    /// A group that every Debian has, in the place of `ballast`.
    static let group = "daemon"

    /// ballastctl as another user, who has to be able to reach it.
    func tool(_ host: ControlHost, _ credentials: [String]) throws -> ControlTool {
        let copy = host.directory.path.appending("ballastctl")
        if !copy.exists {
            try FileManagement.copy(BuiltExecutable.path("ballastctl"), to: copy)
        }
        return ControlTool(socket: host.path, prefix: ["setpriv"] + credentials, executable: copy.string)
    }

    @Test("another user may look, and is told who may do more", arguments: changing)
    func stranger(verb: [String]) async throws {
        let agent = FakeAgent()
        let host = try ControlHost(agent, group: Self.group)
        let tool = try tool(host, ["--reuid", "65534", "--regid", "65534", "--clear-groups"])
        let outcome = try await tool.run(verb)
        #expect(outcome.status == 3)
        #expect(
            outcome.errorText == """
                ballastctl: user 65534 may not do this: only root and members of the group 'daemon' may
                  run it as root, or add the user to the group 'daemon' and log in again

                """)
        #expect(agent.methods.isEmpty)
        for verb in ["status", "history"] {
            #expect(try await tool.run([verb]).status == 0)
        }
    }

    @Test(
        "members of the group may do what root may, by whichever way they are members",
        arguments: [
            ["--reuid", "65534", "--regid", "65534", "--groups", "1"],
            ["--reuid", "65534", "--regid", "1", "--clear-groups"],
            [
                "--reuid", "65534", "--regid", "65534", "--groups",
                ((1000..<1200).map { "\($0)" } + ["1"]).joined(separator: ","),
            ],
        ])
    func member(credentials: [String]) async throws {
        let agent = FakeAgent()
        let host = try ControlHost(agent, group: Self.group)
        let outcome = try await tool(host, credentials).run(["pin", "1.0.0"])
        #expect(outcome.status == 0, "\(outcome.errorText)")
        #expect(agent.methods == [.pin(version: "1.0.0")])
        #expect(agent.callers.first?.user == 65534)
    }

    @Test("root may, and a group that the host does not have has no members")
    func root() async throws {
        let agent = FakeAgent()
        let host = try ControlHost(agent, group: "ballast-no-such-group")
        #expect(try await ControlTool(socket: host.path).run(["unpin"]).status == 0)
        let member = try tool(host, ["--reuid", "65534", "--regid", "1", "--clear-groups"])
        #expect(try await member.run(["unpin"]).status == 3)
        #expect(agent.methods == [.unpin])
        #expect(agent.callers.first?.user == 0)
        #expect((agent.callers.first?.process ?? 0) > 0)
    }

    @Test("another user's connections cannot keep root out")
    func reserved() async throws {
        var limits = ServerLimits()
        limits.connectionsPerUser = 0
        let host = try ControlHost(FakeAgent(), limits: limits)
        let outcome = try await tool(host, ["--reuid", "65534", "--regid", "65534", "--clear-groups"]).run(["status"])
        #expect(outcome.status == 4)
        #expect(outcome.errorText.contains("too many connections"))
        #expect(try await ControlTool(socket: host.path).run(["status"]).status == 0)
        limits = ServerLimits()
        limits.reservedForRoot = limits.connections
        let full = try ControlHost(FakeAgent(), limits: limits)
        #expect(
            try await tool(full, ["--reuid", "65534", "--regid", "65534", "--clear-groups"]).run(["status"]).status == 4
        )
        #expect(try await ControlTool(socket: full.path).run(["status"]).status == 0)
    }
}

private enum FileManagement {
    static func copy(_ source: FilePath, to destination: FilePath) throws {
        let bytes = try source.contents(limit: 64 << 20)
        try destination.replaceContents(with: bytes)
        chmod(destination.string, 0o755)
    }
}
