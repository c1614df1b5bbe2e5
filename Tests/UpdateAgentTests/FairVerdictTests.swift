import Fault
import Fetching
import FileIO
import JSON
import Publishing
import Release
import Synchronization
import SystemPackage
import TestSupport
import Testing
import Trust
import UpdateAgent

/// What a version is denied for, and what not.
@Suite("A fair verdict")
struct FairVerdictTests {
    static let sick: JSONValue = ["name": "sick", "timeout_seconds": 1, "command": ["/bin/false"]]
    static let outside: JSONValue = [
        "name": "outside", "timeout_seconds": 1, "command": ["/bin/false"], "blame": "environment",
    ]
    static let undecided: JSONValue = [
        "name": "undecided", "timeout_seconds": 3, "command": ["/bin/sh", "-c", "exit 75"],
    ]
    static let well: JSONValue = ["name": "well", "timeout_seconds": 1, "command": ["/bin/true"]]

    func advance(_ host: TestHost, seconds: Int64) {
        host.state.withLock { $0.now = $0.now.adding(seconds: seconds) }
    }

    /// Three boots of 1.1, in each of which `checks` are run, and one of what was before.
    func failTrial(_ host: TestHost, _ checks: [JSONValue]) throws -> Agent {
        while try host.boot() == "1.1" {
            guard !checks.isEmpty else { continue }
            let settings = try host.settings { $0["health"] = .array(checks) }
            let runner = HealthRunner(settings: settings, host: try host.present(), fetcher: DirectFetcher())
            _ = try runner.handleFailure(runner.run { _ in })
        }
        let agent = try host.agent()
        try agent.reconcile()
        return agent
    }

    @Test(
        "boots that end without a word are tried again, each time after a longer pause, and mean something the third time"
    )
    func unfinished() async throws {
        let directory = try TemporaryDirectory()
        let (host, _) = try await UpdateTests.prepare(in: directory.path)
        for (round, pause) in [(1, Int64(3600)), (2, 4 * 3600)] {
            #expect(try host.agent().update(isOperator: false) { _ in }.version == "1.1")
            let agent = try failTrial(host, [])
            let status = try agent.status()
            #expect(status.denied.isEmpty)
            let setback = try #require(status.setbacks.first)
            #expect(setback.kind == .unfinished && setback.count == round)
            let now = host.state.withLock { $0.now }
            #expect(setback.retryTime == now.adding(seconds: pause))
            let result = try agent.update(isOperator: false) { _ in }
            #expect(result.outcome == .nothing)
            #expect(result.detail.hasPrefix("1.1 is tried again at \(setback.retryTime): it did not reach"))
            try FaultCatalogue.note(
                .version, "its boots end without a word, round \(round)", says: result.detail,
                then: "not denied; tried again after \(pause / 3600) h")
            advance(host, seconds: pause - 1)
            #expect(try agent.update(isOperator: false) { _ in }.outcome == .nothing)
            advance(host, seconds: 1)
        }
        #expect(try host.agent().update(isOperator: false) { _ in }.outcome == .activated)
        let agent = try failTrial(host, [])
        let denial = try #require(try agent.status().denied.first)
        #expect(denial.kind == .unfinished)
        #expect(denial.cause == "it did not reach its health checks: panic, hang or power loss, 3 times so far")
        try FaultCatalogue.note(
            .version, "its boots end without a word, round 3", says: denial.cause, then: "denied")
        #expect(try agent.status().setbacks.isEmpty)
        #expect(try agent.history().filter { $0.kind == .rolledBack }.allSatisfy { $0.failure == .unfinished })
        advance(host, seconds: 1_000_000)
        #expect(try agent.update { _ in }.outcome == .nothing)
    }

    @Test("an operator need not wait, and a version that proves itself after all has no setback any more")
    func operators() async throws {
        let directory = try TemporaryDirectory()
        let (host, _) = try await UpdateTests.prepare(in: directory.path)
        _ = try host.agent().update { _ in }
        #expect(try failTrial(host, []).update { _ in }.outcome == .activated)
        #expect(try host.boot() == "1.1")
        #expect(try host.prove().status().setbacks.isEmpty)
    }

    @Test("no older version is taken while the newest one waits to be tried again")
    func noOlder() async throws {
        let directory = try TemporaryDirectory()
        let (host, repository) = try await UpdateTests.prepare(in: directory.path)
        _ = try host.agent().update { _ in }
        let agent = try failTrial(host, [])
        try await repository.publish(try TestImage(version: "1.0.5", blocks: 32))
        #expect(try agent.update(isOperator: false) { _ in }.outcome == .nothing)
        try await repository.publish(try UpdateTests.newest.get())
        #expect(try agent.update(isOperator: false) { _ in }.version == "1.2")
    }

