import Fault
import Fetching
import FileIO
import Synchronization
import SystemPackage
import Trust

/// What an operator has said of restarts and is not understood: a window that is misspelt must not be one that is always open.
struct SettingsStep: RestartStep {
    let kind = RestartStepKind.settings
    let name = "restart"
    let problem: String
    let isForeign: Bool

    func hold(_ purpose: RestartPurpose, now: UTCTime) -> RestartHold.Reason? {
        purpose == .download && isForeign ? nil : RestartHold.Reason(text: problem)
    }
}

/// The times of the week in which a restart may begin.
final class WindowStep: RestartStep {
    /// The least that what is fetched before a window opens may have to wait for it, in seconds.
    private static let leastLead: Int64 = 86400

    let kind = RestartStepKind.window
    let name = "windows"
    private let calendar: RestartCalendar
    private let lead: Int64
    /// The periods, and when they were reckoned.
    private let known = Mutex<(time: UTCTime, periods: [Range<UTCTime>])?>(nil)

    /// - Parameter interval: the most seconds between two checks: one of them has to come before the window.
    init(_ calendar: RestartCalendar, interval: Int64) {
        self.calendar = calendar
        lead = max(Self.leastLead, interval)
    }

    func hold(_ purpose: RestartPurpose, now: UTCTime) -> RestartHold.Reason? {
        let periods: [Range<UTCTime>]
        do throws(UpdateAgentFault) { periods = try self.periods(now) } catch {
            return RestartHold.Reason(text: "\(error)")
        }
        if periods.contains(where: { $0.contains(now) }) { return nil }
        guard let next = periods.first(where: { $0.lowerBound > now })?.lowerBound else {
            return RestartHold.Reason(text: "none opens in the next days")
        }
        if purpose == .download, next.seconds - now.seconds <= lead { return nil }
        return RestartHold.Reason(text: "it opens at \(next)", until: next)
    }

    private func periods(_ now: UTCTime) throws(UpdateAgentFault) -> [Range<UTCTime>] {
        // A clock that is set takes them along.
        if let known = known.withLock({ $0 }), 0..<RestartCalendar.validity ~= now.seconds - known.time.seconds {
            return known.periods
        }
        let periods = try calendar.periods(around: now)
        known.withLock { $0 = (now, periods) }
        return periods
    }
}

/// Programs on this host that hold a block inhibitor lock on shutdown: systemd-inhibit(1).
struct InhibitorStep: RestartStep {
    let kind = RestartStepKind.inhibitor
    let name = "shutdown"
    let host: Host
    let isAskedAgain = true

    func hold(_ purpose: RestartPurpose, now: UTCTime) -> RestartHold.Reason? {
        guard purpose == .restart, let holder = host.inhibitors().first else { return nil }
        return RestartHold.Reason(text: holder)
    }
}

/// A question of the image's maker.
struct GateStep: RestartStep {
    let kind = RestartStepKind.gate
    let gate: RestartGate
    let host: Host
    let fetcher: any Fetcher

    var name: String { gate.name }
    var isAskedAgain: Bool { if case .file = gate.question { true } else { false } }

    func hold(_ purpose: RestartPurpose, now: UTCTime) -> RestartHold.Reason? {
        let problem: String?
        switch gate.question {
        case .file(let path):
            do throws(FileIOFault) {
                _ = try FileStatus(of: host.paths.prefix.appending(FilePath(path).components))
                problem = "there is \(path)"
            } catch {
                problem = error.code == .notFound ? nil : "\(path) cannot be looked for: \(error)"
            }
        case .http(let address):
            problem = HealthProbe(patience: gate.timeout, fetcher: fetcher).problem(.http(address))?.text
        case .unit(let unit):
            do throws(UpdateAgentFault) {
                try host.startUnit(unit, gate.timeout)
                problem = nil
            } catch {
                problem = "\(error)"
            }
        }
        return problem.map { RestartHold.Reason(text: $0) }
    }
}

/// Work to be done before a restart.
struct DrainStep: RestartStep {
    let kind = RestartStepKind.drain
    let drain: Drain

    var name: String { drain.name }
    var preparation: Preparation? { Preparation(drain) }
}
