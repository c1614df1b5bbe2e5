import BootControl
import BootLoader
import Fault
import Fetching
import FileIO
import JSON
import Publishing
import Release
import Synchronization
import SystemPackage
import Testing
import Trust
import UpdateAgent

@Suite("What an operator decides")
struct OperatorTests {
    /// A host on which 1.1 has proved itself, with 1.0 in the other slot.
    private func updated(in directory: FilePath) async throws -> (TestHost, TestRepository, Agent) {
        let (host, repository) = try await UpdateTests.prepare(in: directory)
        _ = try host.agent().update { _ in }
        try host.boot()
        return (host, repository, try host.prove())
    }

    @Test("a rollback survives a restart of the agent before its reboot")
    func rollbackOverRestart() async throws {
        let directory = try TemporaryDirectory()
        let (host, repository, agent) = try await updated(in: directory.path)
        _ = try agent.rollback(reboot: false, force: false)
        try await repository.publish(try UpdateTests.newest.get())
        let again = try host.agent()
        try again.reconcile()
        let waiting = AgentPhase.waiting(version: "1.0", reason: "rolled back; it starts with the next reboot")
        #expect(try again.status().phase == waiting)
        let fault = #expect(throws: UpdateAgentFault.self) { try again.update { _ in } }
        #expect(
            fault?.description == "the host goes back to 1.0 with the next reboot; 'ballastctl reboot' does that now, "
                + "'ballastctl allow 1.1' takes it back")
        // A look at the repository changes nothing of it.
        #expect(try again.check().available == "1.2")
        #expect(try again.status().phase == waiting)
        #expect(try host.boot() == "1.0")
        let back = try host.prove()
        #expect(try back.status().phase == .good(version: "1.0"))
        #expect(try back.update { _ in }.version == "1.2")
    }

    @Test("a rollback whose entries a power cut prevented is carried out by the next start")
    func rollbackCut() async throws {
        let directory = try TemporaryDirectory()
        let (host, _, agent) = try await updated(in: directory.path)
        _ = try agent.rollback(reboot: false, force: false)
        #expect(try host.order() == ["1.0+3", "1.1", "1.0"])
        // The state is durable, and what came after it is not.
        try host.removeFirstEntry()
        #expect(try host.boot() == "1.1")
        let after = try host.agent()
        try after.reconcile()
        #expect(try host.order() == ["1.0+3", "1.1", "1.0"])
        #expect(try host.boot() == "1.0")
    }

    @Test("a rollback to a version that no longer boots ends with the version that was left, which is allowed again")
    func rollbackFails() async throws {
        let directory = try TemporaryDirectory()
        let (host, repository, agent) = try await updated(in: directory.path)
        _ = try agent.rollback(reboot: false, force: false)
        for _ in 0..<3 { #expect(try host.boot() == "1.0") }
        // While it is on trial, the other slot is the way back.
        let trial = try host.agent()
        try trial.reconcile()
        try await repository.publish(try UpdateTests.newest.get())
        let fault = #expect(throws: UpdateAgentFault.self) { try trial.update { _ in } }
        #expect(fault?.message == "1.0 is still proving itself, and the other slot is the way back")
        #expect(try host.boot() == "1.1")
        let back = try host.agent()
        try back.reconcile()
        #expect(try back.status().phase == .rolledBack(version: "1.0", cause: "it did not prove itself"))
        #expect(try back.status().denied.map(\.version) == ["1.0"])
        #expect(try host.order() == ["1.1", "1.0+0"])
        #expect(try back.history().last?.detail == "the rollback to 1.0 failed; 1.1 stays and is allowed again")
        #expect(try back.update { _ in }.version == "1.2")
    }

    /// A host that went back to 1.0, and has 1.1 in the other slot, allowed again.
    private func backed(in directory: FilePath) async throws -> (TestHost, Agent) {
        let (host, _, agent) = try await updated(in: directory)
        _ = try agent.rollback(reboot: false, force: false)
        try host.boot()
        let back = try host.prove()
        _ = try back.allow("1.1")
        #expect(try host.order() == ["1.0", "1.1+0"])
        return (host, back)
    }

    @Test("a rollback to a newer version that no longer boots ends with the older one that was left")
    func forwardRollbackFails() async throws {
        let directory = try TemporaryDirectory()
        let (host, back) = try await backed(in: directory.path)
        #expect(try back.rollback(reboot: false, force: false).version == "1.1")
        for _ in 0..<3 { #expect(try host.boot() == "1.1") }
        #expect(try host.boot() == "1.0")
        let again = try host.agent()
        try again.reconcile()
        #expect(try again.status().denied.map(\.version) == ["1.1"])
        #expect(try host.order() == ["1.0", "1.1+0-3"])
        #expect(try host.boot() == "1.0")
    }

    @Test("a rollback to a newer version is given up when that is revoked meanwhile")
    func forwardRollbackRevoked() async throws {
        let directory = try TemporaryDirectory()
        let (host, repository, agent) = try await updated(in: directory.path)
        _ = try agent.rollback(reboot: false, force: false)
        try host.boot()
        let back = try host.prove()
        _ = try back.allow("1.1")
        _ = try back.rollback(reboot: false, force: false)
        let newer = [try ImageVersion("1.1")]
        try await repository.publish(try UpdateTests.newest.get()) { $0.revokes = newer }
        #expect(try back.check().available == "1.2")
        #expect(try host.order() == ["1.0", "1.1+0"])
        #expect(try host.boot() == "1.0")
    }

    @Test("a good version that the loader takes as its last resort stays up, whatever its health")
    func lastResort() async throws {
        let directory = try TemporaryDirectory()
        let (host, _, agent) = try await updated(in: directory.path)
        _ = try agent.rollback(reboot: false, force: false)
        for tries in 1...3 {
            #expect(try host.boot() == "1.0")
            #expect(try host.failHealth().hasPrefix("rebooting"))
            #expect(host.state.withLock { $0.reboots } == tries)
        }
        #expect(try host.boot() == "1.1")
        #expect(try host.order() == ["1.1", "1.0", "1.0+0-3"])
        #expect(try host.failHealth().hasPrefix("degraded"))
    }

    @Test("where no version is good, the last one stays up and is updated from")
    func nothingGood() async throws {
        let directory = try TemporaryDirectory()
        let (host, repository) = try await UpdateTests.prepare(in: directory.path)
        _ = try host.agent().update { _ in }
        #expect(try host.boot() == "1.1")
        _ = try host.agent().rollback(reboot: false, force: false)
        for _ in 0..<3 {
            #expect(try host.boot() == "1.0")
            #expect(try host.failHealth().hasPrefix("rebooting"))
        }
        #expect(try host.boot() == "1.1")
        try host.agent().reconcile()
        // It has had two of its tries.
        #expect(try host.order() == ["1.1+1-2", "1.0+0"])
        #expect(try host.failHealth().hasPrefix("rebooting"))
        #expect(try host.boot() == "1.1")
        #expect(try host.order() == ["1.1+0-3", "1.0+0"])
        let degraded = "degraded; no other version would be better, so the host stays up: health check 'never': "
        #expect(try host.failHealth().hasPrefix(degraded))
        let agent = try host.agent()
        try agent.reconcile()
        try await repository.publish(try UpdateTests.newest.get())
        #expect(try agent.update { _ in }.version == "1.2")
        try expectUpdateWaits(host, "1.2", from: "1.1")
        #expect(try host.order() == ["1.2+3", "1.1"])
        #expect(try host.boot() == "1.2")
    }

    /// The update from a version that has failed waits for its reboot, and that version is not taken for a good one.
    private func expectUpdateWaits(_ host: TestHost, _ version: String, from running: String) throws {
        let agent = try host.agent()
        #expect(try agent.status().phase == .waiting(version: version, reason: "it starts with the next reboot"))
        #expect(try agent.update { _ in }.detail == "\(version) is ready and starts with the next reboot")
        let history = try agent.history()
        #expect(history.contains { $0.kind == .unhealthy && $0.version == running })
        #expect(!history.contains { $0.kind == .proved && $0.version == running })
    }

    @Test("a host that came back to a version which fails before the agent is there can be updated")
    func failsBeforeReconcile() async throws {
        let directory = try TemporaryDirectory()
        let (host, repository) = try await UpdateTests.prepare(in: directory.path)
        _ = try host.agent().update { _ in }
        #expect(try host.boot() == "1.1")
        _ = try host.agent().rollback(reboot: false, force: false)
        for _ in 0..<3 { #expect(try host.boot() == "1.0") }
        for _ in 0..<2 {
            #expect(try host.boot() == "1.1")
            #expect(try host.failHealth().hasPrefix("rebooting"))
        }
        // Nothing has tries any more, and this one was good once.
        #expect(try host.boot() == "1.0")
        #expect(try host.failHealth().hasPrefix("degraded"))
        let agent = try host.agent()
        try agent.reconcile()
        #expect(try host.failHealth().hasPrefix("degraded"))
        try await repository.publish(try UpdateTests.newest.get())
        #expect(try agent.update { _ in }.version == "1.2")
        try expectUpdateWaits(host, "1.2", from: "1.0")
    }

    @Test("a version that never comes to its health checks is updated from once the loader has no better one")
    func hangsForEver() async throws {
        let directory = try TemporaryDirectory()
        let (host, _) = try await UpdateTests.prepare(in: directory.path)
        try host.set(.trying(left: 3, done: 0), of: "1.0")
        for _ in 0..<3 {
            #expect(try host.boot() == "1.0")
            try host.agent().reconcile()
            #expect(throws: UpdateAgentFault.self) { try host.agent().update { _ in } }
        }
        #expect(try host.boot() == "1.0")
        let agent = try host.agent()
        try agent.reconcile()
        #expect(try agent.update { _ in }.version == "1.1")
        try expectUpdateWaits(host, "1.1", from: "1.0")
    }

    @Test("a new host whose boot partition cannot be seen reboots as often as it has tries")
    func unseenEntries() async throws {
        let directory = try TemporaryDirectory()
        let (host, _) = try await UpdateTests.prepare(in: directory.path)
        try host.set(.trying(left: 3, done: 0), of: "1.0")
        var said: [String] = []
        for _ in 0..<5 {
            #expect(try host.boot() == "1.0")
            var blind = try host.present()
            blind.bootFiles = { () throws(BootControlFault) in throw BootControlFault(.inputOutput, "not mounted") }
            let runner = HealthRunner(settings: try host.settings(), host: blind, fetcher: DirectFetcher())
            said.append(String(try runner.handleFailure(HealthReport.incomplete(blind, "it fails")).prefix(8)))
        }
        #expect(said == ["rebootin", "rebootin", "rebootin", "degraded", "degraded"])
    }

    @Test("a version that an operator went back to and fails is left also where the state was lost")
    func lostState() async throws {
        let directory = try TemporaryDirectory()
        let (host, _, agent) = try await updated(in: directory.path)
        _ = try agent.rollback(reboot: false, force: false)
        for _ in 0..<3 { #expect(try host.boot() == "1.0") }
        try host.directory.appending("var/lib/ballast/state.json").replaceContents(with: "{")
        #expect(try host.failHealth().hasPrefix("rebooting"))
        #expect(try host.boot() == "1.1")
        #expect(try host.failHealth().hasPrefix("degraded"))
    }

    @Test("a version that cannot read the state leaves its last try where the loader has another version to take")
    func unreadableState() async throws {
        let directory = try TemporaryDirectory()
        let (host, _, agent) = try await updated(in: directory.path)
        _ = try agent.rollback(reboot: false, force: false)
        for _ in 0..<3 { #expect(try host.boot() == "1.0") }
        let lock = host.directory.appending("var/lib/ballast/state.lock")
        try lock.removeTree()
        try lock.makeDirectories()
        #expect(try host.failHealth().hasPrefix("rebooting"))
        #expect(try host.boot() == "1.1")
        #expect(try host.order() == ["1.1", "1.0", "1.0+0-3"])
        #expect(try host.failHealth().hasPrefix("degraded"))
    }

    @Test("a new host whose only version fails stays up after its tries and takes a better one")
    func failsFromTheBeginning() async throws {
        let directory = try TemporaryDirectory()
        let (host, _) = try await UpdateTests.prepare(in: directory.path)
        try host.set(.trying(left: 2, done: 0), of: "1.0")
        #expect(try host.boot() == "1.0")
        try host.agent().reconcile()
        #expect(try host.agent().status().phase == .proving(version: "1.0"))
        #expect(throws: UpdateAgentFault.self) { try host.agent().update { _ in } }
        #expect(try host.failHealth().hasPrefix("rebooting"))
        #expect(try host.boot() == "1.0")
        #expect(try host.failHealth().hasPrefix("degraded"))
        let agent = try host.agent()
        try agent.reconcile()
        #expect(try agent.update { _ in }.version == "1.1")
        try expectUpdateWaits(host, "1.1", from: "1.0")
        #expect(try host.boot() == "1.1")
        // It is the way back only for want of a better one.
        let better = try host.prove()
        #expect(try better.status().other?.standing == .unproven)
        let fault = #expect(throws: UpdateAgentFault.self) { try better.rollback(reboot: false, force: false) }
        #expect(fault?.message.hasSuffix("holds 1.0, which has not proved itself here") == true)
        // That 1.1 is not healthy for once does not make 1.0 any better.
        host.state.withLock { $0.boots += 1 }
        #expect(try host.failHealth().hasPrefix("degraded"))
        _ = try host.agent().recordGood()
        #expect(try host.agent().status().other?.standing == .unproven)
    }

    @Test("what the loader is told to take, whatever it comes to, does not reboot for ever")
    func toldToTake() async throws {
        let directory = try TemporaryDirectory()
        let (host, _) = try await UpdateTests.prepare(in: directory.path)
        _ = try host.agent().update { _ in }
        for _ in 0..<3 { #expect(try host.boot() == "1.1") }
        for done in 4...10 {
            try host.set(.bad(done: done), of: "1.1")
            host.state.withLock { state in
                state.boots += 1
                state.counted = state.counted?.with(.bad(done: done))
            }
            #expect(try host.failHealth().hasPrefix(done < 10 ? "rebooting" : "degraded"))
        }
    }

    @Test("what failed and was put right in the same boot is good")
    func putRight() async throws {
        let directory = try TemporaryDirectory()
        let (host, _) = try await UpdateTests.prepare(in: directory.path)
        try host.set(.trying(left: 1, done: 0), of: "1.0")
        #expect(try host.boot() == "1.0")
        // Its checks still run.
        #expect(throws: UpdateAgentFault.self) { try host.agent().update { _ in } }
        #expect(try host.failHealth().hasPrefix("degraded"))
        #expect(try host.prove().status().phase == .good(version: "1.0"))
        #expect(try host.order() == ["1.0"])
    }

    @Test("where the boot entries cannot be read, what waits for its first boot is not said to be denied")
    func blindDenial() async throws {
        let directory = try TemporaryDirectory()
        let (host, _) = try await UpdateTests.prepare(in: directory.path)
        let agent = try host.agent()
        _ = try agent.update { _ in }
        var blind = try host.present()
        blind.bootFiles = { () throws(BootControlFault) in throw BootControlFault(.inputOutput, "no such device") }
        let blindAgent = Agent(settings: try host.settings(), host: blind, source: nil)
        #expect(throws: UpdateAgentFault.self) { try blindAgent.deny("1.1", reason: nil) }
        #expect(try host.agent().status().denied == [])
        #expect(try host.agent().deny("1.1", reason: nil).version == "1.1")
        #expect(try host.boot() == "1.0")
    }

    /// A boot partition on which nothing new fits, or that cannot be written at all.
    private struct FullPartition: BootFiles {
        let files: any BootFiles
        var isReadOnly = false

        func names(in directory: String) throws(BootControlFault) -> [String] { try files.names(in: directory) }
        func size(of path: String) throws(BootControlFault) -> Int64 { try files.size(of: path) }
        func read(_ path: String, _ body: (UnsafeRawBufferPointer) -> Void) throws(BootControlFault) {
            try files.read(path, body)
        }
        func availableSpace() throws(BootControlFault) -> Int64 { 0 }
        func create(_ path: String) throws(BootControlFault) -> any BootFileWriter {
            throw BootControlFault(isReadOnly ? .inputOutput : .noSpace, "the boot partition is full")
        }
        func remove(_ path: String) throws(BootControlFault) {
            guard !isReadOnly else { throw BootControlFault(.inputOutput, "the boot partition is read-only") }
            try files.remove(path)
        }
        func flush() throws(BootControlFault) { try files.flush() }
    }

    @Test("on a boot partition that cannot be written nothing is said to be taken back that still boots")
    func readOnlyPartition() async throws {
        let directory = try TemporaryDirectory()
        let (host, repository, agent) = try await updated(in: directory.path)
        var present = try host.present()
        let files = host.machine.bootFiles
        present.bootFiles = { () throws(BootControlFault) in FullPartition(files: files, isReadOnly: true) }
        let stuck = Agent(settings: try host.settings(), host: present, source: nil)
        _ = try agent.rollback(reboot: false, force: false)
        #expect(throws: UpdateAgentFault.self) { try stuck.allow("1.1") }
        #expect(
            try stuck.status().phase == .waiting(version: "1.0", reason: "rolled back; it starts with the next reboot"))
        _ = try agent.allow("1.1")
        try await repository.publish(try UpdateTests.newest.get())
        _ = try agent.update { _ in }
        #expect(throws: UpdateAgentFault.self) { try stuck.pin("1.1") }
        #expect(throws: UpdateAgentFault.self) { try stuck.deny("1.2", reason: nil) }
        #expect(try stuck.status().pinned == nil)
        // What does not wait for its boot is denied all the same, and the status says what is wrong.
        _ = try stuck.deny("1.3", reason: nil)
        #expect(try stuck.status().denied.map(\.version) == ["1.3"])
    }

    @Test("after a rollback the host stays on its target, also where what was left is allowed during the trial")
    func allowedDuringTrial() async throws {
        let directory = try TemporaryDirectory()
        let (host, _, agent) = try await updated(in: directory.path)
        _ = try agent.rollback(reboot: false, force: false)
        #expect(try host.boot() == "1.0")
        _ = try host.agent().allow("1.1")
        _ = try host.prove()
        #expect(try host.order() == ["1.0", "1.1"])
        #expect(try host.boot() == "1.0")
    }

    @Test("on a full boot partition a version that is denied does not boot, and a rollback says that it is full")
    func fullPartition() async throws {
        let directory = try TemporaryDirectory()
        let (host, repository, _) = try await updated(in: directory.path)
        var present = try host.present()
        let files = host.machine.bootFiles
        present.bootFiles = { () throws(BootControlFault) in FullPartition(files: files) }
        let full = Agent(settings: try host.settings(), host: present, source: nil)
        let fault = #expect(throws: UpdateAgentFault.self) { try full.rollback(reboot: false, force: false) }
        #expect(fault?.code == .noSpace)
        // Nothing of it stays.
        #expect(try full.status().denied.isEmpty)
        #expect(try full.history().last?.detail == "the host could not be made to go back to 1.0")
        #expect(try full.status().phase == .good(version: "1.1"))
        try await repository.publish(try UpdateTests.newest.get())
        _ = try host.agent().update { _ in }
        #expect(try host.order() == ["1.2+3", "1.1"])
        _ = try full.deny("1.2", reason: nil)
        #expect(try host.order() == ["1.1"])
    }

    @Test("a rollback to a newer version that proves itself leaves the older one for good")
    func forwardRollback() async throws {
        let directory = try TemporaryDirectory()
        let (host, back) = try await backed(in: directory.path)
        _ = try back.rollback(reboot: false, force: false)
        #expect(try host.boot() == "1.1")
        #expect(try host.prove().status().denied.map(\.version) == ["1.0"])
        #expect(try host.order() == ["1.1", "1.0+0"])
    }

    @Test("a rollback to a newer version that is taken back leaves the older one running")
    func forwardRollbackTakenBack() async throws {
        let directory = try TemporaryDirectory()
        let (host, back) = try await backed(in: directory.path)
        _ = try back.rollback(reboot: false, force: false)
        _ = try back.allow("1.0")
        #expect(try host.boot() == "1.0")
        // The other one is still what an update takes, without fetching it.
        let again = try host.agent()
        try again.reconcile()
        #expect(try again.update { _ in }.outcome == .activated)
    }

    @Test("a boot that is blessed between a rollback and its reboot does not undo it")
    func blessedAfterRollback() async throws {
        let directory = try TemporaryDirectory()
        let (host, _, agent) = try await updated(in: directory.path)
        _ = try agent.rollback(reboot: false, force: false)
        _ = try host.agent().recordGood()
        #expect(try host.order() == ["1.0+3", "1.1", "1.0"])
        try host.removeFirstEntry()
        _ = try agent.reboot(force: false)
        #expect(try host.order() == ["1.0+3", "1.1", "1.0"])
    }

    @Test("a version without tries that somebody chose at the boot menu is a whole way back before it is updated from")
    func chosenAtMenu() async throws {
        let directory = try TemporaryDirectory()
        let (host, repository, agent) = try await updated(in: directory.path)
        _ = try agent.deny("1.0", reason: nil)
        #expect(try host.order() == ["1.1", "1.0+0"])
        host.choose("1.0")
        try await repository.publish(try UpdateTests.newest.get())
        let chosen = try host.agent()
        try chosen.reconcile()
        #expect(try chosen.update { _ in }.version == "1.2")
        #expect(try host.order() == ["1.2+3", "1.0"])
        for _ in 0..<3 { #expect(try host.boot() == "1.2") }
        #expect(try host.boot() == "1.0")
    }

    @Test("a version that failed here is no longer one that was good here")
    func failedAfterGood() async throws {
        let directory = try TemporaryDirectory()
        let (host, _, agent) = try await updated(in: directory.path)
        _ = try agent.rollback(reboot: false, force: false)
        try host.boot()
        let first = try host.prove()
        _ = try first.allow("1.1")
        #expect(try first.update { _ in }.outcome == .activated)
        let early = #expect(throws: UpdateAgentFault.self) { try first.rollback(reboot: false, force: false) }
        #expect(early?.message.hasSuffix("slot b holds 1.1, which waits for its own trial") == true)
        for _ in 0..<4 { try host.boot() }
        let again = try host.agent()
        try again.reconcile()
        _ = try again.allow("1.1")
        let fault = #expect(throws: UpdateAgentFault.self) { try again.rollback(reboot: false, force: false) }
        #expect(fault?.message.hasSuffix("slot b holds 1.1, which has not proved itself here") == true)
    }

    @Test("any number of revocations leaves a state that can be read again")
    func manyRevocations() async throws {
        let directory = try TemporaryDirectory()
        let (host, repository) = try await UpdateTests.prepare(in: directory.path)
        for release in 0..<3 {
            let revokes = try (0..<900).map { try ImageVersion("9.\(release).\($0)") }
            try await repository.publish(try TestImage(version: "0.\(release)", blocks: 8)) { $0.revokes = revokes }
        }
        let agent = try host.agent()
        _ = try agent.pin("1.1")
        #expect(try agent.check().available == "1.1")
        #expect(try host.agent().status().pinned == "1.1")
        #expect(!host.directory.appending("var/lib/ballast/state.json.damaged").exists)
    }

    @Test("entries that cannot be read are judged at the next start and not taken for gone")
    func unreadableEntries() async throws {
        let directory = try TemporaryDirectory()
        let (host, _) = try await UpdateTests.prepare(in: directory.path)
        _ = try host.agent().update { _ in }
        var blind = try host.present()
        blind.bootIdentifier = "later"
        blind.bootFiles = { () throws(BootControlFault) in throw BootControlFault(.inputOutput, "the ESP is gone") }
        let agent = Agent(settings: try host.settings(), host: blind, source: nil)
        try agent.reconcile()
        let status = try agent.status()
        #expect(status.phase == .waiting(version: "1.1", reason: "it starts with the next reboot"))
        #expect(status.lastError?.contains("the ESP is gone") == true)
        // Nor does an update take it for ready as long as they cannot be read; once they can, it is judged before that.
        let asking = Agent(settings: try host.settings(), host: blind, source: host.source)
        let fault = #expect(throws: UpdateAgentFault.self) { try asking.update { _ in } }
        #expect(fault?.description.contains("the ESP is gone") == true)
        for _ in 0..<4 { try host.boot() }
        #expect(try host.agent().update(isOperator: false) { _ in }.outcome == .nothing)
        #expect(try host.agent().status().setbacks.map(\.version) == ["1.1"])
    }

    @Test("a rollback is taken back by allowing the version that runs")
    func rollbackTakenBack() async throws {
        let directory = try TemporaryDirectory()
        let (host, _, agent) = try await updated(in: directory.path)
        _ = try agent.rollback(reboot: false, force: false)
        let fault = #expect(throws: UpdateAgentFault.self) { try agent.deny("1.0", reason: nil) }
        #expect(fault?.message == "1.0 is what this host goes back to with the next reboot")
        #expect(
            try agent.allow("1.1").text == "1.1 may be taken again and stays; the rollback to 1.0 is taken back")
        #expect(try agent.status().phase == .good(version: "1.1"))
        #expect(try agent.status().denied.isEmpty)
        #expect(try host.boot() == "1.1")
    }

    @Test("what is denied while the repository is asked does not come back with the answer")
    func deniedWhileAsking() async throws {
        let directory = try TemporaryDirectory()
        let (host, repository) = try await UpdateTests.prepare(in: directory.path)
        let agent = try host.agent()
        _ = try agent.update { _ in }
        host.source.faults.withLock { $0.onRefresh = { _ = try? agent.deny("1.1", reason: "it is bad") } }
        #expect(try agent.check().available == nil)
        #expect(try agent.status().phase == .idle)
        #expect(try host.order() == ["1.0", "1.1+0"])
        host.source.faults.withLock { $0.onRefresh = {} }
        // The host is not stuck in waiting for a version that does not come.
        try await repository.publish(try UpdateTests.newest.get())
        #expect(try agent.update { _ in }.version == "1.2")
    }

    @Test("nothing that is denied while a version proves itself takes the way back away")
    func deniedWayBack() async throws {
        let directory = try TemporaryDirectory()
        let (host, _) = try await UpdateTests.prepare(in: directory.path)
        _ = try host.agent().update { _ in }
        try host.boot()
        let agent = try host.agent()
        try agent.reconcile()
        _ = try agent.deny("1.0", reason: "too old")
        #expect(try host.order() == ["1.1+2-1", "1.0"])
        _ = try host.prove()
        #expect(try host.order() == ["1.1", "1.0+0"])
    }

    @Test("a version that is revoked is neither taken nor booted nor gone back to")
    func revoked() async throws {
        let directory = try TemporaryDirectory()
        let (host, repository) = try await UpdateTests.prepare(in: directory.path)
        let agent = try host.agent()
        _ = try agent.update { _ in }
        #expect(try host.order() == ["1.1+3", "1.0"])
        // By a release that is older than it, in another channel.
        let bad = [try ImageVersion("1.1")]
        try await repository.publish(try TestImage(version: "1.0.1", blocks: 8)) { options in
            options.channels = ["beta"]
            options.revokes = bad
        }
        #expect(try agent.check().text == "nothing to do: 1.1 is revoked by 1.0.1")
        #expect(try agent.status().phase == .idle)
        #expect(try host.order() == ["1.0", "1.1+0"])
        #expect(try host.boot() == "1.0")
        #expect(try agent.history().last?.kind == .withdrawn)
        #expect(try agent.history().last?.cause == "it is revoked by 1.0.1")
    }

    @Test("a rollback does not go to a version that is revoked")
    func revokedTarget() async throws {
        let directory = try TemporaryDirectory()
        let (_, repository, agent) = try await updated(in: directory.path)
        let old = [try ImageVersion("1.0")]
        try await repository.publish(try TestImage(version: "1.0.1", blocks: 8)) { $0.revokes = old }
        _ = try agent.check()
        let fault = #expect(throws: UpdateAgentFault.self) { try agent.rollback(reboot: false, force: false) }
        #expect(
            fault?.message
                == "there is nothing good to go back to: slot a holds 1.0, which 1.0.1 revokes")
    }

    @Test("a rollback that waits is given up when its target is revoked meanwhile")
    func revokedWhileWaiting() async throws {
        let directory = try TemporaryDirectory()
        let (host, repository, agent) = try await updated(in: directory.path)
        _ = try agent.rollback(reboot: false, force: false)
        let old = [try ImageVersion("1.0")]
        try await repository.publish(try TestImage(version: "1.0.1", blocks: 8)) { $0.revokes = old }
        _ = try agent.check()
        #expect(try host.order() == ["1.1", "1.0+0"])
        #expect(
            try agent.history().last?.detail == "the rollback to it is given up, and 1.1 stays")
        #expect(try agent.history().last?.cause == "it is revoked by 1.0.1")
        #expect(try agent.status().denied.map(\.version) == ["1.1"])
        #expect(try agent.status().phase == .good(version: "1.1"))
        #expect(try host.boot() == "1.1")
        let after = try host.agent()
        try after.reconcile()
        #expect(try host.order() == ["1.1", "1.0+0"])
        // What comes after it is taken as ever.
        try await repository.publish(try UpdateTests.newest.get())
        #expect(try after.update { _ in }.version == "1.2")
    }

    @Test("a pin to an older version says that it does not go back")
    func pinBelow() async throws {
        let directory = try TemporaryDirectory()
        let (_, _, agent) = try await updated(in: directory.path)
        #expect(
            try agent.pin("1.0").text
                == "pinned to 1.0, which is older than 1.1: the host stays on what it runs; 'ballastctl rollback' goes back"
        )
        #expect(
            try agent.check().reason
                == "1.1 is the newest in channel 'stable'; this host is pinned to 1.0, and a pin does not take it back")
    }
}