    @Test(
        "checks that blame the environment, or could not judge, deny nothing, however often",
        arguments: [outside, undecided])
    func environment(check: JSONValue) async throws {
        let directory = try TemporaryDirectory()
        let (host, _) = try await UpdateTests.prepare(in: directory.path)
        for round in 1...4 {
            #expect(try host.agent().update(isOperator: false) { _ in }.version == "1.1")
            let status = try failTrial(host, [check, Self.well]).status()
            #expect(status.denied.isEmpty)
            #expect(status.setbacks.map(\.kind) == [.environment] && status.setbacks.map(\.count) == [round])
            guard round == 1 else {
                advance(host, seconds: 86400)
                continue
            }
            try FaultCatalogue.note(
                .version,
                check == Self.outside
                    ? "a check fails that blames the environment" : "a check could not judge (status 75)",
                says: status.setbacks.first?.cause ?? "", then: "not denied, however often; tried again after a pause")
            advance(host, seconds: 86400)
        }
    }

    @Test("one check that blames the version is enough")
    func mixed() async throws {
        let directory = try TemporaryDirectory()
        let (host, _) = try await UpdateTests.prepare(in: directory.path)
        _ = try host.agent().update { _ in }
        let status = try failTrial(host, [Self.outside, Self.sick]).status()
        #expect(status.denied.map(\.kind) == [.health])
        #expect(status.denied.first?.cause.contains("'sick'") == true && status.setbacks.isEmpty)
        try FaultCatalogue.note(
            .version, "a check fails", says: status.denied.first?.cause ?? "", then: "denied; the host comes back")
    }

    @Test("a version that could not even run its checks has said so by the mark that its unit leaves")
    func left() async throws {
        let directory = try TemporaryDirectory()
        let (host, _) = try await UpdateTests.prepare(in: directory.path)
        _ = try host.agent().update { _ in }
        let marks = host.directory.appending("var/lib/ballast/health")
        try marks.makeDirectories()
        try marks.appending("1.1.left").replaceContents(with: "")
        let agent = try failTrial(host, [])
        #expect(try agent.status().denied.map(\.kind) == [.health])
        try FaultCatalogue.note(
            .version, "it cannot run its checks", says: agent.status().denied.first?.cause ?? "",
            then: "denied; the host comes back")
        _ = try agent.allow("1.1")
        // The next trial is judged by what it leaves itself.
        _ = try agent.update { _ in }
        #expect(try failTrial(host, []).status().setbacks.map(\.kind) == [.unfinished])
    }

    // MARK: Probation

    /// A host that has just proved 1.1, with ten minutes of probation.
    func onProbation(_ directory: FilePath) async throws -> TestHost {
        let (host, _) = try await UpdateTests.prepare(in: directory)
        _ = try host.agent().update { _ in }
        try host.boot()
        _ = try agent(host, []).recordGood()
        #expect(try host.order() == ["1.1", "1.0"])
        return host
    }

    func agent(_ host: TestHost, _ checks: [JSONValue], seconds: Int64 = 600) throws -> Agent {
        try host.agent { members in
            members["probation_seconds"] = .integer(seconds)
            members["health"] = .array(checks)
        }
    }

    /// What ballast-probation.service does.
    func watch(_ host: TestHost, _ checks: [JSONValue], seconds: Int64 = 600) throws -> (said: String, rounds: Int) {
        let agent = try agent(host, checks, seconds: seconds)
        let settings = try host.settings { $0["health"] = .array(checks) }
        let runner = HealthRunner(settings: settings, host: try host.present(), fetcher: DirectFetcher())
        let rounds = Mutex(0)
        let said = try agent.watchProbation(runner, note: { _ in }) { _ in rounds.withLock { $0 += 1 } }
        return (said, rounds.withLock { $0 })
    }

