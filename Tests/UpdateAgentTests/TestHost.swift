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
import Trust
import UpdateAgent
import Verity

/// Where a test host keeps its slots and boot entries.
protocol TestMachine: Sendable {
    func slots(running: SHA256Digest) throws(BootControlFault) -> any SlotStore
    var bootFiles: any BootFiles { get }
}

extension TestMachine {
    /// What the loader tries, in its order: versions with their counters, such as `1.1+3`.
    func order() throws -> [String] {
        try BootEntries(bootFiles, product: "box").list().map { entry in
            switch entry.name.standing {
            case .good: entry.name.version
            case .trying(let left, 0): "\(entry.name.version)+\(left)"
            case .trying(let left, let done): "\(entry.name.version)+\(left)-\(done)"
            case .bad(0): "\(entry.name.version)+0"
            case .bad(let done): "\(entry.name.version)+0-\(done)"
            }
        }
    }
}

/// A disk image with a real GPT, and a directory for the boot partition.
struct FileMachine: TestMachine {
    static let mebibyte: Int64 = 1 << 20

    let disk: FilePath
    let boot: FilePath

    /// Slot a holds `image`, which is good.
    init(in directory: FilePath, running image: TestImage, slotSize: Int64 = 4 * mebibyte) throws {
        disk = directory.appending("disk")
        boot = directory.appending("efi")
        for directory in [BootEntryName.directory, KernelName.directory(product: "box")] {
            try boot.pushing(FilePath(directory)).makeDirectories()
        }
        try boot.pushing(FilePath(image.entry.path)).replaceContents(with: image.entry.bytes)
        try boot.pushing(FilePath(image.kernelName.description)).replaceContents(with: image.kernel)
        let mebibyte = Self.mebibyte
        let file = try OpenFile(disk, .readWrite, options: [.create])
        try file.resize(to: 4 * mebibyte + 2 * (slotSize + mebibyte))
        let halves = DerivedUUID.halves(of: image.tree.rootHash)
        let second = 2 * mebibyte + slotSize + mebibyte
        try PartitionTable.create(
            on: disk, identifier: DerivedUUID.text("disk"), sectorSize: 512,
            partitions: [
                Partition(
                    type: .efiSystem, uuid: DerivedUUID.text("esp"), label: "esp", offset: mebibyte, size: mebibyte),
                Partition(
                    type: .rootX64, uuid: halves.root, label: "box_\(image.version)", offset: 2 * mebibyte,
                    size: slotSize),
                Partition(
                    type: .rootVerityX64, uuid: halves.verity, label: "box_\(image.version)",
                    offset: 2 * mebibyte + slotSize, size: mebibyte),
                Partition(
                    type: .rootX64, uuid: DerivedUUID.text("b"), label: "_empty", offset: second, size: slotSize),
                Partition(
                    type: .rootVerityX64, uuid: DerivedUUID.text("bv"), label: "_empty", offset: second + slotSize,
                    size: mebibyte),
            ])
        try image.bytes.withUnsafeBytes { buffer in
            try Result { () throws(FileIOFault) in try file.write(buffer, at: 2 * mebibyte) }.get()
        }
    }

    func slots(running: SHA256Digest) throws(BootControlFault) -> any SlotStore {
        try HostDisk(disk, rootHash: running, architecture: "amd64")
    }

    var bootFiles: any BootFiles { BootDirectory(boot) }
}

/// A host that boots as systemd-boot lets it, and the agent on it.
final class TestHost: Sendable {
    struct State {
        var running: String
        var boots = 0
        /// The entry that was booted, if it is counted.
        var counted: BootEntryName?
        var reboots = 0
        /// Whether nobody carries out a reboot.
        var isStuck = false
        var agentRestarts = 0
        var inhibitors: [String] = []
        /// What units were started, and what the next of each comes to; nil where it succeeds.
        var startedUnits: [String] = []
        /// Called with each unit that is started.
        var onStart: @Sendable (String) -> Void = { _ in }
        var unitProblems: [String: String] = [:]
        /// Units that there are not.
        var missingUnits: Set<String> = []
        var stoppedUnits: [String] = []
        var now = TestRepository.now
    }

    let directory: FilePath
    let machine: any TestMachine
    let source: TestSource
    let state: Mutex<State>
    private let rootHashes: [String: SHA256Digest]

    /// - Parameter images: all that may ever run, the one that runs first.
    init(in directory: FilePath, machine: any TestMachine, source: TestSource, images: [TestImage]) throws {
        self.directory = directory.appending("root")
        self.machine = machine
        self.source = source
        rootHashes = Dictionary(uniqueKeysWithValues: images.map { ($0.version, $0.tree.rootHash) })
        state = Mutex(State(running: images.first?.version ?? ""))
        try self.directory.makeDirectories()
    }

    var running: String { state.withLock { $0.running } }

    func settings(_ change: (inout [String: JSONValue]) -> Void = { _ in }) throws -> AgentSettings {
        var members: [String: JSONValue] = [
            "format": 1, "product": "box", "architecture": "amd64", "repository": "http://127.0.0.1:1",
            "channel": "stable", "poll": ["interval_seconds": 3600, "jitter_seconds": 0], "reboot": "manual",
            "boot": ["tries": 3], "health": [],
        ]
        change(&members)
        let paths = HostPaths(prefix: directory)
        try directory.appending("usr/lib/ballast").makeDirectories()
        try directory.appending("usr/lib/ballast/agent.json").replaceContents(with: JSONValue.object(members).text())
        return try AgentSettings.load(paths).settings
    }