@Suite("The end of a trial")
struct TrialEndTests {
    @Test("a boot whose counter systemd-bless-boot could not take off is made good, or not noted as good")
    func blessing() async throws {
        let directory = try TemporaryDirectory()
        let (host, _) = try await UpdateTests.prepare(in: directory.path)
        _ = try host.agent().update { _ in }
        try host.boot()
        let agent = try host.agent()
        try agent.reconcile()
        #expect(try agent.recordGood() == "1.1 has proved itself")
        #expect(try host.order() == ["1.1", "1.0"])
        var broken = try host.present()
        broken.running = try ImageVersion("1.2")
        broken.bootFiles = { () throws(BootControlFault) in
            throw BootControlFault(.inputOutput, "the ESP is read-only")
        }
        let stuck = Agent(settings: try host.settings(), host: broken, source: nil)
        let fault = #expect(throws: UpdateAgentFault.self) { try stuck.recordGood() }
        #expect(fault?.description.contains("the ESP is read-only") == true)
        #expect(try stuck.history().map(\.kind) == [.staged, .proved])
    }

    @Test("health checks run by hand after the boot was blessed never reboot the host")
    func healthAfterBlessing() async throws {
        let directory = try TemporaryDirectory()
        let (host, _) = try await UpdateTests.prepare(in: directory.path)
        _ = try host.agent().update { _ in }
        try host.boot()
        let settings = try host.settings { members in
            members["health"] = [["name": "never", "timeout_seconds": 1, "command": ["/bin/false"]]]
        }
        let runner = HealthRunner(settings: settings, host: try host.present(), fetcher: DirectFetcher())
        let report = runner.run { _ in }
        #expect(try runner.handleFailure(report).hasPrefix("rebooting"))
        #expect(host.state.withLock { $0.reboots } == 1)
        // The loader's variable says "counted" until the next boot.
        try host.set(.good, of: "1.1")
        #expect(try runner.handleFailure(report).hasPrefix("degraded"))
        #expect(host.state.withLock { $0.reboots } == 1)
    }
}
