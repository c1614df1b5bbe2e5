import BootControl
import BootLoader
import Cryptography
import Fault
import Testing
import Trust
import UpdateAgent

/// Facts and states in few words.
enum Scene {
    static let time = TestRepository.now

    static func kernel(_ version: String) -> KernelName {
        KernelName(product: "box", version: version, digest: SHA256Digest(of: version.utf8))
    }

    static func entry(_ sequence: Int, _ version: String, _ standing: BootEntryName.Standing = .good) -> BootEntry {
        let name = BootEntryName(product: "box", sequence: sequence, version: version, standing: standing)
        return BootEntry(name: name, fileName: name.description, kernel: kernel(version))
    }

    /// 1 runs, and the other slot has 2 unless it is said otherwise.
    static func facts(
        _ entries: [BootEntry], running: String = "1", counted: BootEntry? = nil, boot: String = "now",
        other: BootFacts.Other = .version("2")
    ) -> BootFacts {
        BootFacts(
            running: running, bootIdentifier: boot, counted: counted.map { CountedEntry(name: $0.name) }, tries: 3,
            entries: entries.sorted { $0.comesBefore($1) }, kernels: ["1", "2"].map(kernel), other: other)
    }

    static func state(_ change: (inout AgentState) -> Void) -> AgentState {
        var state = AgentState()
        state.good = ["1"]
        change(&state)
        return state
    }

    static func pending(_ sequence: Int, boot: String = "now") -> PendingActivation {
        PendingActivation(version: "2", sequence: sequence, previous: "1", tries: 3, bootIdentifier: boot)
    }

    static func denied(_ version: String) -> DeniedVersion {
        DeniedVersion(version: version, cause: "it is bad", time: time)
    }

    /// What is on the boot partition when the edits are done.
    static func result(_ edits: BootPolicy.Edits, _ facts: BootFacts) -> BootFacts {
        var after = facts
        for edit in edits.before + edits.after {
            switch edit {
            case .add(let name, let kernel):
                after.entries.append(BootEntry(name: name, fileName: name.description, kernel: kernel))
            case .remove(let entry): after.entries.removeAll { $0 == entry }
            }
        }
        after.entries.sort { $0.comesBefore($1) }
        return after
    }
}

@Suite("What shall boot")
struct BootPolicyTests {
    struct Row: Sendable, CustomTestStringConvertible {
        var what: String
        var state: AgentState
        var before: AgentState?
        var facts: BootFacts
        var clearing = false
        /// Of 1, and of 2.
        var wishes: [BootPolicy.Wish]
        /// The loader's order afterwards.
        var order: [String]

        var testDescription: String { what }
    }

    private static let both = [Scene.entry(3, "1"), Scene.entry(1, "2")]

