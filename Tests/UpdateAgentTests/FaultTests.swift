import BlockDevice
import BootControl
import Cryptography
import Dispatch
import Fault
import FileIO
import Publishing
import Release
import Synchronization
import SystemPackage
import TestSupport
import Testing
import Trust
import UpdateAgent

@Suite("An update that goes wrong")
struct FaultTests {
    /// The failed update's fault. The version that runs is as it was, and the new one does not boot.
    func failure(_ host: TestHost, _ agent: Agent) throws -> UpdateAgentFault {
        let fault = try #require(throws: UpdateAgentFault.self) { try agent.update { _ in } }
        #expect(try host.order() == ["1.0"])
        let status = try agent.status()
        #expect(status.phase == .idle)
        #expect(status.lastError == fault.description)
        #expect(try agent.history().last?.kind == .failed)
        #expect(try host.boot() == "1.0")
        return fault
    }

    @Test("a flipped byte on the way never reaches the disk, and once it comes right the update succeeds")
    func flipped() async throws {
        let directory = try TemporaryDirectory()
        let (host, _) = try await UpdateTests.prepare(in: directory.path)
        let agent = try host.agent()
        host.source.faults.withLock { $0.flipped = 700_000 }
        let fault = try failure(host, agent)
        #expect(fault.code == .mismatch)
        #expect(fault.description.contains("damaged"))
        host.source.faults.withLock { $0.flipped = nil }
        #expect(try agent.update { _ in }.outcome == .staged)
        #expect(try agent.status().lastError == nil)
    }

    @Test("after a cut connection only what is missing is fetched, also by the next process")
    func resumed() async throws {
        let directory = try TemporaryDirectory()
        let (host, repository) = try await UpdateTests.prepare(in: directory.path)
        let size = try #require(try blobs(repository).map(\.count).max())
        host.source.faults.withLock { $0.cutAfter = size * 2 / 3 }
        let fault = try failure(host, try host.agent())
        #expect(fault.code == .transfer)
        let first = host.source.delivered.withLock { $0 }
        host.source.faults.withLock { $0.cutAfter = nil }
        let agent = try host.agent()
        try agent.reconcile()
        #expect(try agent.update { _ in }.outcome == .staged)
        let all = host.source.delivered.withLock { $0 }
        let image = try UpdateTests.new.get()
        // At most the frame that was under way, and the index, came twice.
        #expect(all < size + image.kernel.count + (1 << 18) + 4096)
        #expect(all > first)
        #expect(try host.boot() == "1.1")
    }

    @Test("blocks that changed since an interrupted update are fetched again and not trusted")
    func resumedOverRot() async throws {
        let directory = try TemporaryDirectory()
        let (host, repository) = try await UpdateTests.prepare(in: directory.path)
        let size = try #require(try blobs(repository).map(\.count).max())
        host.source.faults.withLock { $0.cutAfter = size * 2 / 3 }
        _ = try failure(host, try host.agent())
        host.source.faults.withLock { $0.cutAfter = nil }
        let old = try UpdateTests.old.get()
        let store = try host.machine.slots(running: old.hash)
        let storage = try store.root(of: try #require(try store.slots().last), writable: true)
        try [UInt8](repeating: 1, count: 16).withUnsafeBytes { buffer in
            try Result { () throws(BlockDeviceFault) in try storage.write(buffer, at: 300_000) }.get()
        }
        #expect(try host.agent().update { _ in }.outcome == .staged)
        #expect(try host.boot() == "1.1")
    }

    private func blobs(_ repository: TestRepository) throws -> [[UInt8]] {
        let path = repository.path.appending("blobs")
        return try path.directoryEntries().compactMap { FilePath.Component($0) }.map {
            try path.appending($0).contents()
        }
    }

    @Test("frames that are too few or too many are refused", arguments: [-1, 1])
    func wrongLength(change: Int) async throws {
        let directory = try TemporaryDirectory()
        let (host, repository) = try await UpdateTests.prepare(in: directory.path)
        let trusted = try host.source.refresh()
        let name = try #require(ReleaseEntry.all(in: trusted.targets).last?.name.description)
        let release = try ReleaseDocument(
            parsing: trusted.fetch(name, limit: ReleaseDocument.byteLimit), source: name)
        let path = repository.path.appending(release.image.frames.path)
        let bytes = try path.contents()
        try path.replaceContents(with: change < 0 ? Array(bytes.dropLast()) : bytes + [0])
        let fault = try failure(host, try host.agent())
        #expect(fault.code == .mismatch)
        #expect(fault.description.contains(change < 0 ? "frames end before the last one" : "damaged zstd frame"))
        guard change < 0 else { return }
        try FaultCatalogue.note(
            .repository, "the image in it is too short", says: "\(fault)", then: "nothing boots but what did")
    }

    @Test("a slot that does not come to the signed root hash never gets a label or an entry")
    func wrongRootHash() async throws {
        let directory = try TemporaryDirectory()
        let (host, repository) = try await UpdateTests.prepare(in: directory.path, publishing: [])
        try await repository.publish(try UpdateTests.new.get(), rootHash: SHA256Digest(of: "another".utf8))
        let fault = try failure(host, try host.agent())
        #expect(fault.code == .mismatch)
        #expect(fault.message.hasPrefix("the slot's root hash is \(try UpdateTests.new.get().hash) where"))
        try FaultCatalogue.note(
            .repository, "the image does not come to the signed root hash", says: "\(fault)",
            then: "its slot gets no name and no entry")
        #expect(try host.agent().status().other == OtherSlot(name: "b", version: nil, standing: .empty))
    }

    @Test("an image larger than its slot is refused before anything is changed")
    func tooLarge() async throws {
        let directory = try TemporaryDirectory()
        let (host, repository) = try await UpdateTests.prepare(in: directory.path)
        _ = try host.agent().update { _ in }
        let large = try TestImage(version: "1.3", blocks: 1100)
        try await repository.publish(large)
        let before = try host.order()
        let agent = try host.agent()
        let fault = #expect(throws: UpdateAgentFault.self) { try agent.update { _ in } }
        #expect(fault?.code == .noSpace)
        #expect(
            fault?.description
                == "slot b: 1.3 needs 4505600 bytes of the slot, which has 4194304: 1 MiB are missing; publish a smaller "
                + "image, or install the host anew with larger slots")
        #expect(try host.order() == before)
        try FaultCatalogue.note(
            .repository, "the image is larger than the slot", says: fault?.description ?? "", then: "nothing changes")
        #expect(try agent.status().other?.version == "1.1")
    }

