import BootControl
import Fault
import FileIO
import JSON
import Publishing
import Release
import Synchronization
import SystemPackage
import Testing
import Trust
import UpdateAgent

@Suite("Decisions")
struct DecisionTests {
    struct Row: Sendable {
        var running: String
        var boot: String
        var entry: BootEntryName.Standing?
        var hasReport = false
        var outcome: BootReconciliation
    }

    @Test(
        "what a boot says of the version that was to be tried",
        arguments: [
            Row(running: "2", boot: "new", entry: .trying(left: 2, done: 1), outcome: .proving),
            Row(running: "2", boot: "new", entry: .bad(done: 3), outcome: .proving),
            Row(running: "2", boot: "new", entry: nil, outcome: .proving),
            Row(running: "1", boot: "old", entry: .trying(left: 3, done: 0), outcome: .waiting),
            Row(running: "1", boot: "old", entry: nil, outcome: .waiting),
            Row(running: "1", boot: "new", entry: nil, outcome: .interrupted),
            Row(running: "1", boot: "new", entry: .bad(done: 3), outcome: .failed),
            Row(running: "1", boot: "new", entry: .bad(done: 0), outcome: .interrupted),
            Row(running: "1", boot: "new", entry: .good, outcome: .superseded),
            Row(running: "1", boot: "new", entry: .trying(left: 3, done: 0), outcome: .untried),
            Row(running: "1", boot: "new", entry: .trying(left: 2, done: 1), outcome: .untried),
            Row(running: "1", boot: "new", entry: .trying(left: 2, done: 1), hasReport: true, outcome: .failed),
            Row(running: "0", boot: "new", entry: .bad(done: 3), outcome: .failed),
        ])
    func table(_ row: Row) {
        let pending = PendingActivation(version: "2", previous: "1", tries: 3, bootIdentifier: "old")
        #expect(
            BootReconciliation.decide(
                pending: pending, running: row.running, bootIdentifier: row.boot, entry: row.entry,
                hasFailureReport: row.hasReport) == row.outcome)
        #expect(
            BootReconciliation.decide(
                pending: nil, running: row.running, bootIdentifier: row.boot, entry: row.entry,
                hasFailureReport: row.hasReport) == .nothing)
    }

    @Test("a host takes what its pin, its denials and the releases' own conditions leave, and says why")
    func conditions() async throws {
        let directory = try TemporaryDirectory()
        let (host, repository) = try await UpdateTests.prepare(in: directory.path, publishing: [])
        let agent = try host.agent()
        #expect(try agent.check().reason == "channel 'stable' has no release of box for amd64")
        func publish(_ version: String, _ change: (inout Repository.Options) -> Void = { _ in }) async throws {
            try await repository.publish(try TestImage(version: version, blocks: 8), change)
        }
        try await publish("1.0")
        #expect(try agent.check().reason == "1.0 is the newest in channel 'stable'")
        try await publish("1.1")
        try await publish("1.2") { $0.channels = ["beta"] }
        #expect(try agent.check().available == "1.1")
        _ = try agent.pin("1.0.5")
        #expect(try agent.check().text == "nothing to do: 1.1 is passed over: this host is pinned to 1.0.5")
        _ = try agent.unpin()
        let one = try ImageVersion("1.1")
        try await publish("1.3") { $0.floors = [one] }
        #expect(try agent.check().text.hasPrefix("1.1 is available"))
        #expect(try agent.check().reason == "1.3 needs 1.1 to run before it")
        let agentVersion = try ImageVersion("99")
        try await publish("1.4") { $0.minimumAgent = agentVersion }
        #expect(try agent.check().reason.hasPrefix("1.4 needs agent 99, and this one is"))
        try await publish("1.5") { $0.revokes = [one] }
        _ = try agent.deny("1.5", reason: "not on this host")
        let none = try agent.check()
        #expect(none.available == nil)
        #expect(none.reason.contains("1.5 is denied here: not on this host"))
        #expect(none.reason.contains("1.1 is revoked by 1.5"))
        #expect(try agent.status().reason == none.reason)
        for patch in 1...9 { try await publish("2.\(patch)") }
        _ = try agent.pin("1.0.5")
        let pinned = try agent.check().reason
        #expect(pinned.hasPrefix("2.9 is passed over: this host is pinned to 1.0.5; 2.8 is"))
        #expect(pinned.hasSuffix("; 2.2 is passed over: this host is pinned to 1.0.5; 5 more are passed over"))
    }

    @Test("a host waits for its wave, and an operator does not")
    func rollout() async throws {
        let directory = try TemporaryDirectory()
        let (host, repository) = try await UpdateTests.prepare(in: directory.path, publishing: [])
        let start = TestRepository.now.adding(days: 1)
        try await repository.publish(try UpdateTests.new.get()) { $0.rollout = Rollout(start: start, ramp: []) }
        let agent = try host.agent()
        #expect(try agent.check().text == "nothing to do: 1.1 waits for its wave, at \(start)")
        host.state.withLock { $0.now = start }
        #expect(try agent.check().available == "1.1")
        host.state.withLock { $0.now = TestRepository.now }
        #expect(try agent.update { _ in }.outcome == .staged)
    }

    @Test("a host without an address or without a trusted root says so")
    func unconfigured() async throws {
        let directory = try TemporaryDirectory()
        let (host, _) = try await UpdateTests.prepare(in: directory.path)
        let agent = try host.agent()
        let without = Agent(settings: try host.settings(), host: try host.present(), source: nil)
        #expect(throws: UpdateAgentFault.self) { try without.check() }
        #expect(try without.status().lastError?.hasPrefix("this host has no repository to ask") == true)
        // The same again and again is one line of history.
        #expect(throws: UpdateAgentFault.self) { try without.check() }
        #expect(try without.history().map(\.kind) == [.failed])
        #expect(try agent.check().available == "1.1")
        #expect(try agent.status().lastError == nil)
    }
}

