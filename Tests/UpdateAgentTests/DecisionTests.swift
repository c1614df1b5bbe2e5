import BootControl
import Fault
import FileIO
import Glibc
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
        "damaged state is put aside and told of, the host goes on, and what its operator decided is kept",
        arguments: ["", "{", "[]", "{\"format\": \"1\"}", "\u{0}"])
    func damagedState(_ text: String) async throws {
        let directory = try TemporaryDirectory()
        let (host, _) = try await UpdateTests.prepare(in: directory.path)
        let path = host.directory.appending("var/lib/ballast")
        let first = try host.agent()
        _ = try first.pin("1.1")
        _ = try first.deny("1.2", reason: "it is bad")
        try path.appending("state.json").replaceContents(with: text)
        let agent = try host.agent()
        try agent.reconcile()
        #expect(try agent.history().map(\.kind) == [.pinned, .denied, .stateDamaged])
        let event = try #require(try agent.history().last)
        let cause = try #require(event.cause)
        let status = try agent.status()
        let error = try #require(status.lastError)
        #expect(error.hasPrefix("the agent's state was damaged and is in "))
        #expect(error.hasSuffix("/state.json.damaged; its pin and denials are kept: \(cause)"))
        #expect(status.pinned == "1.1")
        #expect(status.denied.map(\.version) == ["1.2"])
        #expect(status.denied.map(\.cause) == ["it is bad"])
        #expect(try path.appending("state.json.damaged").text() == text)
        #expect(try agent.update { _ in }.outcome == .staged)
        // Nor does it take both files.
        for file in ["state.json", "decisions.json"] { try path.appending(file).replaceContents(with: "") }
        #expect(try host.agent().status().pinned == nil)
    }

    @Test("a state that is far too large is put aside whole")
    func largeState() async throws {
        let directory = try TemporaryDirectory()
        let (host, _) = try await UpdateTests.prepare(in: directory.path)
        let path = host.directory.appending("var/lib/ballast")
        _ = try host.agent().pin("1.1")
        try path.appending("state.json").replaceContents(with: [UInt8](repeating: 0x20, count: 9 << 20))
        #expect(try host.agent().status().pinned == "1.1")
        #expect(!path.appending("state.json.damaged").exists, "whoever looks changes nothing")
        try host.agent().reconcile()
        #expect(try host.agent().status().pinned == "1.1")
        #expect(try FileStatus(of: path.appending("state.json.damaged")).size == 9 << 20)
    }

    @Test("a state that the disk does not give any more is put aside, and what was decided is kept")
    func unreadable() async throws {
        let directory = try TemporaryDirectory()
        let (host, _) = try await UpdateTests.prepare(in: directory.path)
        _ = try host.agent().deny("1.1", reason: "it is bad")
        let path = host.directory.appending("var/lib/ballast")
        // Reading it fails with EIO, for nothing is mapped at its beginning.
        func spoil(_ file: FilePath) throws {
            try file.removeTree()
            #expect(symlink("/proc/self/mem", file.string) == 0)
        }
        try spoil(path.appending("state.json"))
        #expect(try host.agent().status().denied.map(\.version) == ["1.1"])
        try host.agent().reconcile()
        #expect(try host.agent().status().lastError?.contains("Input/output error") == true)
        #expect(try host.agent().status().denied.map(\.version) == ["1.1"])
        let store = DirectoryStore(path.appending("trust"))
        try store.save([1], as: .timestamp)
        try spoil(path.appending("trust").appending(StoredDocument.timestamp.fileName))
        #expect(try store.load(.timestamp) == nil)
        try store.save([2], as: .timestamp)
        #expect(try store.load(.timestamp) == [2])
    }

    @Test("denials that cannot be understood in the one file are taken from the other")
    func damagedDenials() async throws {
        let directory = try TemporaryDirectory()
        let (host, _) = try await UpdateTests.prepare(in: directory.path)
        let path = host.directory.appending("var/lib/ballast/state.json")
        _ = try host.agent().deny("1.1", reason: "it is bad")
        try path.replaceContents(with: "{\"format\": 1, \"denied\": \"all\", \"pinned\": 5}")
        #expect(try host.agent().status().denied.map(\.version) == ["1.1"])
        #expect(try host.agent().update { _ in }.outcome == .nothing)
        #expect(try host.agent().status().denied.map(\.version) == ["1.1"])
    }

    @Test("a state that was removed keeps pins and denials")
    func removedState() async throws {
        let directory = try TemporaryDirectory()
        let (host, _) = try await UpdateTests.prepare(in: directory.path)
        let path = host.directory.appending("var/lib/ballast/state.json")
        _ = try host.agent().pin("1.1")
        try path.removeTree()
        #expect(try host.agent().status().pinned == "1.1")
        _ = try host.agent().unpin()
        try path.removeTree()
        #expect(try host.agent().status().pinned == nil)
    }

    private static let directory = FilePath(#filePath).removingLastComponent()

    /// What a newer agent may leave to this one: members, states, events and a format that nobody here knows.
    private static let newer = """
        {
          "format": 7,
          "state": {"name": "soft-rebooting", "version": "1.1", "since": 5},
          "pinned": "1.1",
          "denied": [
            {"version": "1.3", "cause": "it is bad", "time": "2026-01-01T00:00:00Z", "by": "an operator"},
            {"version": "1.4"}, {"release": "1.5"}
          ],
          "good": ["1.0"],
          "history": [
            {"time": "2026-01-01T00:00:00Z", "kind": "sang", "version": "1.0", "detail": "a song", "verses": 3},
            {"kind": "unheard of"}
          ],
          "pending": {
            "version": "1.1", "sequence": 3, "previous": "1.0", "tries": 3, "boot_id": "boot 0", "kexec": true
          },
          "failed": {"what": "is that"},
          "windows": [{"from": "22:00"}]
        }
        """

    @Test("what a newer agent has written is used as far as it is understood, and all of it is written back")
    func newerState() async throws {
        let directory = try TemporaryDirectory()
        let (host, _) = try await UpdateTests.prepare(in: directory.path)
        let path = host.directory.appending("var/lib/ballast")
        try path.makeDirectories()
        try path.appending("state.json").replaceContents(with: Self.newer)
        let agent = try host.agent()
        let status = try agent.status()
        #expect(status.pinned == "1.1")
        #expect(status.denied.map(\.version) == ["1.3", "1.4"])
        #expect(status.phase.name == "soft-rebooting")
        #expect(status.lastError?.contains("what this agent does not understand, which is kept") == true)
        #expect(try agent.history().map(\.kind.rawValue) == ["sang"])
        _ = try agent.deny("1.6", reason: nil)
        func members(_ value: JSONValue) throws -> [String: JSONValue] {
            guard case .object(let members) = value else { throw UpdateAgentFault(.invalid, "no object") }
            return members
        }
        var before = try members(try JSONValue(parsing: Array(Self.newer.utf8), source: "before"))
        var after = try members(
            try JSONValue(parsing: try path.appending("state.json").contents(), source: "after"))
        // What is added comes last, what is not understood comes first, and nothing is lost.
        for key in ["denied", "history"] {
            guard case .array(let old)? = before.removeValue(forKey: key),
                case .array(let new)? = after.removeValue(forKey: key)
            else { throw UpdateAgentFault(.invalid, "no array '\(key)'") }
            for element in old {
                let isKept = try new.contains { candidate in
                    // A denial of which only the version is known gets the rest.
                    try members(candidate).merging(members(element)) { $1 } == members(candidate)
                }
                #expect(isKept, "\(element)")
            }
            #expect(new.count == old.count + 1)
        }
        guard case .object(let pending)? = after.removeValue(forKey: "pending"),
            case .object(let known)? = before.removeValue(forKey: "pending")
        else { throw UpdateAgentFault(.invalid, "nothing is pending") }
        #expect(known.merging(["missed_boots": 0]) { $1 } == pending)
        // Both events are numbered now.
        #expect(after.removeValue(forKey: "last_event") == 2)
        #expect(after == before)
    }

    @Test(
        "the state of each agent so far is read without a loss", arguments: ["0.1.0 updated", "0.1.0 rolled back"])
    func earlierStates(_ name: String) async throws {
        let file = Self.directory.appending("States").appending(name.replacing(" ", with: "-") + ".json")
        let text = try file.text()
        let directory = try TemporaryDirectory()
        let (host, _) = try await UpdateTests.prepare(in: directory.path)
        let path = host.directory.appending("var/lib/ballast")
        try path.makeDirectories()
        try path.appending("state.json").replaceContents(with: text)
        let agent = try host.agent()
        let status = try agent.status()
        #expect(status.lastError == nil)
        let isUpdated = name.hasSuffix("updated")
        #expect(status.pinned == (isUpdated ? "1.1" : nil))
        #expect(status.denied.map(\.version) == (isUpdated ? ["9.9"] : ["9.9", "1.1"]))
        #expect(try agent.history().count > 2)
        try agent.reconcile()
        #expect(try agent.status().denied.map(\.version) == status.denied.map(\.version))
        #expect(!path.appending("state.json.damaged").exists)
    }

    @Test("state survives a restart as it was")
    func roundTrip() async throws {
        let directory = try TemporaryDirectory()
        let (host, _) = try await UpdateTests.prepare(in: directory.path)
        let agent = try host.agent()
        for number in 0..<5 {
            _ = try agent.deny("2.\(number)", reason: "number \(number)\n\"quoted\"")
            _ = try agent.allow("2.\(number)")
        }
        _ = try agent.pin("3.0")
        _ = try agent.deny("9", reason: nil)
        let again = try host.agent()
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
        #expect(merged.settings.mirrors == ["https://mirror.example/box"])
        #expect(merged.settings.interval == 60)
        #expect(merged.settings.jitter == image.jitter)
        #expect(merged.settings.tries == image.tries)
        for text in ["{", "[]", "\u{0}"] {
            try file.replaceContents(with: text)
            let broken = try AgentSettings.load(paths)
            // Whatever it was to say of restarts holds them back.
            #expect(broken.settings.restart.problem != nil)
            var expected = image
            expected.restart.problem = broken.settings.restart.problem
            #expect(broken.settings == expected)
            #expect(broken.problem?.contains("are without effect") == true)
        }
        // One that cannot be used takes none of the others with it.
        for (text, word) in [
            ("\"chanel\": \"beta\"", "unknown member 'chanel'"),
            ("\"boot\": {\"tries\": 0}", "boot.tries: 0 is outside"),
            ("\"product\": \"other\"", "product: it is the image's, and cannot be another here"),
            ("\"architecture\": \"arm64\"", "architecture: it is the image's"),
            ("\"repository\": \"ftp://x\"", "repository: expected an address"),
            ("\"repository\": [\"https://x/\", \"http://x/?a\"]", "repository[1]: expected an address without"),
            ("\"transfer\": {\"proxy\": \"host:3128\"}", "transfer.proxy: expected 'none' or an address"),
            ("\"transfer\": {\"bytes_per_second\": 0}", "transfer.bytes_per_second: 0 is outside"),
            (
                "\"poll\": {\"interval_seconds\": 61, \"jitter_seconds\": -1, \"often\": 1}",
                "poll: unknown member 'often'"
            ),
        ] {
            try file.replaceContents(with: "{\"channel\": \"beta\", \(text)}")
            let settings = try AgentSettings.load(paths)
            #expect(settings.problem?.contains(word) == true, "\(text): \(settings.problem ?? "")")
            #expect(settings.settings.channel == "beta")
            #expect(settings.settings.tries == image.tries)
            #expect(settings.settings.jitter == image.jitter)
            #expect(settings.settings.interval == (text.contains("poll") ? 61 : image.interval))
        }
        try file.replaceContents(
            with: """
                {"repository": ["https://a/x//", "https://[::1]:8443"],
                 "transfer": {"client_certificate": "/c", "client_key": "/k", "proxy": "none", "no_proxy": ["b"]}}
                """)
        let several = try AgentSettings.load(paths)
        #expect(several.problem == nil)
        #expect(several.settings.mirrors == ["https://a/x", "https://[::1]:8443"])
        #expect(several.settings.transfer.key == "/k" && several.settings.transfer.proxy == "none")
        try file.replaceContents(with: "{\"repository\": null}")
        #expect(try AgentSettings.load(paths).settings.mirrors.isEmpty)
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
