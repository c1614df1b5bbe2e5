import BootControl
import BootLoader
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

@Suite("What is decided while something else goes on")
struct ChangedMindTests {
    /// A host on which 1.1 has proved itself, with 1.0 in the other slot.
    private func updated(in directory: FilePath) async throws -> (TestHost, TestRepository, Agent) {
        let (host, repository) = try await UpdateTests.prepare(in: directory)
        _ = try host.agent().update { _ in }
        try host.boot()
        return (host, repository, try host.prove())
    }

    private func failure(_ body: () throws -> Void) throws -> UpdateAgentFault {
        try #require(#expect(throws: UpdateAgentFault.self) { try body() })
    }

    // MARK: Pins

    @Test("a pin ends the download of another version, and the host does not reboot for it")
    func pinnedMeanwhile() async throws {
        let directory = try TemporaryDirectory()
        let (host, _) = try await UpdateTests.prepare(in: directory.path)
        let agent = try host.agent { $0["reboot"] = "immediate" }
        host.source.faults.withLock { $0.onPiece = { _ = try? agent.pin("1.0") } }
        let fault = try failure { _ = try agent.update { _ in } }
        #expect(fault.code == .pinned)
        #expect(
            fault.description == "1.1 is not taken: this host is pinned to 1.0; 'ballastctl unpin' takes that back")
        #expect(host.source.delivered.withLock { $0 } < 50_000)
        #expect(host.state.withLock { $0.reboots } == 0)
        #expect(try host.order() == ["1.0"])
    }

    @Test("a pin keeps what waits for its first boot from it, and what it is pinned to boots")
    func pinnedWhileWaiting() async throws {
        let directory = try TemporaryDirectory()
        let (host, _) = try await UpdateTests.prepare(in: directory.path)
        let agent = try host.agent()
        _ = try agent.update { _ in }
        _ = try agent.pin("1.1")
        #expect(try host.order() == ["1.1+3", "1.0"])
        _ = try agent.pin("1.0")
        #expect(try host.order() == ["1.0", "1.1+0"])
        #expect(try agent.status().phase == .idle)
        #expect(try agent.history().suffix(2).map(\.kind) == [.withdrawn, .pinned])
        #expect(try agent.update { _ in }.outcome == .nothing)
        #expect(try host.boot() == "1.0")
        _ = try agent.unpin()
        #expect(try agent.update { _ in }.outcome == .activated)
        #expect(try host.boot() == "1.1")
    }

    // MARK: Downloads

    @Test("a denial ends the download, which nothing else can")
    func deniedDownload() async throws {
        let directory = try TemporaryDirectory()
        let (host, _) = try await UpdateTests.prepare(in: directory.path)
        let agent = try host.agent()
        let refusals = Mutex<[String]>([])
        host.source.faults.withLock { faults in
            faults.onPiece = {
                do { _ = try agent.rollback(reboot: false, force: false) } catch {
                    refusals.withLock { $0.append("\(error)") }
                }
                _ = try? agent.deny("1.1", reason: "it takes too long")
            }
        }
        #expect(try failure { _ = try agent.update { _ in } }.code == .denied)
        #expect(host.source.delivered.withLock { $0 } < 50_000)
        #expect(
            refusals.withLock { $0 }.first
                == "there is nothing good to go back to: slot b is being written with 1.1")
        // The next one is not ended.
        host.source.faults.withLock { $0.onPiece = {} }
        _ = try agent.allow("1.1")
        #expect(try agent.update { _ in }.outcome == .staged)
    }

    @Test("what is revoked during a long download does not become bootable")
    func revokedMeanwhile() async throws {
        let directory = try TemporaryDirectory()
        let (host, repository) = try await UpdateTests.prepare(in: directory.path)
        let later = try await TestRepository(copyOf: repository, in: directory.path)
        let bad = [try ImageVersion("1.1")]
        try await later.publish(try TestImage(version: "1.0.1", blocks: 8)) { $0.revokes = bad }
        let agent = try host.agent()
        host.source.faults.withLock { faults in
            faults.onPiece = { [weak host] in
                host?.source.faults.withLock { $0.later = later }
                host?.state.withLock { $0.now = TestRepository.now.adding(seconds: 100) }
            }
        }
        let fault = try failure { _ = try agent.update { _ in } }
        #expect(fault.description == "1.1 is revoked by 1.0.1")
        #expect(try host.boot() == "1.0")
    }

    // MARK: Rollbacks

    @Test("a failed rollback ends by whichever process of the agent sees it first")
    func goodBeforeReconcile() async throws {
        let directory = try TemporaryDirectory()
        let (host, _, agent) = try await updated(in: directory.path)
        _ = try agent.rollback(reboot: false, force: false)
        for _ in 0..<3 { #expect(try host.boot() == "1.0") }
        #expect(try host.boot() == "1.1")
        let first = try host.agent()
        _ = try first.recordGood()
        #expect(try host.order() == ["1.1", "1.0+0"])
        #expect(try first.status().denied.map(\.version) == ["1.0"])
        let second = try host.agent()
        try second.reconcile()
        #expect(try second.history().count { $0.kind == .rollbackFailed } == 1)
        #expect(try second.status().phase == .rolledBack(version: "1.0", cause: "it did not prove itself"))
        #expect(try host.boot() == "1.1")
    }

    @Test("a version that an operator left before it had proved itself still has to when the host comes back to it")
    func leftOnTrial() async throws {
        let directory = try TemporaryDirectory()
        let (host, _) = try await UpdateTests.prepare(in: directory.path)
        _ = try host.agent().update { _ in }
        #expect(try host.boot() == "1.1")
        let agent = try host.agent()
        try agent.reconcile()
        _ = try agent.rollback(reboot: false, force: false)
        for _ in 0..<3 { #expect(try host.boot() == "1.0") }
        #expect(try host.boot() == "1.1")
        let back = try host.agent()
        try back.reconcile()
        #expect(try host.order() == ["1.1+1-2", "1.0+0"])
        #expect(try back.status().phase == .proving(version: "1.1"))
        #expect(try failure { _ = try back.update { _ in } }.code == .busy)
        #expect(try host.prove().history().contains { $0.kind == .proved && $0.version == "1.1" })
    }

    @Test("the agent by itself gives a rollback up whose target was revoked meanwhile")
    func revokedTarget() async throws {
        let directory = try TemporaryDirectory()
        let (host, repository, agent) = try await updated(in: directory.path)
        _ = try agent.rollback(reboot: false, force: false)
        let waiting = try agent.update(isOperator: false) { _ in }
        #expect(waiting.outcome == .nothing)
        #expect(waiting.detail == "the host goes back to 1.0 with the next reboot")
        let bad = [try ImageVersion("1.0")]
        try await repository.publish(try TestImage(version: "0.9", blocks: 8)) { $0.revokes = bad }
        #expect(try agent.update(isOperator: false) { _ in }.outcome == .nothing)
        #expect(try host.order() == ["1.1", "1.0+0"])
        #expect(try host.boot() == "1.1")
        #expect(try host.prove().status().phase == .good(version: "1.1"))
    }

    @Test("a power cut amid giving it up does not bring it back")
    func revokedTargetAfterCut() async throws {
        let directory = try TemporaryDirectory()
        let (host, repository, agent) = try await updated(in: directory.path)
        _ = try agent.rollback(reboot: false, force: false)
        let bad = [try ImageVersion("1.0")]
        try await repository.publish(try TestImage(version: "0.9", blocks: 8)) { $0.revokes = bad }
        // The state is as it was before, and has the revocation.
        let path = host.directory.appending("var/lib/ballast/state.json")
        let text = try path.text(limit: 1 << 20)
        try path.replaceContents(
            with: text.replacing("\"good\":", with: "\"revoked\": [{\"version\": \"1.0\", \"by\": \"0.9\"}], \"good\":")
        )
        try host.agent().reconcile()
        #expect(try host.order() == ["1.1", "1.0+0"])
    }

    // MARK: Denials

    @Test("a denial has taken the entry back before it is answered, whatever job runs")
    func deniedWhileBusy() async throws {
        let directory = try TemporaryDirectory()
        let (host, _, _) = try await updated(in: directory.path)
        host.choose("1.0")
        let agent = try host.agent()
        try agent.reconcile()
        let seen = Mutex<[String]>([])
        host.source.faults.withLock { faults in
            faults.onRefresh = { [weak host] in
                guard let host, (try? agent.deny("1.1", reason: nil)) != nil else { return }
                seen.withLock { $0 = (try? host.order()) ?? [] }
            }
        }
        _ = try agent.check()
        #expect(seen.withLock { $0 } == ["1.0", "1.1+0"])
        #expect(try host.boot() == "1.0")
    }

    @Test(
        "a version that failed one try and was left at the boot menu is denied, and a power cut does not bring it back")
    func failedAndLeft() async throws {
        let directory = try TemporaryDirectory()
        let (host, _) = try await UpdateTests.prepare(in: directory.path)
        _ = try host.agent().update { _ in }
        #expect(try host.boot() == "1.1")
        #expect(try host.failHealth().hasPrefix("rebooting"))
        host.choose("1.0")
        let path = host.directory.appending("var/lib/ballast/state.json")
        let before = try path.contents()
        for _ in 0..<2 {
            let agent = try host.agent()
            try agent.reconcile()
            #expect(try host.order() == ["1.0", "1.1+0-1"])
            #expect(try agent.status().denied.first?.cause.hasPrefix("health check 'never': ") == true)
            // The power was cut after the entry, and before the state.
            try path.replaceContents(with: before)
            host.state.withLock { $0.boots += 1 }
        }
    }

    @Test("what an operator says while a failed version is looked into stays as it was said")
    func decidedMeanwhile() async throws {
        let directory = try TemporaryDirectory()
        let (host, _) = try await UpdateTests.prepare(in: directory.path)
        _ = try host.agent().update { _ in }
        for _ in 0..<4 { try host.boot() }
        var present = try host.present()
        let other = try host.agent()
        present.journal = { _ in
            _ = try? other.deny("1.1", reason: "an operator was first")
            return Array("journal\n".utf8)
        }
        let agent = Agent(settings: try host.settings(), host: present, source: nil)
        try agent.reconcile()
        #expect(try agent.status().denied.map(\.cause) == ["an operator was first"])
        #expect(try agent.history().contains { $0.kind == .rolledBack } == false)
        #expect(try host.boot() == "1.0")
    }

    // MARK: The rest

    @Test("versions are the same however they are spelt")
    func spelling() async throws {
        let directory = try TemporaryDirectory()
        let (host, repository) = try await UpdateTests.prepare(in: directory.path)
        let agent = try host.agent()
        _ = try agent.deny("1.01", reason: "it is bad")
        #expect(try agent.update { _ in }.detail == "1.1 is denied here: it is bad")
        _ = try agent.allow("01.1")
        _ = try agent.pin("1.01")
        #expect(try agent.update { _ in }.version == "1.1")
        _ = try agent.deny("1.001", reason: nil)
        #expect(try host.order() == ["1.0", "1.1+0"])
        #expect(throws: UpdateAgentFault.self) { try agent.deny("1.00", reason: nil) }
        _ = try agent.allow("1.1")
        let bad = [try ImageVersion("1.01")]
        try await repository.publish(try TestImage(version: "0.9", blocks: 8)) { $0.revokes = bad }
        #expect(try agent.update { _ in }.detail == "1.1 is revoked by 0.9")
    }

    @Test("a boot that was blessed and could not be noted as good is noted before the next update")
    func blessedOnly() async throws {
        let directory = try TemporaryDirectory()
        let (host, repository) = try await UpdateTests.prepare(in: directory.path)
        _ = try host.agent().update { _ in }
        try host.boot()
        let agent = try host.agent()
        try agent.reconcile()
        #expect(try failure { _ = try agent.update { _ in } }.code == .busy)
        try host.set(.good, of: "1.1")
        try await repository.publish(try UpdateTests.newest.get())
        #expect(try agent.update { _ in }.version == "1.2")
        #expect(try agent.history().contains { $0.kind == .proved && $0.version == "1.1" })
    }

    @Test("a release that cannot be fetched is waited for, and not passed over for an older one")
    func heldBack() async throws {
        let directory = try TemporaryDirectory()
        let (host, repository) = try await UpdateTests.prepare(in: directory.path)
        try await repository.publish(try UpdateTests.newest.get())
        host.source.faults.withLock { $0.unreachable = "box_1.2_amd64" }
        let agent = try host.agent()
        #expect(try failure { _ = try agent.update { _ in } }.code == .transfer)
        host.source.faults.withLock { $0.unreachable = nil }
        #expect(try agent.update { _ in }.version == "1.2")
    }

    @Test("whatever a server makes the agent say, its state can be read again")
    func hostileTexts() async throws {
        let directory = try TemporaryDirectory()
        let (host, repository) = try await UpdateTests.prepare(in: directory.path)
        let agent = try host.agent()
        _ = try agent.deny("1.1", reason: String(repeating: "\u{1}\u{301}", count: 50_000))
        _ = try agent.pin("1.0")
        for round in 0..<3 {
            let key = "\(round)" + String(repeating: "\u{1F4A3}", count: 200_000)
            try repository.path.appending("metadata/2.root.json").replaceContents(with: "{\"\(key)\" 1}")
            #expect(try failure { _ = try agent.update { _ in } }.code == .untrusted)
        }
        for round in 0..<60 {
            // Together more than a state may have; the last one is as long as a document may be.
            let text = "\(round)" + String(repeating: "\u{1}", count: round == 59 ? 900_000 : 30_000)
            host.source.faults.withLock { $0.refusal = UpdateAgentFault(.transfer, text) }
            // Other words for the same failure are news once an hour.
            host.state.withLock { $0.now = $0.now.adding(seconds: 3600) }
            _ = try? agent.update { _ in }
        }
        #expect(try FileStatus(following: host.directory.appending("var/lib/ballast/state.json")).size < 4 << 20)
        let status = try host.agent().status()
        #expect(status.pinned == "1.0")
        #expect(status.denied.map(\.version) == ["1.1"])
        #expect(status.denied.first?.cause.unicodeScalars.count == 401)
        #expect(!host.directory.appending("var/lib/ballast/state.json.damaged").exists)
        #expect(try agent.history().suffix(1).first?.cause?.hasPrefix("59") == true)
    }
}