@Suite("The agent's files")
struct AgentFilesTests {
    @Test(
        "damaged state is put aside and told of, and the host goes on",
        arguments: ["", "{", "[]", "{\"format\": 2}", "\u{0}"])
    func damagedState(_ text: String) async throws {
        let directory = try TemporaryDirectory()
        let (host, _) = try await UpdateTests.prepare(in: directory.path)
        let path = host.directory.appending("var/lib/ballast")
        try path.makeDirectories()
        try path.appending("state.json").replaceContents(with: text)
        let agent = try host.agent()
        try agent.reconcile()
        #expect(try agent.history().first?.detail.hasPrefix("the agent's state was damaged") == true)
        #expect(try path.appending("state.json.damaged").text() == text)
        #expect(try agent.update { _ in }.outcome == .staged)
    }

    @Test("state survives a restart as it was, and its history does not grow without end")
    func roundTrip() async throws {
        let directory = try TemporaryDirectory()
        let (host, _) = try await UpdateTests.prepare(in: directory.path)
        let agent = try host.agent()
        for number in 0..<150 {
            _ = try agent.deny("2.\(number)", reason: "number \(number)\n\"quoted\"")
            _ = try agent.allow("2.\(number)")
        }
        _ = try agent.pin("3.0")
        _ = try agent.deny("9", reason: nil)
        let again = try host.agent()
        #expect(try again.history().count == 200)
        #expect(try again.history() == agent.history())
        #expect(try again.status() == agent.status())
        #expect(try again.status().pinned == "3.0")
    }

    @Test("an operator's settings go over the image's member by member, and broken ones are without effect")
    func overlay() async throws {
        let directory = try TemporaryDirectory()
        let (host, _) = try await UpdateTests.prepare(in: directory.path)
        let image = try host.settings()
        let paths = HostPaths(prefix: host.directory)
        try host.directory.appending("etc/ballast").makeDirectories()
        let file = host.directory.appending("etc/ballast/agent.json")
        try file.replaceContents(
            with: "{\"repository\": \"https://mirror.example/box/\", \"poll\": {\"interval_seconds\": 60}}")
        let merged = try AgentSettings.load(paths)
        #expect(merged.problem == nil)
        #expect(merged.settings.repository == "https://mirror.example/box")
        #expect(merged.settings.interval == 60)
        #expect(merged.settings.jitter == image.jitter)
        #expect(merged.settings.tries == image.tries)
        for text in ["{\"chanel\": \"beta\"}", "{\"boot\": {\"tries\": 0}}", "{", "{\"repository\": \"ftp://x\"}"] {
            try file.replaceContents(with: text)
            let broken = try AgentSettings.load(paths)
            #expect(broken.settings == image)
            #expect(broken.problem?.contains("are without effect") == true)
        }
        try file.replaceContents(with: "{\"repository\": null}")
        #expect(try AgentSettings.load(paths).settings.repository == nil)
    }

    @Test("whoever watches sees every state in its order, and nothing after it stops")
    func watching() async throws {
        let directory = try TemporaryDirectory()
        let (host, _) = try await UpdateTests.prepare(in: directory.path)
        let agent = try host.agent()
        let seen = Seen()
        let registration = agent.watch { status in seen.add(status.phase.name) }
        _ = try agent.update { _ in }
        #expect(seen.names == ["idle", "checking", "planning", "staging", "staged", "waiting"])
        registration.cancel()
        _ = try agent.deny("1.1", reason: nil)
        #expect(seen.names.last == "waiting")
    }
}
