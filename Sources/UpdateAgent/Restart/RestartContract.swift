public import Fetching
import Trust

/// All that may hold a restart of this host back or get ready for it, in order. What a step does inside is its own.
public struct RestartContract: Sendable {
    let steps: [any RestartStep]

    /// Nothing holds a restart back.
    public init() { steps = [] }

    /// What `settings` say; `fetcher` speaks to the network for gates.
    public init(_ settings: RestartSettings, host: Host, fetcher: any Fetcher) {
        var steps: [any RestartStep] = []
        if !settings.windows.isEmpty {
            steps.append(WindowStep(RestartCalendar(windows: settings.windows, timeZone: settings.timeZone)))
        }
        steps.append(InhibitorStep(host: host))
        for gate in settings.gates { steps.append(GateStep(gate: gate, host: host, fetcher: fetcher)) }
        for drain in settings.drains { steps.append(DrainStep(drain: drain)) }
        self.steps = steps
    }

    /// The first step that holds a restart back. Those after it are not asked: their answers could be old when it is their turn.
    func hold(_ purpose: RestartPurpose, now: () -> UTCTime) -> RestartHold? {
        for step in steps {
            guard let reason = step.hold(purpose, now: now()) else { continue }
            return RestartHold(kind: step.kind, name: step.name, reason: reason.text, until: reason.until)
        }
        return nil
    }

    /// What is to be done before a restart, in order.
    var preparations: [Preparation] { steps.compactMap(\.preparation) }
}