    @Test(
        "who asks for what runs already gets what that comes to, whoever began it; another process is told",
        arguments: [true, false])
    func joined(isOperators: Bool) async throws {
        let directory = try TemporaryDirectory()
        let (host, _) = try await UpdateTests.prepare(in: directory.path)
        let agent = try host.agent()
        let other = try host.agent()
        let answers = Mutex<[Result<UpdateResult, UpdateAgentFault>]>([])
        let phases = Mutex<Set<String>>([])
        let group = DispatchGroup()
        let hasBegun = Mutex(false)
        host.source.faults.withLock { faults in
            faults.onPiece = {
                let isFirst = hasBegun.withLock { hasBegun in
                    defer { hasBegun = true }
                    return !hasBegun
                }
                guard isFirst else { return }
                let isBusy = #expect(throws: UpdateAgentFault.self) { try other.update { _ in } }
                #expect(isBusy?.description.hasPrefix("another process of the agent works already") == true)
                let refused = #expect(throws: UpdateAgentFault.self) { try agent.check(waits: false) }
                #expect(refused?.message == "'update' runs already")
                #expect(refused?.remedy == "wait for its end, or end it with 'ballastctl deny 1.1'")
                let joined = DispatchGroup()
                joined.enter()
                DispatchQueue(label: "operator").async(group: group) {
                    let isFirst = Mutex(true)
                    let answer = Result { () throws(UpdateAgentFault) in
                        try agent.update { progress in
                            phases.withLock { _ = $0.insert(progress.phase.name) }
                            let leaves = isFirst.withLock { isFirst in
                                defer { isFirst = false }
                                return isFirst
                            }
                            if leaves { joined.leave() }
                        }
                    }
                    answers.withLock { $0.append(answer) }
                }
                // The job goes on when it has company.
                joined.wait()
            }
        }
        let result = try agent.update(isOperator: isOperators) { _ in }
        #expect(result.outcome == .staged)
        group.wait()
        #expect(try answers.withLock { $0 }.map { try $0.get() } == [result])
        #expect(phases.withLock { $0 }.isSuperset(of: ["staging", "staged"]))
    }

    @Test("a version that is denied while it is written does not become bootable")
    func deniedMeanwhile() async throws {
        let directory = try TemporaryDirectory()
        let (host, _) = try await UpdateTests.prepare(in: directory.path)
        let agent = try host.agent()
        host.source.faults.withLock { faults in
            faults.onPiece = { _ = try? agent.deny("1.1", reason: "it is bad") }
        }
        let fault = try failure(host, agent)
        #expect(fault.code == .denied)
        #expect(fault.description == "1.1 is denied here: it is bad; 'ballastctl allow 1.1' takes that back")
    }

    @Test("what is ready to boot and denied while another job runs does not boot")
    func deniedDuringJob() async throws {
        let directory = try TemporaryDirectory()
        let (host, _) = try await UpdateTests.prepare(in: directory.path)
        let agent = try host.agent()
        _ = try agent.update { _ in }
        let denied = Mutex<UpdateAgentFault?>(nil)
        host.source.faults.withLock { faults in
            faults.onRefresh = {
                do throws(UpdateAgentFault) { _ = try agent.deny("1.1", reason: "too early") } catch {
                    denied.withLock { $0 = error }
                }
            }
        }
        _ = try agent.check()
        #expect(denied.withLock { $0 } == nil)
        #expect(try host.order().contains("1.1+0"))
        #expect(try host.boot() == "1.0")
    }

    @Test("what is ready to boot and then denied does not boot")
    func deniedAfterwards() async throws {
        let directory = try TemporaryDirectory()
        let (host, _) = try await UpdateTests.prepare(in: directory.path)
        let agent = try host.agent()
        _ = try agent.update { _ in }
        #expect(try agent.deny("1.1", reason: "too early").text == "1.1 is denied here: too early")
        #expect(try agent.status().phase == .idle)
        #expect(try host.order().contains("1.1+0"))
        #expect(try host.boot() == "1.0")
        let fault = #expect(throws: UpdateAgentFault.self) { try agent.deny("1.0", reason: nil) }
        #expect(fault?.description == "1.0 is what runs here; 'ballastctl rollback' goes back from it and denies it")
    }
}
