import BootControl
import BootLoader
public import Fault
import FileIO
import JSON
import Release
import Synchronization
import SystemPackage
import Terminal
import Transfer
import Trust

/// The update agent of one host.
public final class Agent: UpdateService {
    struct Live {
        /// The version into which the host was asked to reboot.
        var rebootAsked: (target: String, time: ContinuousClock.Instant)?
        /// How far a restart is.
        var restart = LiveRestart()
        /// Whether what a job brings is denied, or the host pinned to another version, since it began.
        var isUnwanted = false
        /// Whether this process is about to end.
        var isStopping = false
        var nextCheck: UTCTime?
        /// The same by a clock that nobody sets.
        var due: ContinuousClock.Instant?
        var slots: SlotView?
        var observers: [UInt64: @Sendable (HostStatus) -> Void] = [:]
        var nextObserver: UInt64 = 0
    }

    /// The two slots as they were last seen.
    struct SlotView: Sendable {
        var running: String
        var other: String
        var otherVersion: String?
        var otherEntry: BootEntryName.Standing?
    }

    let settings: AgentSettings
    let settingsProblem: String?
    let host: Host
    let source: (any BlobSource)?
    let checkpoint: Int64
    let store: HostStore
    let live = Mutex(Live())
    /// Since when this process is there, by a clock that nobody sets.
    let startTime = ContinuousClock.now
    let jobs = JobBoard()
    let contract: RestartContract
    /// What the operator's settings were when this process began.
    let overlay: [UInt8]?

    var running: String { host.running.description }

    /// An agent that takes releases from `source`.
    ///
    /// - Parameters:
    ///   - settingsProblem: what is wrong with the operator's settings, to be shown.
    ///   - source: nil where the image names no repository.
    ///   - contract: what may hold a restart back, or gets ready for it.
    ///   - overlay: the operator's settings as they were read.
    ///   - checkpoint: after how many bytes of a download an update flushes what came and notes how far it is. So many, and a frame,
    ///     come again after a power cut.
    public init(
        settings: AgentSettings, settingsProblem: String? = nil, host: Host, source: (any BlobSource)?,
        contract: RestartContract = RestartContract(), overlay: [UInt8]?? = nil, checkpoint: Int64 = 2 << 20
    ) {
        self.settings = settings
        self.settingsProblem = settingsProblem
        self.host = host
        self.source = source
        self.contract = contract
        self.overlay = overlay ?? host.overlay()
        self.checkpoint = checkpoint
        store = HostStore(host: host, settings: settings)
    }

    // MARK: Status

    /// What the host runs, what it is doing and why.
    public func status() throws(UpdateAgentFault) -> HostStatus {
        let known = try store.read()
        // While a job changes the table, what was there before it is shown.
        if jobs.current == nil { refreshSlots() }
        return status(known)
    }

    private func status(_ known: AgentState) -> HostStatus {
        let progress = jobs.current?.progress
        let live = live.withLock { live in
            // What it came to in the end is no longer how far it is.
            let isAtIt =
                switch known.phase {
                case .checking, .planning, .staging, .staged: true
                case .idle, .available, .waiting, .rebooting, .proving, .good, .rolledBack, .unknown: false
                }
            return (live.slots, isAtIt ? progress : nil, live.nextCheck)
        }
        return HostStatus(
            product: settings.product, version: running, architecture: settings.architecture, slot: live.0?.running,
            other: live.0.map { other($0, known) }, phase: known.phase, progress: live.1, pinned: known.pinned,
            denied: known.denied, setbacks: known.setbacks.filter { !ImageVersion.areEqual($0.version, running) },
            lastCheck: known.lastCheck, nextCheck: live.2,
            reason: known.reason,
            lastError: known.bootProblem ?? known.lastError ?? known.readProblem ?? settingsProblem,
            repository: settings.mirrors.first.map { WebAddress.redacted($0) },
            mirrors: settings.mirrors.map { WebAddress.redacted($0) }, restart: restartStatus(known),
            channel: settings.channel,
            agent: ProgramVersion.current)
    }

    private func other(_ slots: SlotView, _ known: AgentState) -> OtherSlot {
        guard let version = slots.otherVersion else {
            return OtherSlot(name: slots.other, version: nil, standing: .empty)
        }
        let standing: OtherSlot.Standing =
            if known.denial(of: version) != nil {
                .denied
            } else if known.revoker(of: version) != nil {
                .revoked
            } else if known.pending?.version == version {
                .activated
            } else if known.isProved(version, entry: slots.otherEntry) {
                .good
            } else {
                .unproven
            }
        return OtherSlot(name: slots.other, version: version, standing: standing)
    }

    /// Looks at the disk. A host whose disk is not one of ours has no slots to show.
    func refreshSlots() {
        let view = try? slotView()
        live.withLock { $0.slots = view }
    }

    func slotView() throws(UpdateAgentFault) -> SlotView {
        try UpdateAgentFault.booting { () throws(BootControlFault) in
            let slots = try host.slots().slots()
            guard let running = slots.first(where: \.isRunning), let other = slots.first(where: { !$0.isRunning })
            else {
                throw BootControlFault(.notOurs, "there are no two slots")
            }
            let version = other.version(of: settings.product)
            let entry = try version.flatMap { version throws(BootControlFault) in
                try store.entries().list().first { $0.name.version == version }?.name.standing
            }
            return SlotView(running: running.name, other: other.name, otherVersion: version, otherEntry: entry)
        }
    }

    // MARK: Observers