    /// The machine as it is after this boot.
    func present() throws -> Host {
        let (running, boots) = state.withLock { ($0.running, $0.boots) }
        let hash = try rootHash(of: running)
        let machine = machine
        return Host(
            paths: HostPaths(prefix: directory), running: try ImageVersion(running), bootIdentifier: "boot \(boots)",
            identifier: "machine", slots: { () throws(BootControlFault) in try machine.slots(running: hash) },
            bootFiles: { () throws(BootControlFault) in machine.bootFiles },
            countedEntry: { [weak self] in
                self?.state.withLock { state in state.counted.map { CountedEntry(name: $0) } }
            },
            reboot: { [weak self] () throws(UpdateAgentFault) in
                let isStuck = self?.state.withLock { state in
                    if !state.isStuck { state.reboots += 1 }
                    return state.isStuck
                }
                if isStuck == true { throw UpdateAgentFault(.system, "systemd does not answer") }
            },
            restartAgent: { [weak self] () throws(UpdateAgentFault) in
                self?.state.withLock { $0.agentRestarts += 1 }
            },
            runCommand: { [weak self] (words, _) throws(UpdateAgentFault) in
                self?.state.withLock { $0.startedUnits.append(words.joined(separator: " ")) }
            },
            stopUnit: { [weak self] (unit) throws(UpdateAgentFault) in
                self?.state.withLock { $0.stoppedUnits.append(unit) }
            },
            startUnit: { [weak self] (unit, seconds) throws(UpdateAgentFault) in try self?.start(unit, seconds) },
            inhibitors: { [weak self] in self?.state.withLock { $0.inhibitors } ?? [] },
            journal: { Array("journal of \($0 ?? "this boot")\n".utf8) },
            now: { [weak self] in self?.state.withLock { $0.now } ?? TestRepository.now }, random: { _ in 0 })
    }

    /// The agent on it.
    func agent(_ change: (inout [String: JSONValue]) -> Void = { _ in }) throws -> Agent {
        let (settings, host) = (try settings(change), try present())
        let contract = RestartContract(settings, host: host, fetcher: DirectFetcher())
        return Agent(settings: settings, host: host, source: source, contract: contract, checkpoint: 1 << 18)
    }

    private func start(_ unit: String, _ seconds: Int) throws(UpdateAgentFault) {
        if state.withLock({ $0.missingUnits.contains(unit) }) {
            throw UpdateAgentFault(.notFound, "there is no unit \(unit)")
        }
        let (problem, onStart) = state.withLock { state in
            state.startedUnits.append(unit)
            return (state.unitProblems[unit], state.onStart)
        }
        onStart(unit)
        if let problem { throw UpdateAgentFault(.system, problem) }
    }

    private func rootHash(of version: String) throws -> SHA256Digest {
        guard let hash = rootHashes[version] else { throw UpdateAgentFault(.notFound, "no image \(version)") }
        return hash
    }

    /// Boots the entry that systemd-boot would, and counts as it does.
    ///
    /// - Returns: the version that runs then.
    @discardableResult
    func boot() throws -> String {
        guard let chosen = try BootEntries(machine.bootFiles, product: "box").list().first else {
            throw UpdateAgentFault(.notFound, "nothing boots")
        }
        let next: BootEntryName.Standing? =
            switch chosen.name.standing {
            case .trying(let left, let done) where left > 1: .trying(left: left - 1, done: done + 1)
            case .trying(_, let done), .bad(let done): .bad(done: done + 1)
            case .good: nil
            }
        if let next { try rename(chosen, next) }
        state.withLock { state in
            state.running = chosen.name.version
            state.boots += 1
            state.counted = next.map { chosen.name.with($0) }
        }
        return chosen.name.version
    }

    /// What the loader and systemd-bless-boot do.
    private func rename(_ entry: BootEntry, _ standing: BootEntryName.Standing) throws {
        let entries = BootEntries(machine.bootFiles, product: "box")
        try entries.add(entry.name.with(standing), kernel: entry.kernel)
        if entry.name.standing != standing { try entries.remove([entry.fileName]) }
    }

    /// Gives the first entry of `version` another counter, as somebody with a shell would.
    func set(_ standing: BootEntryName.Standing, of version: String) throws {
        let entries = try BootEntries(machine.bootFiles, product: "box").list()
        guard let entry = entries.first(where: { $0.name.version == version }) else {
            throw UpdateAgentFault(.notFound, "\(version) has no entry")
        }
        try rename(entry, standing)
    }

    /// A power cut has lost what was written last.
    func removeFirstEntry() throws {
        let entries = BootEntries(machine.bootFiles, product: "box")
        guard let first = try entries.list().first else { return }
        try entries.remove([first.fileName])
    }

    /// What the loader tries, in its order: versions with their counters, such as `1.1+3`.
    func order() throws -> [String] { try machine.order() }

    /// Somebody takes `version` at the boot menu, whose entry is not counted.
    func choose(_ version: String) {
        state.withLock { state in
            state.running = version
            state.boots += 1
            state.counted = nil
        }
    }

    /// What ballast-health.service does where no check holds, and what it says.
    func failHealth() throws -> String {
        let settings = try settings { members in
            members["health"] = [["name": "never", "timeout_seconds": 1, "command": ["/bin/false"]]]
        }
        let runner = HealthRunner(settings: settings, host: try present(), fetcher: DirectFetcher())
        return try runner.handleFailure(runner.run { _ in })
    }

    /// What ballast-good.service does. That the loader has counted this boot stays so.
    func prove() throws -> Agent {
        let agent = try agent()
        try agent.reconcile()
        _ = try agent.recordGood()
        return agent
    }
}
