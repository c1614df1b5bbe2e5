import BlockDevice
import BootControl
import BootLoader
import Cryptography
import Fault
import Fetching
import FileIO
import JSON
import PartitionTable
import Release
import Synchronization
import SystemPackage
import Testing
import Trust
import UpdateAgent
import Verity

@Suite("An update")
struct UpdateTests {
    static let old = Result { try TestImage(version: "1.0") }
    static let new = Result { try TestImage(version: "1.1") }
    static let newest = Result { try TestImage(version: "1.2", blocks: 600) }

    /// A host that runs 1.0, and a repository with 1.0 and 1.1.
    static func prepare(
        in directory: FilePath, publishing images: [TestImage]? = nil
    ) async throws -> (TestHost, TestRepository) {
        let all = [try old.get(), try new.get(), try newest.get()]
        let repository = try TestRepository(in: directory)
        for image in images ?? [all[0], all[1]] { try await repository.publish(image) }
        let machine = try FileMachine(in: directory, running: all[0])
        let host = try TestHost(in: directory, machine: machine, source: TestSource(repository), images: all)
        return (host, repository)
    }

    /// The first `count` bytes of the slot's partitions.
    func contents(_ host: TestHost, of version: String, count: (Int, Int)) throws -> (root: [UInt8], verity: [UInt8]) {
        let store = try host.machine.slots(running: try Self.old.get().tree.rootHash)
        let slot = try #require(try store.slots().first { $0.version(of: "box") == version })
        func read(_ storage: any BlockStorage, _ count: Int) throws -> [UInt8] {
            var bytes = [UInt8](repeating: 0, count: count)
            try bytes.withUnsafeMutableBytes { buffer in
                try Result { () throws(BlockDeviceFault) in try storage.read(into: buffer, at: 0) }.get()
            }
            return bytes
        }
        return (
            try read(try store.root(of: slot, writable: false), count.0),
            try read(try store.verity(of: slot, writable: false), count.1)
        )
    }

    @Test("the other slot holds the release to the last byte, and the next boot tries it")
    func whole() async throws {
        let directory = try TemporaryDirectory()
        let (host, _) = try await Self.prepare(in: directory.path)
        let image = try Self.new.get()
        let agent = try host.agent()
        #expect(try agent.check().available == "1.1")
        #expect(try agent.status().phase == .available(version: "1.1"))
        let seen = Mutex<[String]>([])
        let result = try agent.update { progress in seen.withLock { $0.append(progress.phase.name) } }
        #expect(result.outcome == .staged)
        #expect(result.version == "1.1")
        #expect(seen.withLock { Set($0) }.isSuperset(of: ["planning", "staging", "staged"]))
        let written = try contents(host, of: "1.1", count: (image.bytes.count, image.tree.hashDeviceSize))
        #expect(written.root == image.bytes)
        #expect(written.verity == image.tree.hashDevice())
        #expect(try host.order() == ["1.1+3", "1.0"])
        let status = try agent.status()
        #expect(status.phase == .waiting(version: "1.1", reason: "it starts with the next reboot"))
        #expect(status.other == OtherSlot(name: "b", version: "1.1", standing: .activated))
        #expect(status.text.contains("box 1.0 in slot a; 1.1 waits: it starts with the next reboot"))
        // Again: nothing is fetched, nothing changes.
        let before = host.source.delivered.withLock { $0 }
        #expect(try agent.update { _ in }.outcome == .nothing)
        #expect(host.source.delivered.withLock { $0 } == before)
        #expect(try host.boot() == "1.1")
        let after = try host.prove()
        #expect(try after.status().phase == .good(version: "1.1"))
        #expect(try after.history().map(\.kind) == [.staged, .proved])
        #expect(try host.order() == ["1.1", "1.0"])
        #expect(try after.check().text == "nothing to do: 1.1 is the newest in channel 'stable'")
    }

