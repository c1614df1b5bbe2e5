import BootLoader
import Command
import Fault
import Fetching
import FileIO
import Glibc
import JSON
import Release
import Synchronization
import SystemPackage
import TestSupport
import Testing
import Trust
import UpdateAgent

/// What becomes of a version on probation in boots that the loader does not count any more.
@Suite("A version on probation")
struct ProbationTests {
    static let sick = FairVerdictTests.sick
    static let well = FairVerdictTests.well
    static let outside = FairVerdictTests.outside
    private let verdicts = FairVerdictTests()

    /// What ballast-health.service does; nil where the boot goes on.
    private func check(_ host: TestHost, _ checks: [JSONValue]) throws -> String? {
        let agent = try verdicts.agent(host, checks)
        if let left = try agent.beginBoot() { return left }
        let settings = try host.settings { $0["health"] = .array(checks) }
        let runner = HealthRunner(settings: settings, host: try host.present(), fetcher: DirectFetcher())
        let report = runner.run { _ in }
        guard !report.hasPassed else { return nil }
        return try agent.endProbation(report, runner) ?? runner.handleFailure(report)
    }

    @Test(
        "that does not pass its checks in its second boot is gone back from, and denied for it, by whoever says so first"
    )
    func secondBoot() async throws {
        let directory = try TemporaryDirectory()
        let host = try await verdicts.onProbation(directory.path)
        #expect(try host.boot() == "1.1")
        #expect(try check(host, [Self.sick])?.hasPrefix("back to 1.0: health check 'sick'") == true)
        #expect(try check(host, [Self.sick]) == "back to 1.0 already")
        #expect(host.state.withLock { $0.reboots } == 1)
        #expect(try host.boot() == "1.0")
        let agent = try host.prove()
        #expect(try agent.status().denied.map(\.kind) == [.probation])
        #expect(try !agent.history().contains { $0.kind == .unhealthy })
    }

    @Test("stays in boots whose checks could not judge, however many they are")
    func environment() async throws {
        let directory = try TemporaryDirectory()
        let host = try await verdicts.onProbation(directory.path)
        for _ in 1...5 {
            #expect(try host.boot() == "1.1")
            #expect(try check(host, [Self.outside])?.hasPrefix("degraded") == true)
            // boot-complete.target fails by that, and ballast-failed.service has its say too.
            let agent = try verdicts.agent(host, [Self.outside])
            let present = try host.present()
            let runner = HealthRunner(settings: try host.settings(), host: present, fetcher: DirectFetcher())
            #expect(try agent.endProbation(HealthReport.incomplete(present, "a unit has failed"), runner) == nil)
        }
        #expect(try host.boot() == "1.1")
        #expect(try check(host, [Self.well]) == nil)
        #expect(try verdicts.watch(host, [Self.well], seconds: 1).said == "1.1 is through its probation")
        #expect(host.state.withLock { $0.reboots } == 0)
    }

    @Test("that hangs before it is watched is counted from its health checks on")
    func hangs() async throws {
        let directory = try TemporaryDirectory()
        let host = try await verdicts.onProbation(directory.path)
        for _ in 1...2 {
            #expect(try host.boot() == "1.1")
            #expect(try check(host, [Self.well]) == nil)
        }
        #expect(try host.boot() == "1.1")
        #expect(try check(host, [Self.well]) == "back to 1.0: 3 boots ended in its probation without a word")
        #expect(try host.boot() == "1.0")
    }

