import Command
import Fault
import Fetching
import FileIO
import Foundation
import JSON
import Synchronization
import SystemPackage
import TestSupport
import Testing
import Trust
import UpdateAgent

/// A host that restarts by itself when an update is ready, under the contract that a test gives it.
@Suite("Restarts")
struct RestartTests {
    private final class Scene: Sendable {
        private let temporary: TemporaryDirectory
        let host: TestHost
        let members: [String: JSONValue]

        init(_ restart: JSONValue = [:]) async throws {
            let directory = try TemporaryDirectory()
            (host, _) = try await UpdateTests.prepare(in: directory.path)
            temporary = directory
            members = ["reboot": "immediate", "restart": restart]
        }

        func agent() throws -> Agent { try host.agent { $0.merge(self.members) { $1 } } }

        func prove() throws -> Agent {
            let agent = try agent()
            try agent.reconcile()
            _ = try agent.recordGood()
            return agent
        }

        var reboots: Int { host.state.withLock { $0.reboots } }
        var units: [String] { host.state.withLock { $0.startedUnits.filter { $0 != "ballast-look.service" } } }
        func fail(_ unit: String, _ problem: String?) { host.state.withLock { $0.unitProblems[unit] = problem } }
        func set(_ time: String) throws {
            let time = try #require(UTCTime(time))
            host.state.withLock { $0.now = time }
        }
    }

    private static let gated: JSONValue = [
        "gates": [
            ["name": "backup", "timeout_seconds": 5, "file": "/run/backup.lock"],
            ["name": "cluster", "timeout_seconds": 5, "unit": "gate-cluster.service"],
        ],
        "drains": [
            [
                "name": "balancer", "timeout_seconds": 60, "unit": "leave.service", "undo": "join.service",
                "undo_command": ["/usr/local/bin/balancer", "join"],
            ],
            ["name": "queue", "timeout_seconds": 60, "unit": "flush.service"],
            ["name": "pods", "timeout_seconds": 60, "unit": "evict.service", "undo": "admit.service"],
        ],
    ]