    @Test("a version that never says a word is left with its cause, and the next check does not bring it back")
    func rolledBack() async throws {
        let directory = try TemporaryDirectory()
        let (host, _) = try await Self.prepare(in: directory.path)
        _ = try host.agent().update { _ in }
        // Three boots that hang, then the loader takes the other one.
        for left in ["+2-1", "+1-2", "+0-3"] {
            #expect(try host.boot() == "1.1")
            #expect(try host.order().contains("1.1\(left)"))
        }
        #expect(try host.boot() == "1.0")
        let agent = try host.agent()
        try agent.reconcile()
        let cause = "it did not reach its health checks: panic, hang or power loss"
        #expect(try agent.status().phase == .rolledBack(version: "1.1", cause: cause))
        #expect(try agent.status().denied.isEmpty)
        #expect(try agent.status().setbacks.map(\.version) == ["1.1"])
        let event = try #require(try agent.history().last)
        #expect(event.kind == .rolledBack)
        #expect(event.failure == .unfinished)
        #expect(event.cause == cause)
        let hash = try Self.new.get().tree.rootHash
        #expect(
            try host.directory.appending("var/lib/ballast/journal/1.1.log").text() == "journal of \(hash)\n")
        let result = try agent.check()
        #expect(result.available == nil)
        #expect(result.text == "nothing to do: 1.1 is tried again at 2027-01-15T09:00:00Z: \(cause)")
        #expect(try agent.update(isOperator: false) { _ in }.outcome == .nothing)
        #expect(try host.boot() == "1.0")
    }

    @Test("a failed health check's own words are the cause, and on a boot that is not counted nothing reboots")
    func healthCause() async throws {
        let directory = try TemporaryDirectory()
        let (host, _) = try await Self.prepare(in: directory.path)
        _ = try host.agent().update { _ in }
        try host.boot()
        let settings = try host.settings { members in
            members["health"] = [["name": "never", "timeout_seconds": 1, "command": ["/bin/false"]]]
        }
        var failing = try host.present()
        failing.journal = { _ in Array("what the unit said\n".utf8) }
        let runner = HealthRunner(settings: settings, host: failing, fetcher: DirectFetcher())
        let report = runner.run { _ in }
        #expect(!report.hasPassed)
        #expect(report.cause.hasPrefix("health check 'never': '/bin/false' ended with status 1"))
        #expect(try runner.handleFailure(report).hasPrefix("rebooting"))
        #expect(host.state.withLock { $0.reboots } == 1)
        for _ in 0..<3 { try host.boot() }
        #expect(host.running == "1.0")
        let agent = try host.agent()
        try agent.reconcile()
        #expect(try agent.status().denied.first?.cause == report.cause)
        #expect(try host.directory.appending("var/lib/ballast/journal/1.1.log").text() == "what the unit said\n")
        // A version that has no tries to lose stays up.
        host.state.withLock { $0.counted = nil }
        #expect(try runner.handleFailure(report).hasPrefix("degraded"))
        #expect(host.state.withLock { $0.reboots } == 1)
    }

    @Test("after a rollback and an allowance the slot's own copy boots again, and no blob is fetched")
    func rollbackAndAllow() async throws {
        let directory = try TemporaryDirectory()
        let (host, repository) = try await Self.prepare(in: directory.path)
        _ = try host.agent().update { _ in }
        try host.boot()
        let second = try host.prove()
        let done = try second.rollback(reboot: true, force: false)
        #expect(done.text == "the next boot is that of 1.0; 1.1 is denied here until 'ballastctl allow 1.1'")
        #expect(host.state.withLock { $0.reboots } == 1)
        #expect(try host.boot() == "1.0")
        let first = try host.prove()
        #expect(try first.status().phase == .good(version: "1.0"))
        #expect(try first.status().other?.standing == .denied)
        #expect(try first.update { _ in }.outcome == .nothing)
        let refused = #expect(throws: UpdateAgentFault.self) { try first.rollback(reboot: false, force: false) }
        #expect(refused?.code == .nothingGood)
        #expect(
            refused?.message.contains("slot b holds 1.1, denied here: an operator went back from it to 1.0") == true)
        _ = try first.allow("1.1")
        let before = host.source.delivered.withLock { $0 }
        #expect(try first.check().isInOtherSlot)
        let result = try first.update { _ in }
        #expect(result.outcome == .activated)
        #expect(result.bytesFetched == 0)
        #expect(host.source.delivered.withLock { $0 } == before)
        #expect(try host.boot() == "1.1")
        let third = try host.prove()
        // 1.2 replaces 1.0, and then there is 1.1 to go back to.
        try await repository.publish(try Self.newest.get())
        #expect(try third.update { _ in }.version == "1.2")
        #expect(
            try third.history().map(\.kind)
                == [.staged, .proved, .rollback, .restarting, .proved, .allowed, .activated, .proved, .staged])
    }

    @Test("a slot that no longer holds what its label says is written anew")
    func rottenSlot() async throws {
        let directory = try TemporaryDirectory()
        let (host, _) = try await Self.prepare(in: directory.path)
        _ = try host.agent().update { _ in }
        _ = try host.agent().deny("1.1", reason: nil)
        #expect(try host.boot() == "1.0")
        let store = try host.machine.slots(running: try Self.old.get().tree.rootHash)
        let slot = try #require(try store.slots().last)
        let storage = try store.root(of: slot, writable: true)
        try [UInt8](repeating: 1, count: 16).withUnsafeBytes { buffer in
            try Result { () throws(BlockDeviceFault) in try storage.write(buffer, at: 1_000_000) }.get()
        }
        let agent = try host.agent()
        _ = try agent.allow("1.1")
        #expect(try agent.update { _ in }.outcome == .staged)
        #expect(
            try contents(host, of: "1.1", count: (2_000_000, 0)).root
                == Array(try Self.new.get().bytes.prefix(2_000_000)))
    }

    @Test("with nothing good in the other slot, a rollback changes nothing and says what is there")
    func nothingGood() async throws {
        let directory = try TemporaryDirectory()
        let (host, _) = try await Self.prepare(in: directory.path)
        let agent = try host.agent()
        let empty = #expect(throws: UpdateAgentFault.self) { try agent.rollback(reboot: true, force: false) }
        #expect(empty?.code == .nothingGood)
        #expect(empty?.message == "there is nothing good to go back to: slot b is empty")
        _ = try agent.update { _ in }
        let unproven = #expect(throws: UpdateAgentFault.self) { try agent.rollback(reboot: true, force: false) }
        #expect(
            unproven?.message
                == "there is nothing good to go back to: slot b holds 1.1, which has not proved itself here")
        #expect(try host.order() == ["1.1+3", "1.0"])
        #expect(host.state.withLock { $0.reboots } == 0)
        #expect(try agent.status().denied.isEmpty)
    }

    @Test("while a version still has to prove itself, the slot with the way back is not written")
    func proving() async throws {
        let directory = try TemporaryDirectory()
        let (host, repository) = try await Self.prepare(in: directory.path)
        _ = try host.agent().update { _ in }
        try host.boot()
        try await repository.publish(try Self.newest.get())
        let agent = try host.agent()
        try agent.reconcile()
        #expect(try agent.status().phase == .proving(version: "1.1"))
        let fault = #expect(throws: UpdateAgentFault.self) { try agent.update { _ in } }
        #expect(fault?.code == .busy)
        #expect(fault?.message == "1.1 is still proving itself, and the other slot is the way back")
        #expect(try agent.check().available == "1.2")
        #expect(try agent.status().phase == .proving(version: "1.1"))
        #expect(try host.prove().update { _ in }.version == "1.2")
    }

    @Test("between a rollback and its reboot no update takes the slot that was gone back to")
    func rollbackWaits() async throws {
        let directory = try TemporaryDirectory()
        let (host, repository) = try await Self.prepare(in: directory.path)
        _ = try host.agent().update { _ in }
        try host.boot()
        let agent = try host.prove()
        _ = try agent.rollback(reboot: false, force: false)
        try await repository.publish(try Self.newest.get())
        let fault = #expect(throws: UpdateAgentFault.self) { try agent.update { _ in } }
        #expect(fault?.message == "the host goes back to 1.0 with the next reboot")
        _ = try agent.reboot(force: false)
        #expect(throws: UpdateAgentFault.self) { try agent.update { _ in } }
        #expect(try host.boot() == "1.0")
        #expect(try host.prove().update { _ in }.version == "1.2")
    }

    @Test("a host whose loader never takes the new version does not reboot for it for ever")
    func missedBoots() async throws {
        let directory = try TemporaryDirectory()
        let (host, _) = try await Self.prepare(in: directory.path)
        _ = try host.agent().update { _ in }
        for boot in 1...3 {
            host.state.withLock { $0.boots = boot }
            let agent = try host.agent()
            try agent.reconcile()
            // The agent restarts, the host does not: nothing is counted.
            try agent.reconcile()
            let setbacks = try agent.status().setbacks
            #expect(setbacks.map(\.cause) == (boot < 3 ? [] : ["the boot loader did not start it in 3 boots"]))
            #expect(setbacks.allSatisfy { $0.kind == .notStarted })
        }
    }

    @Test("without an entry of what runs, the only other one is not removed")
    func missingEntry() async throws {
        let directory = try TemporaryDirectory()
        let (host, repository) = try await Self.prepare(in: directory.path)
        _ = try host.agent().update { _ in }
        try await repository.publish(try Self.newest.get())
        try host.machine.bootFiles.remove(try Self.old.get().kernelName.description)
        let agent = try host.agent()
        let fault = #expect(throws: UpdateAgentFault.self) { try agent.update { _ in } }
        #expect(fault?.code == .storage)
        #expect(try host.order() == ["1.1+3"])
    }

    @Test("a reboot policy of 'immediate' reboots once everything is in place")
    func immediate() async throws {
        let directory = try TemporaryDirectory()
        let (host, _) = try await Self.prepare(in: directory.path)
        let agent = try host.agent { $0["reboot"] = "immediate" }
        #expect(try agent.update { _ in }.isRebooting)
        #expect(host.state.withLock { $0.reboots } == 1)
        #expect(try agent.status().phase == .rebooting(version: "1.1"))
        #expect(try host.boot() == "1.1")
    }
}