    @Test("begins anew after a boot that ended without a word, and goes on after an orderly one")
    func anew() async throws {
        let directory = try TemporaryDirectory()
        let host = try await verdicts.onProbation(directory.path)
        let path = host.directory.appending("var/lib/ballast/state.json")
        func seconds(_ new: Int64? = nil) throws -> JSONValue? {
            guard case .object(var members) = try JSONValue(parsing: path.text(), source: "state.json"),
                case .object(var probation)? = members["probation"]
            else { return nil }
            if let new {
                probation["seconds"] = .integer(new)
                members["probation"] = .object(probation)
                try path.replaceContents(with: JSONValue.object(members).text())
            }
            return probation["seconds"]
        }
        _ = try seconds(599)
        try verdicts.agent(host, [Self.well]).interruptProbation()
        #expect(try host.boot() == "1.1")
        #expect(try check(host, [Self.well]) == nil)
        #expect(try seconds() == 599)
        #expect(try host.boot() == "1.1")
        #expect(try check(host, [Self.well]) == nil)
        #expect(try seconds() == 0)
    }

    @Test("that passes its checks and hangs later, each time, is tried three times in all, and was never good")
    func neverLasts() async throws {
        let directory = try TemporaryDirectory()
        let host = try await verdicts.onProbation(directory.path)
        for round in 1...3 {
            _ = try verdicts.agent(host, [Self.well]).recordGood()
            for _ in 1...2 {
                #expect(try host.boot() == "1.1")
                #expect(try check(host, [Self.well]) == nil)
                _ = try verdicts.agent(host, [Self.well]).recordGood()
            }
            #expect(try host.boot() == "1.1")
            #expect(try check(host, [Self.well])?.hasPrefix("back to 1.0: 3 boots") == true)
            #expect(try host.boot() == "1.0")
            let agent = try host.prove()
            let status = try agent.status()
            #expect(status.setbacks.map(\.count) == (round < 3 ? [round] : []))
            #expect(status.denied.map(\.kind) == (round < 3 ? [] : [.unfinished]))
            #expect(status.other?.standing != .good)
            if round == 1 {
                let fault = #expect(throws: UpdateAgentFault.self) { try agent.rollback(reboot: false, force: false) }
                #expect(fault?.message.contains("1.1, which has not proved itself here") == true, "\(fault as Any)")
            }
            guard round < 3 else { break }
            verdicts.advance(host, seconds: 86400)
            #expect(try agent.update(isOperator: false) { _ in }.outcome == .activated)
            #expect(try host.boot() == "1.1")
        }
        verdicts.advance(host, seconds: 10_000_000)
        #expect(try host.agent().update(isOperator: false) { _ in }.outcome == .nothing)
    }

    @Test("is not judged while the host is drained")
    func drained() async throws {
        let directory = try TemporaryDirectory()
        let host = try await verdicts.onProbation(directory.path)
        let service = directory.path.appending("service")
        let isThere: JSONValue = [
            "name": "service", "timeout_seconds": 1, "command": ["/usr/bin/test", "-e", .string(service.string)],
        ]
        let agent = try verdicts.agent(host, [isThere], seconds: 2)
        let settings = try host.settings { $0["health"] = .array([isThere]) }
        let runner = HealthRunner(settings: settings, host: try host.present(), fetcher: DirectFetcher())
        let path = host.directory.appending("var/lib/ballast/restart.lock")
        let lock = Mutex<FileLock?>(nil)
        let rounds = Mutex(0)
        let said = try agent.watchProbation(runner, note: { _ in }) { _ throws(UpdateAgentFault) in
            let round = rounds.withLock { count in
                count += 1
                return count
            }
            do {
                // A drain begins in the midst of the first look, and is undone in the midst of the second one.
                if round == 1 { try lock.withLock { $0 = try FileLock.waiting(for: path) } }
                if round == 2 {
                    try service.replaceContents(with: "")
                    lock.withLock { $0 = nil }
                }
            } catch {
                throw UpdateAgentFault(.system, "\(error)")
            }
        }
        #expect(said == "1.1 is through its probation")
        #expect(rounds.withLock { $0 } > 2)
        #expect(host.state.withLock { $0.reboots } == 0)
    }

