import Fault
import Fetching
import FileIO
import Synchronization
import SystemPackage
import Trust

/// The times of the week in which a restart may begin.
final class WindowStep: RestartStep {
    /// What is fetched so long before a window opens is taken to be used in it, in seconds.
    private static let lead: Int64 = 86400

    let kind = RestartStepKind.window
    let name = "windows"
    private let calendar: RestartCalendar
    /// The periods, and when they were reckoned.
    private let known = Mutex<(time: UTCTime, periods: [Range<UTCTime>])?>(nil)

    init(_ calendar: RestartCalendar) { self.calendar = calendar }

    func hold(_ purpose: RestartPurpose, now: UTCTime) -> RestartHold.Reason? {
        let periods: [Range<UTCTime>]
        do throws(UpdateAgentFault) { periods = try self.periods(now) } catch {
            return RestartHold.Reason(text: "\(error)")
        }
        if periods.contains(where: { $0.contains(now) }) { return nil }
        guard let next = periods.first(where: { $0.lowerBound > now })?.lowerBound else {
            return RestartHold.Reason(text: "none opens in the next days")
        }
        if purpose == .download, next.seconds - now.seconds <= Self.lead { return nil }
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

    func hold(_ purpose: RestartPurpose, now: UTCTime) -> RestartHold.Reason? {
        let problem: String?
        switch gate.question {
        case .file(let path):
            problem = host.paths.prefix.appending(FilePath(path).components).exists ? "there is \(path)" : nil
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