    @Test(
        "gates are asked in order before anything is fetched and again before the restart; then drains run, and are undone"
    )
    func whole() async throws {
        let scene = try await Scene(Self.gated)
        let lock = scene.host.directory.appending("run/backup.lock")
        try lock.removingLastComponent().makeDirectories()
        try lock.replaceContents(with: "")
        let agent = try scene.agent()
        let early = try agent.update(isOperator: false) { _ in }
        #expect(early.outcome == .nothing && early.bytesFetched == 0)
        #expect(early.detail == "1.1 is not fetched yet: gate 'backup': there is /run/backup.lock")
        #expect(try agent.status().reason == early.detail)
        #expect(scene.units.isEmpty)
        try lock.removeTree()
        scene.fail("gate-cluster.service", "two hosts are down")
        #expect(try agent.update(isOperator: false) { _ in }.outcome == .nothing)
        scene.fail("gate-cluster.service", nil)
        let staged = try agent.update { _ in }
        #expect(staged.outcome == .staged && staged.isRebooting && scene.reboots == 1)
        #expect(
            scene.units == [
                "gate-cluster.service", "gate-cluster.service", "leave.service", "flush.service", "evict.service",
            ])
        #expect(try agent.status().restart.drained == ["balancer", "queue", "pods"])
        #expect(try scene.host.boot() == "1.1")
        // Not before the version is good.
        scene.host.state.withLock { $0.startedUnits = [] }
        let next = try scene.agent()
        try next.reconcile()
        next.tendRestart { _ in }
        #expect(scene.units.isEmpty)
        _ = try next.recordGood()
        next.tendRestart { _ in }
        #expect(scene.units == ["admit.service", "join.service"])
        #expect(try next.status().restart.drained.isEmpty)
        #expect(
            try next.history().map(\.kind.rawValue) == [
                "staged", "drained", "drained", "drained", "restarting", "proved", "undrained", "undrained",
            ])
    }

    @Test("what is held back is tried again, shown, and one event; the update is staged all the same")
    func held() async throws {
        let scene = try await Scene()
        let agent = try scene.agent()
        scene.host.state.withLock { $0.inhibitors = ["rsync, process 7: nightly copy"] }
        let result = try agent.update { _ in }
        #expect(result.outcome == .staged && !result.isRebooting)
        #expect(
            result.detail.hasSuffix(
                "; the restart is held back by inhibitor 'shutdown': rsync, process 7: nightly copy"))
        let status = try agent.status()
        #expect(status.phase.name == "waiting" && status.phase.text.contains("nightly copy"))
        #expect(status.restart.plan == .full(version: "1.1"))
        #expect(status.restart.hold?.text == "inhibitor 'shutdown': rsync, process 7: nightly copy")
        let fault = try #require(throws: UpdateAgentFault.self) { try agent.reboot(force: false) }
        #expect(fault.code == .held && fault.remedy?.contains("--force") == true)
        #expect(try agent.history().map(\.kind) == [.staged, .held])
        #expect(scene.reboots == 0)
        scene.host.state.withLock { $0.inhibitors = [] }
        let lines = Mutex<[String]>([])
        try scene.agent().tendRestart { line in lines.withLock { $0.append(line) } }
        #expect(scene.reboots == 1 && lines.withLock { $0 } == ["rebooting into 1.1"])
    }

    @Test("a drain that does not succeed ends the restart with its name, and what was done before it is undone")
    func stuckDrain() async throws {
        let scene = try await Scene(Self.gated)
        scene.fail("evict.service", "evict.service did not end within 60 s")
        let agent = try scene.agent()
        let result = try agent.update { _ in }
        #expect(!result.isRebooting && scene.reboots == 0)
        #expect(
            result.detail.hasSuffix(
                "; the restart is held back by drain 'pods': evict.service did not end within 60 s"))
        // Also what may have been done in part.
        #expect(
            scene.units == [
                "gate-cluster.service", "leave.service", "flush.service", "evict.service", "admit.service",
                "join.service",
            ])
        #expect(try agent.status().restart.drained.isEmpty)
        let failed = try #require(try agent.history().first { $0.kind == .failed })
        #expect(failed.step == "pods" && failed.detail == "drain 'pods' did not succeed")
        let hold = try #require(try agent.status().restart.hold)
        #expect(hold.kind == .drain && hold.name == "pods" && hold.reason.contains("did not end within 60 s"))
        // The same again is no other event, also where a check has succeeded meanwhile.
        _ = try agent.check()
        #expect(throws: UpdateAgentFault.self) { try agent.reboot(force: false) }
        #expect(try agent.history().count { $0.kind == .failed } == 1)
        scene.host.state.withLock { $0.startedUnits = [] }
        // Not at once: what is drained is not drained and undone again every minute.
        agent.tendRestart { _ in }
        #expect(scene.units.isEmpty)
        // An operator who knows better.
        let forced = try agent.reboot(force: true)
        #expect(forced.isRebooting && scene.reboots == 1 && scene.units.isEmpty)
        #expect(
            forced.detail
                == "rebooting into 1.1; an operator passed over gate 'backup', gate 'cluster', drain 'balancer', drain 'queue', "
                + "drain 'pods'")
        #expect(try agent.history().last?.cause?.hasPrefix("an operator passed over") == true)
    }

    @Test("what was drained is undone on the old version where the new one fails, and after a power cut amid draining")
    func comeBack() async throws {
        let scene = try await Scene(Self.gated)
        #expect(try scene.agent().update { _ in }.isRebooting)
        for _ in 0..<3 {
            #expect(try scene.host.boot() == "1.1")
            _ = try scene.host.failHealth()
        }
        #expect(try scene.host.boot() == "1.0")
        scene.host.state.withLock { $0.startedUnits = [] }
        // Services come up, and the checks have not passed: it serves nobody yet.
        let early = try scene.agent()
        try early.reconcile()
        early.tendRestart { _ in }
        #expect(scene.units.isEmpty)
        // One of the two cannot be undone at once.
        scene.fail("admit.service", "no answer")
        let back = try scene.prove()
        back.tendRestart { _ in }
        #expect(scene.units == ["admit.service", "join.service"])
        // None of them is at it any more when it is undone.
        #expect(scene.host.state.withLock { $0.stoppedUnits } == ["evict.service", "flush.service", "leave.service"])
        #expect(try back.status().restart.drained == ["pods"])
        #expect(try back.status().lastError?.contains("no answer") == true)
        scene.fail("admit.service", nil)
        let again = try scene.prove()
        again.tendRestart { _ in }
        #expect(try again.status().restart.drained.isEmpty)
        #expect(try again.history().filter { $0.kind == .undrained }.map(\.step) == ["balancer", "pods"])
    }

    @Test("what an image has no unit for is undone by its command, and where there is none the history says so")
    func missingUnits() async throws {
        let scene = try await Scene(Self.gated)
        #expect(try scene.agent().update { _ in }.isRebooting)
        #expect(try scene.host.boot() == "1.1")
        scene.host.state.withLock { state in
            state.startedUnits = []
            state.missingUnits = ["join.service", "admit.service"]
        }
        let agent = try scene.prove()
        agent.tendRestart { _ in }
        #expect(scene.units == ["/usr/local/bin/balancer join"])
        #expect(try agent.status().restart.drained.isEmpty)
        let failed = try #require(try agent.history().first { $0.kind == .failed })
        #expect(failed.step == "pods" && failed.cause?.contains("there is no unit admit.service") == true)
        #expect(try agent.history().filter { $0.kind == .undrained }.map(\.step) == ["balancer"])
    }

    @Test("a boot that stays although its checks did not hold at first is undrained when they do")
    func lateHealth() async throws {
        let scene = try await Scene(Self.gated)
        let agent = try scene.prove()
        #expect(try agent.reboot(force: false).isRebooting)
        #expect(try scene.host.boot() == "1.0")
        // Not on trial: it stays.
        #expect(try scene.host.failHealth().hasPrefix("degraded"))
        scene.host.state.withLock { $0.startedUnits = [] }
        let degraded = try scene.agent()
        degraded.tendRestart { _ in }
        #expect(scene.units.isEmpty && scene.host.state.withLock { $0.startedUnits } == ["ballast-look.service"])
        // Its checks hold by now, as ballast-look.service sees.
        let runner = HealthRunner(
            settings: try scene.host.settings(), host: try scene.host.present(), fetcher: DirectFetcher())
        scene.host.state.withLock { state in
            state.onStart = { unit in
                if unit == "ballast-look.service" { _ = try? runner.noteLastAnswer() }
            }
        }
        try scene.agent().tendRestart { _ in }
        #expect(scene.units == ["admit.service", "join.service"])
        scene.host.state.withLock { $0.onStart = { _ in } }
    }

    @Test("what comes up while the host is drained holds the restart back, and the host serves again")
    func lateHold() async throws {
        let scene = try await Scene(Self.gated)
        scene.host.state.withLock { state in
            state.onStart = { unit in
                if unit == "flush.service" { scene.host.state.withLock { $0.inhibitors = ["rsync"] } }
            }
        }
        let agent = try scene.agent()
        let result = try agent.update { _ in }
        #expect(!result.isRebooting && result.detail.hasSuffix("held back by inhibitor 'shutdown': rsync"))
        #expect(scene.units.suffix(3) == ["evict.service", "admit.service", "join.service"])
        scene.host.state.withLock { $0.onStart = { _ in } }
    }

    @Test("a host that cannot see what waits does not restart into it by itself, and does when it can")
    func unseen() async throws {
        let scene = try await Scene()
        #expect(try scene.agent().update { _ in }.isRebooting)
        scene.host.choose("1.0")
        let efi = scene.host.directory.removingLastComponent().appending("efi").string
        try await Command("mv", [efi, efi + ".gone"]).run()
        for _ in 1...2 {
            let agent = try scene.agent()
            #expect(throws: Never.self) { try agent.reconcile() }
            agent.tendRestart { _ in }
        }
        #expect(scene.reboots == 1)
        #expect(try scene.agent().status().lastError?.contains("what boots may not be") == true)
        try await Command("mv", [efi + ".gone", efi]).run()
        let agent = try scene.agent()
        try agent.reconcile()
        agent.tendRestart { _ in }
        #expect(scene.reboots == 2)
    }

    @Test("a check of the repository does not drain again what could not be drained a moment ago")
    func patience() async throws {
        let scene = try await Scene(Self.gated)
        scene.fail("evict.service", "no answer")
        let agent = try scene.agent()
        _ = try agent.update(isOperator: false) { _ in }
        scene.host.state.withLock { $0.startedUnits = [] }
        let again = try agent.update(isOperator: false) { _ in }
        #expect(again.outcome == .nothing && scene.units.isEmpty && scene.reboots == 0)
        // Nor does anything that drained and was held back in the end.
        scene.host.state.withLock { state in
            state.unitProblems = [:]
            state.onStart = { unit in
                if unit == "flush.service" { scene.host.state.withLock { $0.inhibitors = ["rsync"] } }
            }
        }
        #expect(try !agent.update { _ in }.isRebooting)
        scene.host.state.withLock { state in
            (state.startedUnits, state.inhibitors, state.onStart) = ([], [], { _ in })
        }
        agent.tendRestart { _ in }
        #expect(scene.units.isEmpty && scene.reboots == 0)
        // An operator need not wait.
        scene.fail("evict.service", nil)
        #expect(try agent.update { _ in }.isRebooting)
    }

    @Test(
        "restart settings of an operator that are not understood hold restarts back, and an operator can pass over them",
        arguments: [
            "{\"restart\": {\"windows\": [{\"days\": [\"sat\"], \"start\": \"2:30\", \"length_seconds\": 3600}]}}",
            "{\"restart\": {\"time_zone\": \"Mars/Olympus\"}}", "{\"reboot\": \"Manual\"}",
            "{\"restarts\": {\"windows\": []}}", "{\"reboot\": \"manual\",}", "{\"restart\": {\"windows\": []",
            "{\"restart\": 1}",
            "{\"restart\": {\"gates\": [{\"name\": \"a\", \"timeout_seconds\": 5, \"file\": \"/tmp/hold\"}]}}",
            "{\"restart\": {\"drains\": [{\"name\": \"a\", \"timeout_seconds\": 5, \"unit\": \"*.service\"}]}}",
        ])
    func misunderstood(text: String) async throws {
        let scene = try await Scene()
        let overlay = scene.host.directory.appending("etc/ballast/agent.json")
        try overlay.removingLastComponent().makeDirectories()
        try overlay.replaceContents(with: text)
        let agent = try scene.agent()
        let result = try agent.update { _ in }
        #expect(result.outcome == .staged && !result.isRebooting)
        #expect(result.detail.contains("held back by the settings: "), "\(result.detail)")
        #expect(try agent.reboot(force: true).isRebooting)
    }

    @Test("an address with a password that a gate asks is shown without it")
    func gatePassword() async throws {
        let server = try PageServer()
        let address = "http://user:secret@127.0.0.1:\(server.port)/nothing"
        let scene = try await Scene(["gates": [["name": "web", "timeout_seconds": 5, "http": .string(address)]]])
        let agent = try scene.agent()
        let fault = try await #require(throws: UpdateAgentFault.self) {
            try await onOwnThread { try agent.reboot(force: false) }
        }
        #expect(fault.message.contains("gate 'web'") && fault.message.contains("404"))
        #expect(!fault.message.contains("secret"), "\(fault)")
        withExtendedLifetime(server) {}
    }

    @Test("a version that is not wanted any more when the host is drained does not boot, and the host serves again")
    func changedMind() async throws {
        let scene = try await Scene(Self.gated)
        let agent = try scene.agent()
        scene.host.state.withLock { state in
            state.onStart = { unit in
                guard unit == "flush.service" else { return }
                _ = try? agent.deny("1.1", reason: "no")
            }
        }
        let result = try agent.update { _ in }
        #expect(!result.isRebooting && scene.reboots == 0)
        #expect(
            scene.units == [
                "gate-cluster.service", "leave.service", "flush.service", "join.service",
            ])
        #expect(try scene.host.order() == ["1.0", "1.1+0"])
    }

    @Test("an operator is answered while a drain takes its time, and can pass over it")
    func whileDraining() async throws {
        let scene = try await Scene(Self.gated)
        let agent = try scene.agent()
        let answers = Mutex<[String]>([])
        scene.host.state.withLock { state in
            state.onStart = { unit in
                guard unit == "flush.service" else { return }
                let status = try? agent.status().restart.doing
                let busy = #expect(throws: UpdateAgentFault.self) { try agent.reboot(force: false) }
                // Another process of the agent neither drains nor undoes it meanwhile.
                let other = try? scene.agent()
                let otherBusy = #expect(throws: UpdateAgentFault.self) { try other?.reboot(force: false) }
                #expect(otherBusy?.code == .busy)
                other?.tendRestart { _ in }
                let forced = try? agent.reboot(force: true)
                answers.withLock {
                    $0 = [status ?? "?", busy?.message ?? "?", forced?.isRebooting == true ? "rebooting" : "?"]
                }
            }
        }
        _ = try agent.update { _ in }
        #expect(
            answers.withLock { $0 } == [
                "drain 'queue'", "a restart is being got ready for: drain 'queue'", "rebooting",
            ])
        #expect(scene.reboots == 1)
        #expect(scene.units == ["gate-cluster.service", "leave.service", "flush.service"])
    }

    @Test(
        "the seconds without service are those between the last time and the first that all checks hold, over all boots in between"
    )
    func outage() async throws {
        let scene = try await Scene()
        func runner() throws -> HealthRunner {
            HealthRunner(settings: try scene.host.settings(), host: try scene.host.present(), fetcher: DirectFetcher())
        }
        _ = try scene.agent().update { _ in }
        #expect(scene.host.state.withLock { $0.startedUnits } == ["ballast-look.service"])
        try scene.set("2030-01-01T00:00:00Z")
        #expect(try runner().noteLastAnswer() == "all health checks hold before the restart")
        // The boot of the restart never comes to its checks; the next one does.
        #expect(try scene.host.boot() == "1.1")
        try scene.set("2030-01-01T00:00:20Z")
        #expect(try scene.host.boot() == "1.1")
        try scene.set("2030-01-01T00:00:47Z")
        try runner().noteFirstAnswer()
        try runner().noteFirstAnswer()
        let served = try scene.agent().history().filter { $0.kind == .served }
        #expect(served.map(\.seconds) == [47] && served.map(\.version) == ["1.1"])
        // A restart that comes later without a word has no such figure.
        try scene.set("2030-01-02T00:00:00Z")
        _ = try scene.prove()
        #expect(try scene.host.boot() == "1.1")
        try runner().noteFirstAnswer()
        #expect(try scene.agent().history().count { $0.kind == .served } == 1)
    }

    @Test("the agent starts anew when the operator's settings have changed, once")
    func settings() async throws {
        let scene = try await Scene()
        let agent = try scene.agent()
        agent.tendRestart { _ in }
        #expect(scene.host.state.withLock { $0.agentRestarts } == 0)
        #expect(try agent.status().restart.plan == .none)
        let overlay = scene.host.directory.appending("etc/ballast/agent.json")
        try overlay.removingLastComponent().makeDirectories()
        try overlay.replaceContents(with: "{\"reboot\": \"manual\"}")
        #expect(try agent.status().restart.plan == .units(["ballastd.service"]))
        agent.tendRestart { _ in }
        agent.tendRestart { _ in }
        #expect(scene.host.state.withLock { $0.agentRestarts } == 1)
        let event = try #require(try agent.history().last)
        #expect(event.kind == .restarting && event.restart == "units" && event.cause == "its settings have changed")
        #expect(try scene.agent().status().restart.plan == .none)
    }

    // MARK: Windows

    private static func window(_ days: [String], _ start: String, hours: Int64) -> JSONValue {
        [
            "days": .array(days.map { .string($0) }), "start": .string(start),
            "length_seconds": .integer(hours * 3600),
        ]
    }

    @Test("outside its window a host neither restarts nor, a day before, fetches; an operator can")
    func window() async throws {
        let scene = try await Scene([
            "windows": [Self.window(["sat"], "02:00", hours: 2)], "time_zone": "America/New_York",
        ])
        // A Wednesday.
        try scene.set("2027-01-20T12:00:00Z")
        let agent = try scene.agent()
        let early = try agent.update(isOperator: false) { _ in }
        #expect(early.detail == "1.1 is not fetched yet: the restart window: it opens at 2027-01-23T07:00:00Z")
        try scene.set("2027-01-22T12:00:00Z")
        let staged = try agent.update(isOperator: false) { _ in }
        #expect(staged.outcome == .staged && !staged.isRebooting)
        #expect(staged.detail.contains("held back by the restart window: it opens at 2027-01-23T07:00:00Z"))
        try scene.set("2027-01-23T06:59:59Z")
        try scene.agent().tendRestart { _ in }
        #expect(scene.reboots == 0)
        try scene.set("2027-01-23T07:00:00Z")
        try scene.agent().tendRestart { _ in }
        #expect(scene.reboots == 1)
        try scene.set("2027-01-23T09:00:00Z")
        let late = try scene.agent()
        #expect(throws: UpdateAgentFault.self) { try late.reboot(force: false) }
        #expect(try late.reboot(force: true).isRebooting)
    }

    /// Python's zoneinfo, another reader of the same zones, says for each time of day when it is.
    @Test(
        "a window begins when Python says that the clock on the wall shows its time",
        arguments: [
            "UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "Pacific/Apia",
            "Africa/Casablanca", "America/St_Johns", "Pacific/Chatham",
        ])
    func zones(_ zone: String) async throws {
        let script = """
            import sys, datetime, zoneinfo
            zone = zoneinfo.ZoneInfo(sys.argv[1])
            for day in (datetime.date(2027, 1, 1) + datetime.timedelta(n) for n in range(365)):
                for hour, minute in ((0, 30), (2, 30), (13, 45)):
                    local = datetime.datetime(day.year, day.month, day.day, hour, minute, tzinfo=zone)
                    begins = int(local.timestamp())
                    back = datetime.datetime.fromtimestamp(begins, zone)
                    exists = (back.hour, back.minute) == (hour, minute)
                    other = int(local.replace(fold=1).timestamp())
                    later = int((local + datetime.timedelta(hours=1)).timestamp())
                    print(day, hour * 60 + minute, begins if exists else "-", other, later)
            """
        let outcome = try await Command("python3", ["-c", script, zone]).run()
        var expected: [String: (Int64?, Int64, Int64)] = [:]
        for line in outcome.outputText.split(separator: "\n") {
            let words = line.split(separator: " ")
            expected["\(words[0]) \(words[1])"] = (
                Int64(words[2]), Int64(words[3]) ?? 0, Int64(words[4]) ?? 0
            )
        }
        try #require(expected.count == 365 * 3)
        let days = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"]
        for (start, minutes) in [("00:30", 30), ("02:30", 150), ("13:45", 825)] {
            let scene = try await Scene([
                "windows": [
                    [
                        "days": .array(days.map { .string($0) }), "start": .string(start), "length_seconds": 60,
                    ]
                ],
                "time_zone": .string(zone),
            ])
            let agent = try scene.agent()
            // Each tenth day, and all around the changes of the clock.
            for (key, value) in expected where key.hasSuffix(" \(minutes)") {
                let day = try #require(Int(key.dropFirst(8).prefix(2)))
                guard day % 10 == 0 || value.0 == nil || value.0 != value.1 else { continue }
                // A time that its clock does not show begins an hour later.
                let begins = value.0 ?? value.2
                scene.host.state.withLock { $0.now = UTCTime(seconds: begins - 1) }
                let fault = #expect(throws: UpdateAgentFault.self) { try agent.reboot(force: false) }
                let next = (value.0 == nil ? [begins] : [begins, value.1]).map { UTCTime(seconds: $0).description }
                #expect(
                    next.contains { fault?.message.hasSuffix("it opens at \($0)") == true }, "\(key): \(fault as Any)")
            }
        }
    }
}