    @Test("is judged although a drain cannot be undone, which may be for what runs")
    func stuckDrain() async throws {
        let directory = try TemporaryDirectory()
        let (host, _) = try await UpdateTests.prepare(in: directory.path)
        func agent() throws -> Agent {
            try host.agent { members in
                members["probation_seconds"] = 600
                members["health"] = [Self.sick]
                members["reboot"] = "immediate"
                members["restart"] = [
                    "drains": [
                        ["name": "balancer", "timeout_seconds": 60, "unit": "leave.service", "undo": "join.service"]
                    ]
                ]
            }
        }
        #expect(try agent().update { _ in }.isRebooting)
        #expect(try host.boot() == "1.1")
        host.state.withLock { $0.unitProblems["join.service"] = "no answer" }
        _ = try agent().recordGood()
        try agent().tendRestart { _ in }
        #expect(try agent().status().restart.drained == ["balancer"])
        #expect(try verdicts.watch(host, [Self.sick]).said.hasPrefix("back to 1.0: health check 'sick'"))
        #expect(host.state.withLock { $0.reboots } == 2)
        #expect(try host.boot() == "1.0")
    }

    // MARK: The way back

    @Test("a boot partition that cannot be written costs one reboot, and the way back is taken when it can be")
    func readOnlyBootPartition() async throws {
        let directory = try TemporaryDirectory()
        let host = try await verdicts.onProbation(directory.path)
        let place = directory.path.appending("efi").string
        try await Command("mount", ["--bind", place, place]).run()
        var failure: (any Error)?
        do {
            try await Command("mount", ["-o", "remount,bind,ro", place]).run()
            let fault = #expect(throws: UpdateAgentFault.self) { try verdicts.watch(host, [Self.sick]) }
            #expect(fault?.description.contains("Read-only file system") == true, "\(fault as Any)")
            #expect(try host.agent().status().lastError?.contains("Read-only file system") == true)
            // A reboot may heal what errors have made read-only, and none more may where it did not.
            for boot in 1...3 {
                for _ in 1...2 {
                    let agent = try host.agent()
                    try? agent.reconcile()
                    agent.tendRestart { _ in }
                }
                #expect(host.state.withLock { $0.reboots } == 1, "boot \(boot)")
                #expect(try host.boot() == "1.1")
            }
            #expect(try host.order() == ["1.1", "1.0"])
        } catch { failure = error }
        try await Command("umount", ["-l", place]).run()
        if let failure { throw failure }
        let agent = try host.agent()
        try agent.reconcile()
        #expect(try host.order() == ["1.0+3", "1.1", "1.0"])
        agent.tendRestart { _ in }
        #expect(host.state.withLock { $0.reboots } == 2)
        #expect(try host.boot() == "1.0")
        #expect(try host.prove().status().denied.map(\.kind) == [.probation])
    }

    @Test("power that is cut before the way back has its entry: the host goes back all the same")
    func cutBeforeEntry() async throws {
        let directory = try TemporaryDirectory()
        let host = try await verdicts.onProbation(directory.path)
        host.state.withLock { $0.isStuck = true }
        #expect(throws: UpdateAgentFault.self) { try verdicts.watch(host, [Self.sick]) }
        host.state.withLock { $0.isStuck = false }
        #expect(try host.order() == ["1.0+3", "1.1", "1.0"])
        try host.removeFirstEntry()
        #expect(try host.boot() == "1.1")
        let agent = try host.agent()
        try agent.reconcile()
        #expect(try host.order() == ["1.0+3", "1.1", "1.0"])
        agent.tendRestart { _ in }
        #expect(host.state.withLock { $0.reboots } == 1)
        #expect(try host.boot() == "1.0")
        #expect(try host.prove().status().denied.map(\.version) == ["1.1"])
    }