    @Test("a check that does not hold any more takes the host back by itself, and the version is denied for it")
    func probation() async throws {
        let directory = try TemporaryDirectory()
        let host = try await onProbation(directory.path)
        let (said, rounds) = try watch(host, [Self.well, Self.sick])
        #expect(said.hasPrefix("back to 1.0: health check 'sick'") && rounds == 1)
        try FaultCatalogue.note(
            .version, "a check fails in its probation", says: said, then: "denied; the host goes back by itself")
        #expect(host.state.withLock { $0.reboots } == 1)
        #expect(try host.boot() == "1.0")
        let agent = try host.prove()
        let status = try agent.status()
        #expect(status.denied.map(\.version) == ["1.1"] && status.denied.map(\.kind) == [.probation])
        let event = try #require(try agent.history().last { $0.kind == .rolledBack })
        #expect(event.failure == .probation && event.version == "1.1" && event.cause?.contains("'sick'") == true)
        #expect(try agent.update(isOperator: false) { _ in }.outcome == .nothing)
        #expect(try host.directory.appending("var/lib/ballast/health/1.1.json").text().contains("sick"))
    }

    @Test("a host that has decided to go back asks for the reboot until it comes")
    func probationInsists() async throws {
        let directory = try TemporaryDirectory()
        let host = try await onProbation(directory.path)
        host.state.withLock { $0.isStuck = true }
        #expect(throws: UpdateAgentFault.self) { try watch(host, [Self.sick]) }
        #expect(try watch(host, [Self.sick]).said == "1.1 is not on probation")
        let agent = try agent(host, [Self.sick])
        agent.tendRestart { _ in }
        #expect(host.state.withLock { $0.reboots } == 0)
        // The next process of the agent does not wait for the pause of this one.
        host.state.withLock { $0.isStuck = false }
        let next = try self.agent(host, [Self.sick])
        next.tendRestart { _ in }
        #expect(host.state.withLock { $0.reboots } == 1)
        #expect(try host.boot() == "1.0")
        #expect(try host.prove().status().denied.map(\.kind) == [.probation])
        try host.agent().tendRestart { _ in }
        #expect(host.state.withLock { $0.reboots } == 1)
    }

    @Test("what lasts, or blames the environment, stays; what was never new is not watched")
    func probationHolds() async throws {
        let directory = try TemporaryDirectory()
        let host = try await onProbation(directory.path)
        let (said, rounds) = try watch(host, [Self.well, Self.outside], seconds: 3)
        #expect(said == "1.1 is through its probation" && rounds > 1)
        #expect(try host.agent().history().last?.kind == .confirmed)
        #expect(try watch(host, [Self.sick]).said == "1.1 is not on probation")
        #expect(try host.boot() == "1.1")
        #expect(try watch(host, [Self.sick]).said == "1.1 is not on probation")
        #expect(host.state.withLock { $0.reboots } == 0)
    }

