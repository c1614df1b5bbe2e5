import Dispatch
public import Fault
public import Fetching
import FileIO
import Glibc
import JSON
import Release
import Synchronization
import SystemPackage

/// Runs the health checks of a boot and acts on what they come to.
public struct HealthRunner: Sendable {
    private static let pause = 0.5
    /// One look takes at most this long, so that a check that hangs once gets another chance.
    private static let lookSeconds = 20
    /// The most seconds that a slow machine gives a check: less than a boot that is being counted has beside its longest one.
    private static let mostPatience = 600

    private let settings: AgentSettings
    let host: Host
    private let fetcher: any Fetcher

    /// The checks of `settings` on `host`; `fetcher` speaks to the network for them.
    public init(settings: AgentSettings, host: Host, fetcher: any Fetcher) {
        self.settings = settings
        self.host = host
        self.fetcher = fetcher
    }

    /// Runs all checks at the same time, each until it holds or its time is over.
    ///
    /// - Parameter note: called with a line for each check as it ends.
    public func run(note: @escaping @Sendable (String) -> Void) -> HealthReport {
        run(untilTheyHold: true, note: note)
    }

    /// Looks at each check once, at all at the same time.
    func look() -> HealthReport { run(untilTheyHold: false, note: { _ in }) }

    private func run(untilTheyHold: Bool, note: @escaping @Sendable (String) -> Void) -> HealthReport {
        let checks = settings.health
        let results = Results(count: checks.count)
        let patience = host.paths.patience
        if patience > 1 { note("this machine is slow: each check has \(patience) times as long") }
        let group = DispatchGroup()
        let queue = DispatchQueue(label: "io.ballast.health", attributes: .concurrent)
        for (position, check) in checks.enumerated() {
            queue.async(group: group) {
                let outcome = Self.outcome(of: check, patience: patience, isPatient: untilTheyHold, fetcher)
                results.put(outcome, at: position)
                note("\(check.name): " + (outcome.problem ?? "holds") + " (\(outcome.seconds) s)")
            }
        }
        group.wait()
        return HealthReport(version: host.running.description, time: host.now(), outcomes: results.all)
    }

    private final class Results: Sendable {
        private let outcomes: Mutex<[HealthReport.Outcome?]>
        init(count: Int) { outcomes = Mutex(Array(repeating: nil, count: count)) }
        func put(_ outcome: HealthReport.Outcome, at position: Int) {
            outcomes.withLock { if $0.indices.contains(position) { $0[position] = outcome } }
        }
        var all: [HealthReport.Outcome] { outcomes.withLock { $0.compactMap { $0 } } }
    }

    /// - Parameter patience: how many times its time a check may take, up to `mostPatience` seconds more.
    private static func outcome(
        of check: HealthCheck, patience: Int, isPatient: Bool, _ fetcher: any Fetcher
    ) -> HealthReport.Outcome {
        let longest = min(check.timeout * patience, check.timeout + mostPatience)
        let limit = isPatient ? longest : min(longest, lookSeconds * patience)
        let start = ContinuousClock.now
        while true {
            let left = limit - Int((ContinuousClock.now - start).components.seconds)
            let problem = HealthProbe(patience: max(1, min(left, lookSeconds * patience)), fetcher: fetcher).problem(
                check.probe)
            let seconds = (ContinuousClock.now - start).components.seconds
            guard let problem else { return HealthReport.Outcome(name: check.name, problem: nil, seconds: seconds) }
            if !isPatient || seconds >= Int64(limit) {
                return HealthReport.Outcome(
                    name: check.name, problem: "\(problem.text), after \(isPatient ? Int64(limit) : seconds) s",
                    seconds: seconds,
                    isEnvironmental: check.blamesEnvironment || problem.isUndecided)
            }
            usleep(UInt32(pause * 1_000_000))
        }
    }

    var store: HostStore { HostStore(host: host, settings: settings) }

    /// Whether another try, or the other version, may be better than this boot, and the boot loader sees to it.
    var isOnTrial: Bool {
        let facts = try? store.facts()
        return BootPolicy.isOnTrial(
            try? store.read(), facts ?? store.blindFacts(), canSeeEntries: facts != nil)
    }

    /// Keeps the report, and the end of the journal of this boot.
    func keep(_ report: HealthReport) throws(FileIOFault) {
        for (path, bytes) in [
            (host.paths.healthReport(of: report.version), Array(report.json.text().utf8)),
            (host.paths.journal(of: report.version), host.journal(nil)),
        ] {
            try path.removingLastComponent().makeDirectories()
            try path.replaceContents(with: bytes)
        }
    }

    /// Where it cannot be noted, the agent waits for this boot to be complete until the next one.
    private func noteStay(_ report: HealthReport) {
        _ = try? store.change { state in
            state.noteFailedBoot(on: host, cause: report.cause)
        }
    }

    /// What a failure leads to: where this boot is being counted and not yet good, its report and journal are kept and the host reboots, to
    /// try again or to go back; otherwise the host stays up, since no other version would be better.
    ///
    /// - Returns: what was done, for the log.
    public func handleFailure(_ report: HealthReport) throws(UpdateAgentFault) -> String {
        VerdictPort(path: host.paths.verdict).send("boot-failed \(settings.product) \(report.version): \(report.cause)")
        guard isOnTrial else {
            noteStay(report)
            return "degraded; no other version would be better, so the host stays up: \(report.cause)"
        }
        do throws(FileIOFault) { try keep(report) } catch {
            // Without the report the host still comes back; only the cause is then not known.
            sync()
            try host.reboot()
            return "rebooting; the report could not be kept: \(error)"
        }
        sync()
        try host.reboot()
        return "rebooting: \(report.cause)"
    }
}