    @Test("a loader that does not take the way back does not make the host reboot for ever")
    func menu() async throws {
        let directory = try TemporaryDirectory()
        let host = try await verdicts.onProbation(directory.path)
        #expect(try verdicts.watch(host, [Self.sick]).said.hasPrefix("back to 1.0") == true)
        for boot in 1...3 {
            host.choose("1.1")
            let agent = try host.agent()
            // A boot that nobody could count is not left by itself.
            let before = host.state.withLock { $0.reboots }
            agent.tendRestart { _ in }
            #expect(host.state.withLock { $0.reboots } == before)
            try agent.reconcile()
            agent.tendRestart { _ in }
            #expect(host.state.withLock { $0.reboots } == (boot < 3 ? boot + 1 : 3), "boot \(boot)")
        }
        let status = try host.agent().status()
        #expect(status.denied.map(\.version) == ["1.0"] && status.denied.map(\.kind) == [.notStarted])
        #expect(try host.agent().history().last?.kind == .rollbackFailed)
    }

    @Test("a host that can keep nothing still reboots when that is forced")
    func unwritable() async throws {
        let directory = try TemporaryDirectory()
        let host = try await verdicts.onProbation(directory.path)
        let lock = host.directory.appending("var/lib/ballast/state.lock")
        try lock.removeTree()
        try lock.makeDirectories()
        let agent = try host.agent()
        let fault = #expect(throws: UpdateAgentFault.self) { try agent.reboot(force: false) }
        #expect(fault?.code == .state && host.state.withLock { $0.reboots } == 0)
        #expect(try agent.reboot(force: true).isRebooting)
        #expect(host.state.withLock { $0.reboots } == 1)
    }

    /// Does `body` with a file system of `size` bytes where the agent keeps its state.
    private func onDisk(_ size: String, in directory: FilePath, _ body: (FilePath) async throws -> Void) async throws {
        let place = directory.appending("root/var/lib/ballast")
        try place.makeDirectories()
        try await Command("mount", ["-t", "tmpfs", "-o", "size=\(size)", "tmpfs", place.string]).run()
        var failure: (any Error)?
        do { try await body(place) } catch { failure = error }
        try await Command("umount", ["-l", place.string]).run()
        if let failure { throw failure }
    }

    /// Writes as much as there is room for.
    private func fill(_ path: FilePath) throws {
        let file = try OpenFile(path, .writeOnly, options: .create)
        let chunk = [UInt8](repeating: 1, count: 4096)
        while (try? file.append(chunk)) != nil {}
    }

    @Test("a version that has filled the disk is gone back from, by the room that is kept for that")
    func fullDisk() async throws {
        let directory = try TemporaryDirectory()
        try await onDisk("24m", in: directory.path) { place in
            let host = try await verdicts.onProbation(directory.path)
            let reserve = place.appending("reserve")
            #expect(try OpenFile(reading: reserve).status().size == 1 << 20)
            try fill(place.appending("log"))
            // It is not for what is only noted.
            _ = try? host.agent().check()
            #expect(reserve.exists)
            #expect(try verdicts.watch(host, [Self.sick]).said.hasPrefix("back to 1.0: health check 'sick'"))
            #expect(!reserve.exists && host.state.withLock { $0.reboots } == 1)
            try place.appending("log").removeTree()
            #expect(try host.boot() == "1.0")
            #expect(try host.prove().status().denied.map(\.kind) == [.probation])
            #expect(reserve.exists)
        }
    }

    @Test("what kills and power cuts have left of unfinished files is removed, and what others are at is not")
    func leftovers() async throws {
        let directory = try TemporaryDirectory()
        let (host, _) = try await UpdateTests.prepare(in: directory.path)
        let place = host.directory.appending("var/lib/ballast")
        try place.appending("health").makeDirectories()
        let gone = ["health/.1.1.json.2147483647-17", ".state.json.2147483646-4294967295"]
        let kept = [".state.json.\(getpid())-1", ".state.json", ".note.1-x", "state.json.2147483647-1"]
        for name in gone + kept { try place.pushing(FilePath(name)).replaceContents(with: "half") }
        try host.agent().reconcile()
        #expect(gone.filter { place.pushing(FilePath($0)).exists } == [])
        #expect(kept.filter { place.pushing(FilePath($0)).exists } == kept)
    }