    @Test("a version whose boots end in its probation again and again is gone back from")
    func probationBoots() async throws {
        let directory = try TemporaryDirectory()
        let host = try await onProbation(directory.path)
        for boot in 1...3 {
            // The host resets in the middle of it: nothing is noted.
            let agent = try agent(host, [Self.well])
            let settings = try host.settings { $0["health"] = .array([Self.well]) }
            let runner = HealthRunner(settings: settings, host: try host.present(), fetcher: DirectFetcher())
            let reset = #expect(throws: UpdateAgentFault.self) {
                try agent.watchProbation(runner, note: { _ in }) { _ throws(UpdateAgentFault) in
                    throw UpdateAgentFault(.system, "reset")
                }
            }
            #expect(reset?.message == "reset", "boot \(boot)")
            #expect(try host.boot() == "1.1")
        }
        let said = try watch(host, [Self.well]).said
        #expect(said == "back to 1.0: 3 boots ended in its probation without a word")
        try FaultCatalogue.note(
            .version, "three boots end in its probation without a word", says: said,
            then: "not denied; the host goes back by itself, and tries it again after a pause")
        #expect(try host.boot() == "1.0")
        let status = try host.prove().status()
        #expect(status.denied.isEmpty && status.setbacks.map(\.kind) == [.unfinished])
        #expect(try host.agent().update(isOperator: false) { _ in }.detail.hasPrefix("1.1 is tried again at"))
    }

    @Test("a host that is shut down in order, however often, goes on with the probation where it was")
    func probationOverBoots() async throws {
        let directory = try TemporaryDirectory()
        let host = try await onProbation(directory.path)
        for _ in 1...6 {
            let agent = try agent(host, [Self.well])
            let settings = try host.settings { $0["health"] = .array([Self.well]) }
            let runner = HealthRunner(settings: settings, host: try host.present(), fetcher: DirectFetcher())
            #expect(throws: UpdateAgentFault.self) {
                try agent.watchProbation(runner, note: { _ in }) { _ throws(UpdateAgentFault) in
                    try agent.interruptProbation()
                    throw UpdateAgentFault(.system, "shut down")
                }
            }
            #expect(try host.boot() == "1.1")
        }
        #expect(try watch(host, [Self.well], seconds: 2).said == "1.1 is through its probation")
    }

    @Test("while a version is on probation no update takes the way back, but an operator's")
    func probationKeepsWayBack() async throws {
        let directory = try TemporaryDirectory()
        let (host, repository) = try await UpdateTests.prepare(in: directory.path)
        _ = try host.agent().update { _ in }
        try host.boot()
        let agent = try agent(host, [Self.well])
        _ = try agent.recordGood()
        try await repository.publish(try UpdateTests.newest.get())
        let fault = #expect(throws: UpdateAgentFault.self) { try agent.update(isOperator: false) { _ in } }
        #expect(fault?.message == "1.1 is on probation, and the other slot is the way back")
        #expect(try host.order() == ["1.1", "1.0"])
        #expect(try agent.update { _ in }.version == "1.2")
    }

    @Test("with nothing good to go back to, what runs stays")
    func probationAlone() async throws {
        let directory = try TemporaryDirectory()
        let host = try await onProbation(directory.path)
        _ = try host.agent().deny("1.0", reason: "worse")
        let (said, _) = try watch(host, [Self.sick])
        #expect(said.hasPrefix("not healthy any more, and stays: there is nothing good to go back to"))
        try FaultCatalogue.note(
            .version, "a check fails in its probation, and nothing good is there", says: said,
            then: "it goes on running")
        #expect(try host.boot() == "1.1")
    }

    // MARK: Offered anew

    @Test(
        "what its publisher offers anew may be taken again where it had failed, once for each time; an operator's denial stays"
    )
    func reoffered() async throws {
        let directory = try TemporaryDirectory()
        let (host, repository) = try await UpdateTests.prepare(in: directory.path)
        func reoffer() throws {
            let (product, _) = try Repository(repository.path).reoffer(
                ImageVersion("1.1"), of: nil, keys: TestRepository.keys(), now: TestRepository.now)
            #expect(product == "box")
        }
        for round in 1...2 {
            #expect(try host.agent().update(isOperator: false) { _ in }.version == "1.1")
            var agent = try failTrial(host, [Self.sick])
            #expect(try agent.status().denied.map(\.version) == ["1.1"])
            #expect(try agent.update(isOperator: false) { _ in }.outcome == .nothing)
            try reoffer()
            agent = try host.agent()
            #expect(try agent.check().available == "1.1", "round \(round)")
            #expect(try agent.history().last?.cause == "its publisher offers it anew")
            #expect(try agent.status().denied.isEmpty)
        }
        _ = try host.agent().deny("1.1", reason: "not here")
        try reoffer()
        #expect(try host.agent().check().available == nil)
        #expect(try host.agent().status().denied.map(\.kind) == [.operators])
        let unknown = #expect(throws: PublishingFault.self) {
            try Repository(repository.path).reoffer(
                ImageVersion("7"), of: nil, keys: TestRepository.keys(), now: TestRepository.now)
        }
        #expect(unknown?.message == "no product has a release 7 here")
    }

    @Test("what a release revokes is not offered anew, for no host would take it")
    func revoked() async throws {
        let directory = try TemporaryDirectory()
        let (_, repository) = try await UpdateTests.prepare(in: directory.path)
        try await repository.publish(try UpdateTests.newest.get()) { $0.revokes = [try ImageVersion("1.1")] }
        let fault = #expect(throws: PublishingFault.self) {
            try Repository(repository.path).reoffer(
                ImageVersion("1.1"), of: nil, keys: TestRepository.keys(), now: TestRepository.now)
        }
        #expect(fault?.message == "box 1.1 is revoked by 1.2, so that no host takes it")
    }

    @Test("denials that an agent without kinds has written are an operator's, and are not lifted")
    func older() async throws {
        let directory = try TemporaryDirectory()
        let (host, repository) = try await UpdateTests.prepare(in: directory.path)
        let state = host.directory.appending("var/lib/ballast/state.json")
        try state.removingLastComponent().makeDirectories()
        try state.replaceContents(
            with: """
                {"format": 1, "state": {"name": "idle"}, "history": [], "good": ["1.0"],
                 "denied": [{"version": "1.1", "cause": "bad", "time": "2026-01-01T00:00:00Z"}]}
                """)
        _ = try Repository(repository.path).reoffer(
            ImageVersion("1.1"), of: "box", keys: TestRepository.keys(), now: TestRepository.now)
        #expect(try host.agent().check().available == nil)
        #expect(try host.agent().status().denied.map(\.version) == ["1.1"])
    }
}
