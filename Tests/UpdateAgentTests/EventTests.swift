import Command
import Fault
import FileIO
import Glibc
import JSON
import Synchronization
import SystemPackage
import TestSupport
import Testing
import Trust
import UpdateAgent

@Suite("Events")
struct EventTests {
    private final class Scene: Sendable {
        private let temporary: TemporaryDirectory
        let host: TestHost
        var state: FilePath { host.directory.appending("var/lib/ballast") }
        var journal: FilePath { state.appending("events.jsonl") }

        init() async throws {
            let directory = try TemporaryDirectory()
            (host, _) = try await UpdateTests.prepare(in: directory.path)
            temporary = directory
        }

        /// The numbers of the journal's events, as Python reads JSON Lines.
        func foreignNumbers() async throws -> [Int] {
            let script = "import json,sys\nfor line in open(sys.argv[1]): print(json.loads(line)['sequence'])"
            let outcome = try await Command("python3", ["-c", script, journal.string]).run()
            return outcome.outputText.split(separator: "\n").compactMap { Int($0) }
        }

        func edit(_ path: FilePath, _ body: (inout [String: JSONValue]) -> Void) throws {
            guard case .object(var members) = try JSONValue(parsing: path.contents(), source: path.string) else {
                throw UpdateAgentFault(.invalid, "no object")
            }
            body(&members)
            try path.replaceContents(with: JSONValue.object(members).text())
        }
    }

    @Test("each event has a number, the boot it was noted in and what it is about; the sentence is made of that")
    func members() async throws {
        let scene = try await Scene()
        _ = try scene.host.agent().update { _ in }
        let first = try #require(try scene.host.agent().history().last)
        #expect(first.kind == .staged && first.version == "1.1" && (first.bytes ?? 0) > 0 && first.seconds != nil)
        #expect(first.detail == "1.1 is written to the other slot and starts with the next reboot")
        for _ in 0..<3 {
            #expect(try scene.host.boot() == "1.1")
            _ = try scene.host.failHealth()
        }
        #expect(try scene.host.boot() == "1.0")
        let agent = try scene.host.agent()
        try agent.reconcile()
        let last = try #require(try agent.history().last)
        #expect(last.kind == .rolledBack && last.version == "1.1" && last.otherVersion == "1.0" && last.tries == 3)
        #expect(last.detail == "1.1 did not prove itself in 3 tries; back on 1.0; it is denied")
        #expect(try agent.history().map(\.sequence) == Array(1...last.sequence))
        #expect(!first.bootIdentifier.isEmpty && !last.bootIdentifier.isEmpty)
        #expect(first.bootIdentifier != last.bootIdentifier)
        #expect(try await scene.foreignNumbers() == Array(1...Int(last.sequence)))
    }

    @Test("the journal outlives what a state keeps, is bounded, and says how much of it is gone")
    func bound() async throws {
        let scene = try await Scene()
        let agent = try scene.host.agent()
        let reason = String(repeating: "\u{1F6B0}", count: 390)
        for number in 0..<100 { _ = try agent.deny("2.\(number % 7)", reason: reason) }
        #expect(try agent.history().count == 100)
        #expect(try agent.events(after: nil, limit: nil).missed == 0)
        // Until both files have been full once.
        var count = 100
        while try !scene.state.appending("events.old.jsonl").exists || agent.events(after: nil, limit: 1).missed == 0 {
            try #require(count < 10_000)
            _ = try agent.deny("3.\(count % 7)", reason: reason)
            count += 1
        }
        let sizes = try ["events.jsonl", "events.old.jsonl"].map {
            try scene.state.appending($0).contents(limit: 4 << 20).count
        }
        #expect(sizes.reduce(0, +) < 1_100_000)
        let page = try agent.events(after: nil, limit: 5)
        #expect(page.events.first?.sequence == page.missed + 1)
        #expect(page.events.count == 5)
        #expect(try agent.history().last?.sequence == Int64(count))
        #expect(try await scene.foreignNumbers().last == count)
    }