    @Test("silent boots count together, whatever comes in between, and those that blame the environment do not")
    func silence() async throws {
        let directory = try TemporaryDirectory()
        let (host, _) = try await UpdateTests.prepare(in: directory.path)
        for (round, checks) in [[], [Self.outside], [], [Self.outside], []].enumerated() {
            #expect(try host.agent().update(isOperator: false) { _ in }.version == "1.1", "round \(round)")
            let status = try verdicts.failTrial(host, checks).status()
            #expect(status.denied.map(\.kind) == (round < 4 ? [] : [.unfinished]), "round \(round)")
            #expect(status.setbacks.map(\.count) == (round < 4 ? [round + 1] : []), "round \(round)")
            verdicts.advance(host, seconds: 86400)
        }
    }

    // MARK: What is recorded

    @Test("what fails again and again is one event until it succeeds, also where other tasks succeed in between")
    func failing() async throws {
        let directory = try TemporaryDirectory()
        let (host, _) = try await UpdateTests.prepare(in: directory.path)
        func fail(_ text: String) throws {
            host.source.faults.withLock { faults in
                faults.cutAfter = 0
                faults.refusal = text.isEmpty ? nil : UpdateAgentFault(.transfer, text)
            }
            #expect(throws: UpdateAgentFault.self) { try host.agent().update(isOperator: true) { _ in } }
        }
        func failures() throws -> Int { try host.agent().history().count { $0.kind == .failed } }
        // The repository answers each time, and the image cannot be fetched.
        for _ in 1...5 { try fail("") }
        #expect(try failures() == 1)
        // Now it does not answer: that is news, and its words change once an hour at most.
        for turn in 0..<6 { try fail(turn.isMultiple(of: 2) ? "one" : "two") }
        #expect(try failures() == 2)
        verdicts.advance(host, seconds: 3600)
        for turn in 0..<6 { try fail(turn.isMultiple(of: 2) ? "three" : "four") }
        #expect(try failures() == 3)
        host.source.faults.withLock { faults in (faults.refusal, faults.cutAfter) = (nil, nil) }
        #expect(try host.agent().update { _ in }.outcome == .staged)
        #expect(try host.agent().history().last?.kind == .staged)
    }

    @Test("the kernel image goes on where its transfer ended")
    func kernel() async throws {
        let directory = try TemporaryDirectory()
        let (host, repository) = try await UpdateTests.prepare(in: directory.path, publishing: [UpdateTests.old.get()])
        let release = try await repository.publish(UpdateTests.new.get())
        let total = Int(release.image.index.size + release.image.frames.size + release.kernel.size)
        host.source.faults.withLock { $0.cutAfter = total - 50_000 }
        #expect(throws: UpdateAgentFault.self) { try host.agent().update { _ in } }
        let first = host.source.delivered.withLock { $0 }
        #expect(first > total - 70_000 && first <= total - 50_000)
        host.source.faults.withLock { $0.cutAfter = nil }
        #expect(try host.agent().update { _ in }.outcome == .activated)
        #expect(host.source.delivered.withLock { $0 } == total)
        let left = try host.directory.appending("var/lib/ballast").directoryEntries()
        #expect(left.filter { $0.hasSuffix(".kernel") } == [])
    }

    @Test("what has come of a kernel image and is not what the release names is fetched anew")
    func damagedKernel() async throws {
        let directory = try TemporaryDirectory()
        let (host, repository) = try await UpdateTests.prepare(in: directory.path, publishing: [UpdateTests.old.get()])
        let release = try await repository.publish(UpdateTests.new.get())
        let place = host.directory.appending("var/lib/ballast")
        try place.makeDirectories()
        let path = place.appending("\(release.kernel.digest).kernel")
        let other = place.appending("\(release.image.index.digest).kernel")
        for size in [Int(release.kernel.size), Int(release.kernel.size) + 1, 50_000, 0] {
            try path.replaceContents(with: [UInt8](repeating: 7, count: size))
            try other.replaceContents(with: "another one's")
            #expect(try host.agent().update { _ in }.version == "1.1")
            #expect(!path.exists && !other.exists)
            _ = try host.agent().deny("1.1", reason: nil)
            _ = try host.agent().allow("1.1")
            let kernel = try UpdateTests.new.get().kernelName
            try directory.path.appending("efi").pushing(FilePath(kernel.description)).removeTree()
        }
    }