    /// The table in docs/architecture.md, in its order.
    static let rows: [Row] = [
        Row(
            what: "nothing is to be done", state: Scene.state { _ in }, facts: Scene.facts(both),
            wishes: [.good, .asIs], order: ["box_3_1.conf", "box_1_2.conf"]),
        Row(
            what: "a new host on trial", state: AgentState(),
            facts: Scene.facts(
                [Scene.entry(1, "1", .trying(left: 2, done: 1))],
                counted: Scene.entry(1, "1", .trying(left: 2, done: 1)), other: .empty),
            wishes: [.asIs, .none], order: ["box_1_1+2-1.conf"]),
        Row(
            what: "it is good, and its counter could not be taken off", state: Scene.state { _ in },
            facts: Scene.facts(
                [Scene.entry(3, "1", .trying(left: 2, done: 1)), Scene.entry(1, "2")],
                counted: Scene.entry(3, "1", .trying(left: 2, done: 1))),
            wishes: [.good, .asIs], order: ["box_3_1.conf", "box_1_2.conf"]),
        Row(
            what: "it is good, and has lost its entry", state: Scene.state { _ in },
            facts: Scene.facts([Scene.entry(1, "2")]), wishes: [.good, .asIs],
            order: ["box_2_1.conf", "box_1_2.conf"]),
        Row(
            what: "it is good, and a torn rename has left two names", state: Scene.state { _ in },
            facts: Scene.facts(
                [Scene.entry(3, "1"), Scene.entry(3, "1", .trying(left: 3, done: 0)), Scene.entry(1, "2")]),
            wishes: [.good, .asIs], order: ["box_4_1.conf", "box_1_2.conf"]),
        Row(
            what: "an update waits, and what runs has lost its entry",
            state: Scene.state { $0.pending = Scene.pending(5) },
            facts: Scene.facts([Scene.entry(5, "2", .trying(left: 3, done: 0))]),
            wishes: [.good, .first(sequence: 5)], order: ["box_5_2+3.conf", "box_4_1.conf"]),
        Row(
            what: "the other slot is about to be written", state: Scene.state { _ in }, facts: Scene.facts(both),
            clearing: true, wishes: [.good, .none], order: ["box_3_1.conf"]),
        Row(
            what: "it has failed and stays, and the other slot is about to be written",
            state: Scene.state { state in
                state.good = []
                state.failedBoot = "now"
            },
            facts: Scene.facts(
                [Scene.entry(3, "1", .bad(done: 4))], counted: Scene.entry(3, "1", .bad(done: 4)), other: .empty),
            clearing: true, wishes: [.good, .none], order: ["box_3_1.conf"]),
        Row(
            what: "an update waits for its reboot", state: Scene.state { $0.pending = Scene.pending(5) },
            facts: Scene.facts([Scene.entry(3, "1")]), wishes: [.good, .first(sequence: 5)],
            order: ["box_5_2+3.conf", "box_3_1.conf"]),
        Row(
            what: "an update waits, and its version failed before",
            state: Scene.state { $0.pending = Scene.pending(5) },
            facts: Scene.facts([Scene.entry(3, "1"), Scene.entry(2, "2", .bad(done: 3))]),
            wishes: [.good, .first(sequence: 5)], order: ["box_5_2+3.conf", "box_3_1.conf"]),
        Row(
            what: "an update waits that another boot has begun",
            state: Scene.state { $0.pending = Scene.pending(5, boot: "earlier") },
            facts: Scene.facts([Scene.entry(3, "1"), Scene.entry(5, "2", .trying(left: 2, done: 1))]),
            wishes: [.good, .asIs], order: ["box_5_2+2-1.conf", "box_3_1.conf"]),
        Row(
            what: "an update is not wanted any more", state: Scene.state { $0.pinned = "1" },
            before: Scene.state { $0.pending = Scene.pending(5) },
            facts: Scene.facts([Scene.entry(3, "1"), Scene.entry(5, "2", .trying(left: 3, done: 0))]),
            wishes: [.good, .asIs], order: ["box_3_1.conf", "box_5_2+0.conf"]),
        Row(
            what: "an update is denied", state: Scene.state { $0.denied = [Scene.denied("2")] },
            before: Scene.state { $0.pending = Scene.pending(5) },
            facts: Scene.facts([Scene.entry(3, "1"), Scene.entry(5, "2", .trying(left: 3, done: 0))]),
            wishes: [.good, .last], order: ["box_3_1.conf", "box_5_2+0.conf"]),
        Row(
            what: "an update failed", state: Scene.state { $0.denied = [Scene.denied("2")] },
            before: Scene.state { $0.pending = Scene.pending(5, boot: "earlier") },
            facts: Scene.facts([Scene.entry(3, "1"), Scene.entry(5, "2", .bad(done: 3))]),
            wishes: [.good, .last], order: ["box_3_1.conf", "box_5_2+0-3.conf"]),
        Row(
            what: "a new version runs on trial",
            state: Scene.state { state in
                state.good = ["2"]
                state.pending = PendingActivation(
                    version: "1", sequence: 5, previous: "2", tries: 3, bootIdentifier: "earlier")
            },
            facts: Scene.facts(
                [Scene.entry(5, "1", .trying(left: 2, done: 1)), Scene.entry(3, "2")],
                counted: Scene.entry(5, "1", .trying(left: 2, done: 1))),
            wishes: [.asIs, .asIs], order: ["box_5_1+2-1.conf", "box_3_2.conf"]),
        Row(
            what: "a new version runs on trial, and the other one is denied",
            state: Scene.state { state in
                state.good = ["2"]
                state.denied = [Scene.denied("2")]
            },
            facts: Scene.facts(
                [Scene.entry(5, "1", .trying(left: 2, done: 1)), Scene.entry(3, "2")],
                counted: Scene.entry(5, "1", .trying(left: 2, done: 1))),
            wishes: [.asIs, .asIs], order: ["box_5_1+2-1.conf", "box_3_2.conf"]),
        Row(
            what: "the other one is denied or revoked",
            state: Scene.state { state in
                state.good = ["1", "2"]
                state.revoked = ["2": "3"]
            },
            facts: Scene.facts(both), wishes: [.good, .last], order: ["box_3_1.conf", "box_1_2+0.conf"]),
        Row(
            what: "a rollback waits for its reboot",
            state: Scene.state { state in
                state.good = ["2", "1"]
                state.denied = [Scene.denied("1")]
                state.rollback = PendingRollback(target: "2", from: "1", sequence: 5)
            },
            facts: Scene.facts(both), wishes: [.asIs, .first(sequence: 5)],
            order: ["box_5_2+3.conf", "box_3_1.conf", "box_1_2.conf"]),
        Row(
            what: "a rollback's target runs on trial",
            state: Scene.state { state in
                state.good = ["1", "2"]
                state.denied = [Scene.denied("2")]
                state.rollback = PendingRollback(target: "1", from: "2", sequence: 5)
            },
            facts: Scene.facts(
                [Scene.entry(5, "1", .trying(left: 2, done: 1)), Scene.entry(3, "2"), Scene.entry(1, "1")],
                counted: Scene.entry(5, "1", .trying(left: 2, done: 1))),
            wishes: [.asIs, .asIs], order: ["box_5_1+2-1.conf", "box_3_2.conf", "box_1_1.conf"]),
        Row(
            what: "a rollback's target is good",
            state: Scene.state { state in
                state.good = ["2", "1"]
                state.denied = [Scene.denied("2")]
            },
            before: Scene.state { state in
                state.rollback = PendingRollback(target: "1", from: "2", sequence: 5)
            },
            facts: Scene.facts(
                [Scene.entry(5, "1", .trying(left: 2, done: 1)), Scene.entry(3, "2"), Scene.entry(1, "1")],
                counted: Scene.entry(5, "1", .trying(left: 2, done: 1))),
            wishes: [.good, .last], order: ["box_5_1.conf", "box_3_2+0.conf"]),
        Row(
            what: "a rollback's target is good, and what was left is allowed again",
            state: Scene.state { $0.good = ["2", "1"] },
            before: Scene.state { state in
                state.rollback = PendingRollback(target: "1", from: "2", sequence: 5)
            },
            facts: Scene.facts(
                [Scene.entry(5, "1", .trying(left: 2, done: 1)), Scene.entry(3, "2"), Scene.entry(1, "1")],
                counted: Scene.entry(5, "1", .trying(left: 2, done: 1))),
            wishes: [.good, .asIs], order: ["box_5_1.conf", "box_3_2.conf"]),
        Row(
            what: "an update to a version that was good waits, and somebody chose the older one at the boot menu",
            state: Scene.state { state in
                state.good = ["2", "1"]
                state.pending = Scene.pending(5)
            },
            facts: Scene.facts([Scene.entry(1, "1"), Scene.entry(3, "2")]),
            wishes: [.good, .first(sequence: 5)], order: ["box_5_2+3.conf", "box_1_1.conf"]),
        Row(
            what: "a rollback failed", state: Scene.state { $0.denied = [Scene.denied("2")] },
            before: Scene.state { $0.rollback = PendingRollback(target: "2", from: "1", sequence: 5) },
            facts: Scene.facts(both + [Scene.entry(5, "2", .bad(done: 3))]), wishes: [.good, .last],
            order: ["box_3_1.conf", "box_1_2+0.conf"]),
        Row(
            what: "a rollback failed, and what was left has to prove itself",
            state: Scene.state { state in
                state.good = []
                state.denied = [Scene.denied("2")]
            },
            before: Scene.state { $0.rollback = PendingRollback(target: "2", from: "1", sequence: 5) },
            facts: Scene.facts(
                [
                    Scene.entry(3, "1", .trying(left: 1, done: 2)), Scene.entry(1, "2"),
                    Scene.entry(5, "2", .bad(done: 3)),
                ], counted: Scene.entry(3, "1", .trying(left: 1, done: 2))),
            wishes: [.asIs, .last], order: ["box_3_1+1-2.conf", "box_1_2+0.conf"]),
        Row(
            what: "a rollback is taken back", state: Scene.state { $0.good = ["2", "1"] },
            before: Scene.state { $0.rollback = PendingRollback(target: "2", from: "1", sequence: 5) },
            facts: Scene.facts(both + [Scene.entry(5, "2", .trying(left: 3, done: 0))]), wishes: [.good, .asIs],
            order: ["box_3_1.conf", "box_1_2.conf"]),
        Row(
            what: "a version is in no slot", state: Scene.state { _ in },
            facts: Scene.facts([Scene.entry(3, "1"), Scene.entry(1, "2")], other: .version("7")),
            wishes: [.good, .none], order: ["box_3_1.conf"]),
        Row(
            what: "the slots cannot be read", state: Scene.state { _ in },
            facts: Scene.facts([Scene.entry(3, "1"), Scene.entry(1, "2")], other: .unknown), wishes: [.good, .asIs],
            order: ["box_3_1.conf", "box_1_2.conf"]),
        Row(
            what: "somebody chose the older one at the boot menu", state: Scene.state { $0.good = ["1", "2"] },
            facts: Scene.facts([Scene.entry(1, "1"), Scene.entry(3, "2")]), wishes: [.good, .asIs],
            order: ["box_3_2.conf", "box_1_1.conf"]),
    ]