    @Test("a reporter gets each event until it has said that it took it, also over restarts")
    func outbox() async throws {
        let scene = try await Scene()
        let agent = try scene.host.agent()
        for number in 0..<5 { _ = try agent.deny("2.\(number)", reason: nil) }
        let first = try agent.events(after: nil, limit: 2)
        #expect(first.events.map(\.sequence) == [1, 2] && first.acknowledged == 0 && first.missed == 0)
        _ = try agent.acknowledgeEvents(upTo: 2)
        #expect(try agent.events(after: nil, limit: nil).events.map(\.sequence) == [3, 4, 5])
        #expect(try agent.events(after: 1, limit: 1).events.map(\.sequence) == [2])
        let fault = #expect(throws: UpdateAgentFault.self) { try agent.acknowledgeEvents(upTo: 6) }
        #expect(fault?.code == .invalid)
        // Who is late takes nothing back.
        _ = try agent.acknowledgeEvents(upTo: 1)
        #expect(try scene.host.agent().events(after: nil, limit: nil).events.map(\.sequence) == [3, 4, 5])
    }

    @Test(
        "what a power cut leaves of the journal costs no event",
        arguments: ["cut", "zeros", "gone", "foreign", "unwritten"])
    func damage(_ kind: String) async throws {
        let scene = try await Scene()
        let agent = try scene.host.agent()
        for number in 0..<5 { _ = try agent.deny("2.\(number)", reason: nil) }
        let bytes = try scene.journal.contents()
        switch kind {
        case "cut": try scene.journal.replaceContents(with: Array(bytes.dropLast(20)))
        case "zeros":
            try scene.journal.replaceContents(
                with: Array(bytes.dropLast(100)) + Array(repeating: UInt8(0), count: 100))
        case "gone": try scene.journal.removeTree()
        case "foreign": try scene.journal.replaceContents(with: Array("no journal at all\n{}\n".utf8))
        default: try scene.journal.replaceContents(with: Array(bytes.prefix { $0 != UInt8(ascii: "\n") } + [10]))
        }
        #expect(try agent.history().map(\.sequence) == [1, 2, 3, 4, 5])
        _ = try agent.allow("2.1")
        #expect(try agent.history().map(\.sequence) == [1, 2, 3, 4, 5, 6])
        // The state has the newest events only, the journal all of them again.
        try scene.edit(scene.state.appending("state.json")) { $0["history"] = [] }
        #expect(try scene.host.agent().history().map(\.sequence) == [1, 2, 3, 4, 5, 6])
    }

    @Test("a journal that cannot be written keeps nothing from being done, and gets what it lacks when it can be")
    func unwritable() async throws {
        let scene = try await Scene()
        let agent = try scene.host.agent()
        try scene.journal.makeDirectories()
        for number in 0..<60 { _ = try agent.deny("2.\(number)", reason: nil) }
        #expect(try agent.history().map(\.sequence) == Array(1...60))
        try scene.journal.removeTree()
        _ = try agent.pin("3")
        #expect(try await scene.foreignNumbers() == Array(1...61))
    }

    @Test("numbers go on where the state is lost, and count what an agent without numbers has noted")
    func numbering() async throws {
        let scene = try await Scene()
        let agent = try scene.host.agent()
        for number in 0..<3 { _ = try agent.deny("2.\(number)", reason: nil) }
        try scene.edit(scene.state.appending("state.json")) { members in
            guard case .array(let events)? = members["history"] else { return }
            let older: JSONValue = [
                "time": "2026-01-01T00:00:00Z", "kind": "rolled-back", "version": "1.1", "detail": "what it said",
            ]
            members["history"] = .array(events + [older])
        }
        #expect(try agent.history().last?.detail == "what it said")
        _ = try agent.pin("3")
        #expect(try agent.history().map(\.sequence) == [1, 2, 3, 4, 5])
        let older = try #require(try agent.history().first { $0.sequence == 4 })
        #expect(older.detail == "what it said" && older.bootIdentifier.isEmpty)
        for name in ["state.json", "decisions.json"] { try scene.state.appending(name).removeTree() }
        _ = try scene.host.agent().deny("5", reason: nil)
        #expect(try scene.host.agent().history().map(\.sequence) == [1, 2, 3, 4, 5, 6])
        // With the journal and the state gone, no number is given twice.
        for name in ["state.json", "events.jsonl"] { try scene.state.appending(name).removeTree() }
        _ = try scene.host.agent().deny("6", reason: nil)
        let next = try #require(try scene.host.agent().history().first?.sequence)
        #expect(next > 6)
    }
}