    /// Calls `observer` with the current status and each that follows.
    public func watch(_ observer: @escaping @Sendable (HostStatus) -> Void) -> WatchRegistration {
        // First, so that nothing is missed; and what is so now is not overtaken by what was before.
        let turn = Mutex(())
        let key = live.withLock { live in
            live.nextObserver += 1
            live.observers[live.nextObserver] = { status in turn.withLock { _ in observer(status) } }
            return live.nextObserver
        }
        turn.withLock { _ in
            if let now = try? status() { observer(now) }
        }
        return WatchRegistration { [weak self] in self?.live.withLock { _ = $0.observers.removeValue(forKey: key) } }
    }

    /// Tells the observers what is so now.
    func notify() {
        let observers = live.withLock { Array($0.observers.values) }
        guard !observers.isEmpty, let known = try? store.read() else { return }
        let status = status(known)
        for observer in observers { observer(status) }
    }

    /// Changes what does not concern the boot partition, then tells the observers.
    @discardableResult
    func change<Result>(
        _ body: (inout AgentState) throws(UpdateAgentFault) -> Result
    ) throws(UpdateAgentFault) -> Result {
        let result = try store.change(body)
        notify()
        return result
    }

    /// Changes what boots, as ``HostStore/decide(_:kernel:clearing:_:)`` has it, then tells the observers.
    @discardableResult
    func decide<Result>(
        _ demand: HostStore.Demand = .everything, kernel: KernelName? = nil, clearing: Bool = false,
        _ body: (inout AgentState, BootFacts?) throws(UpdateAgentFault) -> Result
    ) throws(UpdateAgentFault) -> Result {
        // What was saved is so even where what comes after it is not.
        defer { notify() }
        return try store.decide(demand, kernel: kernel, clearing: clearing, body)
    }

    // MARK: Jobs

    /// Does `body` as the one job that runs, or waits for a job that does the same and gives what that comes to.
    ///
    /// - Parameters:
    ///   - isOperators: whether a person asks.
    ///   - waits: whether to wait where another job runs.
    ///   - hasLeft: whether whoever asks has left, and need not wait any more.
    ///   - progress: told how far the job is, whoever began it.
    /// - Throws: `busy` where another job runs, and nobody waits for it.
    func job(
        _ kind: JobBoard.Kind, isOperators: Bool, waits: Bool, hasLeft: () -> Bool = { false },
        progress: @escaping @Sendable (UpdateProgress) -> Void = { _ in },
        _ body: (JobBoard.Job) throws(UpdateAgentFault) -> JobBoard.Outcome
    ) throws(UpdateAgentFault) -> JobBoard.Outcome {
        while true {
            if live.withLock({ $0.isStopping }) { throw Self.stopping }
            let (job, isNew) = jobs.begin(kind, isOperators: isOperators)
            guard !isNew else {
                job.observe(progress)
                let outcome = Result { () throws(UpdateAgentFault) in
                    try alone { () throws(UpdateAgentFault) in try body(job) }
                }
                jobs.end(job, outcome)
                refreshSlots()
                notify()
                return try outcome.get()
            }
            guard waits else {
                let remedy = job.version.map { "wait for its end, or end it with 'ballastctl deny \($0)'" }
                throw Self.busy("'\(job.kind.rawValue)' runs already", remedy: remedy ?? Self.patience)
            }
            let observer = job.observe(progress)
            defer { job.dismiss(observer) }
            let outcome = Result { () throws(UpdateAgentFault) in try job.outcome(hasLeft: hasLeft) }
            if hasLeft() { throw Self.busy("'\(job.kind.rawValue)' runs, and nobody waits for its end any more") }
            if job.answers(kind, isOperators: isOperators) { return try outcome.get() }
        }
    }

    /// Runs `body` while no other process of the agent works.
    private func alone<Result>(_ body: () throws(UpdateAgentFault) -> Result) throws(UpdateAgentFault) -> Result {
        refreshSlots()
        let lock: FileLock?
        do throws(FileIOFault) {
            try host.paths.state.makeDirectories()
            lock = try FileLock.ifFree(host.paths.state.appending("job.lock"))
        } catch {
            throw UpdateAgentFault(.state, "the agent's state cannot be kept", cause: error)
        }
        guard let lock else { throw Self.busy("another process of the agent works already") }
        defer { _ = lock }
        return try body()
    }

    /// Ends what is fetched: this process is about to end. What has come is kept.
    public func stop() { live.withLock { $0.isStopping = true } }

    var isStopping: Bool { live.withLock { $0.isStopping } }

    /// Whether what is being fetched is to be given up.
    var isGivenUp: Bool { live.withLock { $0.isUnwanted || $0.isStopping } || isOutdated }

    /// Whether what runs was begun by the host itself, with settings that are not those of now: it goes on with these.
    var isOutdated: Bool { jobs.current?.isOperators == false && isStartDue && haveSettingsChanged() }

    /// Why a job ends that goes on by itself, or nil where it has failed.
    var interruption: UpdateAgentFault? {
        if isStopping { return Self.stopping }
        return isOutdated ? Self.busy("the agent's settings have changed", remedy: "try again when it runs anew") : nil
    }

    private static let patience = "wait for its end; 'ballastctl watch' shows how it goes"

    static var stopping: UpdateAgentFault {
        UpdateAgentFault(.busy, "the agent is being stopped", remedy: "try again when it runs")
    }

    static func busy(
        _ what: String, remedy: String = patience
    ) -> UpdateAgentFault {
        UpdateAgentFault(.busy, what, remedy: remedy)
    }
}