    @Test("for each state of a host, the entries come to what the table says", arguments: rows)
    func table(_ row: Row) throws {
        let before = row.before ?? row.state
        let wishes = ["1", "2"].map { version in
            BootPolicy.wish(for: version, before: before, row.state, row.facts, clearing: row.clearing)
        }
        #expect(wishes == row.wishes)
        let edits = try BootPolicy.edits(
            from: before, to: row.state, row.facts, product: "box", clearing: row.clearing)
        let after = Scene.result(edits, row.facts)
        #expect(after.entries.map(\.fileName) == row.order)
    }

    @Test("what follows a change leaves nothing to be done when it is looked at again", arguments: rows)
    func stable(_ row: Row) throws {
        let edits = try BootPolicy.edits(
            from: row.before ?? row.state, to: row.state, row.facts, product: "box", clearing: row.clearing)
        let after = Scene.result(edits, row.facts)
        let again = try BootPolicy.edits(
            from: row.state, to: row.state, after, product: "box", clearing: row.clearing)
        #expect(again == BootPolicy.Edits())
    }

    @Test("from each row to each other one, something boots at every step, and what runs keeps an entry")
    func pairs() throws {
        for from in Self.rows {
            for to in Self.rows where !to.clearing {
                var facts = from.facts
                let edits = try BootPolicy.edits(from: from.state, to: to.state, facts, product: "box")
                let kept = facts.entries.contains { $0.name.version == facts.running }
                for edit in edits.before + edits.after {
                    facts = Scene.result(BootPolicy.Edits(before: [edit], after: []), facts)
                    #expect(!facts.entries.isEmpty, "from '\(from.what)' to '\(to.what)' after \(edit)")
                    guard kept else { continue }
                    #expect(
                        facts.entries.contains { $0.name.version == facts.running },
                        "from '\(from.what)' to '\(to.what)' after \(edit)")
                }
            }
        }
    }

    @Test("what makes something boot comes after the state, and what keeps it from that before", arguments: rows)
    func sides(_ row: Row) throws {
        let edits = try BootPolicy.edits(
            from: row.before ?? row.state, to: row.state, row.facts, product: "box", clearing: row.clearing)
        for edit in edits.before {
            guard case .add(let name, _) = edit else { continue }
            let isTrial = if case .trying = name.standing { true } else { false }
            #expect(!isTrial)
        }
        let added = edits.after.compactMap { edit in if case .add(let name, _) = edit { name } else { nil } }
        #expect(added.allSatisfy { $0.version == "2" && $0.standing == .trying(left: 3, done: 0) })
    }

    @Test("where power is cut before the state says that a rollback or an update failed, it is judged the same again")
    func judgedAgain() throws {
        let facts = Scene.facts(Self.both + [Scene.entry(5, "2", .bad(done: 3))])
        let denied = Scene.state { $0.denied = [Scene.denied("2")] }
        let rollback = Scene.state { $0.rollback = PendingRollback(target: "2", from: "1", sequence: 5) }
        let update = Scene.state { $0.pending = Scene.pending(5, boot: "earlier") }
        for before in [rollback, update] {
            let edits = try BootPolicy.edits(from: before, to: denied, facts, product: "box")
            let cut = Scene.result(BootPolicy.Edits(before: edits.before), facts)
            #expect(BootPolicy.rollback(before, cut) == BootPolicy.rollback(before, facts))
            #expect(
                BootPolicy.trial(before, cut, hasFailureReport: false)
                    == BootPolicy.trial(before, facts, hasFailureReport: false))
            #expect(cut.entries.filter { !$0.isBad }.map(\.name.version) == ["1"])
        }
    }

    @Test("where what runs has neither entry nor kernel image, nothing takes the other one away")
    func noWayBack() throws {
        var facts = Scene.facts([Scene.entry(1, "2")])
        facts.kernels = [Scene.kernel("2")]
        let state = Scene.state { _ in }
        let fault = #expect(throws: UpdateAgentFault.self) {
            try BootPolicy.edits(from: state, to: state, facts, product: "box", clearing: true)
        }
        #expect(fault?.code == .storage)
        #expect(try BootPolicy.edits(from: state, to: state, facts, product: "box") == BootPolicy.Edits())
    }

    // MARK: What a boot says

    struct TrialRow: Sendable {
        var running: String
        var boot: String
        var entry: BootEntryName.Standing?
        var hasReport = false
        var outcome: BootPolicy.Trial
    }

    @Test(
        "what a boot says of the version that was to be tried",
        arguments: [
            TrialRow(running: "2", boot: "new", entry: .trying(left: 2, done: 1), outcome: .proving),
            TrialRow(running: "2", boot: "new", entry: .bad(done: 3), outcome: .proving),
            TrialRow(running: "2", boot: "new", entry: nil, outcome: .proving),
            TrialRow(running: "1", boot: "old", entry: .trying(left: 3, done: 0), outcome: .waiting),
            TrialRow(running: "1", boot: "old", entry: nil, outcome: .waiting),
            TrialRow(running: "1", boot: "new", entry: nil, outcome: .interrupted),
            TrialRow(running: "1", boot: "new", entry: .bad(done: 3), outcome: .failed),
            TrialRow(running: "1", boot: "new", entry: .bad(done: 0), outcome: .interrupted),
            TrialRow(running: "1", boot: "new", entry: .good, outcome: .superseded),
            TrialRow(running: "1", boot: "new", entry: .trying(left: 3, done: 0), outcome: .untried),
            TrialRow(running: "1", boot: "new", entry: .trying(left: 2, done: 1), outcome: .untried),
            TrialRow(running: "1", boot: "new", entry: .trying(left: 2, done: 1), hasReport: true, outcome: .failed),
            TrialRow(running: "0", boot: "new", entry: .bad(done: 3), outcome: .failed),
        ])
    func trial(_ row: TrialRow) {
        // What an earlier activation of the same version came to says nothing of this one.
        let entries = [Scene.entry(2, "2", .bad(done: 3))] + (row.entry.map { [Scene.entry(5, "2", $0)] } ?? [])
        let facts = Scene.facts(entries, running: row.running, boot: row.boot)
        let state = Scene.state { $0.pending = Scene.pending(5, boot: "old") }
        #expect(BootPolicy.trial(state, facts, hasFailureReport: row.hasReport) == row.outcome)
        #expect(BootPolicy.trial(AgentState(), facts, hasFailureReport: row.hasReport) == .nothing)
    }

    struct RollbackRow: Sendable {
        var running: String
        var isCounted = false
        var entry: BootEntryName.Standing?
        var hasKernel = true
        /// The boot in which it was last seen to wait; empty where an older agent has ordered it.
        var boot = ""
        /// The last boot in which the agent has asked for a reboot.
        var asked: String?
        var outcome: BootPolicy.Rollback
    }

    @Test(
        "what a boot says of a rollback from 1 to 2",
        arguments: [
            RollbackRow(running: "1", entry: .trying(left: 3, done: 0), outcome: .waiting),
            RollbackRow(running: "1", entry: .good, outcome: .waiting),
            RollbackRow(running: "1", entry: nil, outcome: .waiting),
            RollbackRow(running: "1", entry: nil, hasKernel: false, outcome: .lost),
            RollbackRow(running: "1", entry: .bad(done: 3), outcome: .failed),
            RollbackRow(running: "1", entry: .trying(left: 3, done: 0), boot: "old", outcome: .missed),
            RollbackRow(running: "1", entry: .good, boot: "old", outcome: .missed),
            RollbackRow(running: "1", entry: nil, boot: "old", asked: "old", outcome: .missed),
            RollbackRow(running: "1", entry: nil, boot: "old", asked: "older", outcome: .waiting),
            RollbackRow(running: "1", entry: nil, boot: "old", outcome: .waiting),
            RollbackRow(running: "1", entry: .good, boot: "new", outcome: .waiting),
            RollbackRow(running: "1", entry: nil, hasKernel: false, boot: "old", outcome: .lost),
            RollbackRow(running: "1", entry: .bad(done: 3), boot: "old", outcome: .failed),
            RollbackRow(running: "2", isCounted: true, entry: .trying(left: 2, done: 1), outcome: .onTrial),
            RollbackRow(running: "2", entry: .good, outcome: .over),
            RollbackRow(running: "3", entry: .trying(left: 3, done: 0), outcome: .over),
        ])
    func rollback(_ row: RollbackRow) {
        let entry = row.entry.map { Scene.entry(5, "2", $0) }
        var facts = Scene.facts(
            [entry].compactMap { $0 }, running: row.running, counted: row.isCounted ? entry : nil, boot: "new")
        if !row.hasKernel { facts.kernels = [] }
        let state = Scene.state { state in
            var rollback = PendingRollback(target: "2", from: "1", sequence: 5)
            rollback.bootIdentifier = row.boot
            state.rollback = rollback
            state.askedReboot = row.asked.map { AskedReboot(time: TestRepository.now, bootIdentifier: $0) }
        }
        #expect(BootPolicy.rollback(state, facts) == row.outcome)
        #expect(BootPolicy.rollback(AgentState(), facts) == .nothing)
    }
}
