public import Fetching
import Trust

/// All that may hold a restart of this host back or get ready for it, in order. What a step does inside is its own.
public struct RestartContract: Sendable {
    let steps: [any RestartStep]

    /// Nothing holds a restart back.
    public init() { steps = [] }

    /// What `settings` say; `fetcher` speaks to the network for gates.
    public init(_ all: AgentSettings, host: Host, fetcher: any Fetcher) {
        let settings = all.restart
        var steps: [any RestartStep] = []
        if let problem = settings.problem {
            steps.append(SettingsStep(problem: problem, isForeign: settings.isProblemForeign))
        }
        if !settings.windows.isEmpty {
            let calendar = RestartCalendar(windows: settings.windows, timeZone: settings.timeZone)
            steps.append(WindowStep(calendar, interval: all.interval + all.jitter))
        }
        steps.append(InhibitorStep(host: host))
        for gate in settings.gates { steps.append(GateStep(gate: gate, host: host, fetcher: fetcher)) }
        for drain in settings.drains { steps.append(DrainStep(drain: drain)) }
        self.steps = steps
    }

    /// The first step that holds a restart back. Those after it are not asked: their answers could be old when it is their turn.
    ///
    /// - Parameter isAgain: whether those only are asked that are to be asked once more after the drains.
    func hold(_ purpose: RestartPurpose, isAgain: Bool = false, now: () -> UTCTime) -> RestartHold? {
        for step in steps where !isAgain || step.isAskedAgain {
            guard let reason = step.hold(purpose, now: now()) else { continue }
            return RestartHold(kind: step.kind, name: step.name, reason: reason.text, until: reason.until)
        }
        return nil
    }

    /// What is to be done before a restart, in order.
    var preparations: [Preparation] { steps.compactMap(\.preparation) }
}