    @Test("a kernel image for which the agent has no room goes straight to the boot partition")
    func straightKernel() async throws {
        let directory = try TemporaryDirectory()
        try await onDisk("3m", in: directory.path) { place in
            let (host, repository) = try await UpdateTests.prepare(
                in: directory.path, publishing: [UpdateTests.old.get()])
            let release = try await repository.publish(UpdateTests.new.get())
            let total = Int(release.image.index.size + release.image.frames.size + release.kernel.size)
            host.source.faults.withLock { $0.cutAfter = total - 50_000 }
            #expect(throws: UpdateAgentFault.self) { try host.agent().update { _ in } }
            #expect(try place.directoryEntries().filter { $0.hasSuffix(".kernel") } == [])
            host.source.faults.withLock { $0.cutAfter = nil }
            #expect(try host.agent().update { _ in }.outcome == .activated)
            #expect(try host.boot() == "1.1")
        }
    }

    @Test("settings that change while the host fetches by itself count at once, and an operator's update is let end")
    func newSettings() async throws {
        let directory = try TemporaryDirectory()
        let (host, _) = try await UpdateTests.prepare(in: directory.path)
        let overlay = host.directory.appending("etc/ballast/agent.json")
        try overlay.removingLastComponent().makeDirectories()
        let rounds = Mutex(0)
        host.source.faults.withLock { faults in
            faults.onPiece = {
                let round = rounds.withLock { count in
                    count += 1
                    return count
                }
                if round == 3 { try? overlay.replaceContents(with: "{\"transfer\": {}}") }
            }
        }
        let agent = try host.agent()
        let fault = #expect(throws: UpdateAgentFault.self) { try agent.update(isOperator: false) { _ in } }
        #expect(fault?.message == "the agent's settings have changed")
        #expect(try !agent.history().contains { $0.kind == .failed })
        agent.tendRestart { _ in }
        #expect(host.state.withLock { $0.agentRestarts } == 1)
        #expect(try agent.history().last?.kind == .restarting)
        rounds.withLock { $0 = 0 }
        try overlay.removeTree()
        let next = try host.agent()
        #expect(try next.update { _ in }.version == "1.1")
        #expect(rounds.withLock { $0 } > 3 && overlay.exists)
    }

    @Test("a member of the operator's settings that this agent does not know keeps no update from being fetched")
    func foreignSetting() async throws {
        let directory = try TemporaryDirectory()
        let (host, _) = try await UpdateTests.prepare(in: directory.path)
        let overlay = host.directory.appending("etc/ballast/agent.json")
        try overlay.removingLastComponent().makeDirectories()
        for text in ["{\"lock\": {\"etcd\": 1}}", "{\"restart\": {\"lock\": 1}}"] {
            try overlay.replaceContents(with: text)
            let agent = try host.agent { $0["reboot"] = "immediate" }
            let result = try agent.update(isOperator: false) { _ in }
            #expect(result.version == "1.1" && !result.isRebooting)
            agent.tendRestart { _ in }
            #expect(host.state.withLock { $0.reboots } == 0)
            #expect(try agent.status().restart.hold?.kind == .settings)
            _ = try agent.deny("1.1", reason: nil)
            _ = try agent.allow("1.1")
        }
        // What it knows and cannot use could be a window that is misspelt.
        try overlay.replaceContents(with: "{\"restart\": {\"windows\": 1}}")
        let agent = try host.agent { $0["reboot"] = "immediate" }
        let result = try agent.update(isOperator: false) { _ in }
        #expect(result.outcome == .nothing && result.detail.hasPrefix("1.1 is not fetched yet: the settings"))
    }
}
