public import Fault
import FileIO
public import JSON

/// Events that a reporter has not taken yet.
public struct EventPage: AgentAnswer, Hashable {
    /// The events, oldest first.
    public var events: [HostEvent]
    /// Up to which event a reporter has said that it took them.
    public var acknowledged: Int64
    /// How many events before the first one are gone, for there was no more room for them.
    public var missed: Int64

    /// The members above.
    public var json: JSONValue {
        [
            "events": .array(events.map(\.json)), "acknowledged": .integer(acknowledged), "missed": .integer(missed),
        ]
    }

    /// One line.
    public var text: String { "\(events.count) events after \(acknowledged), \(missed) missed" }
}

extension Agent {
    /// The most events of one page.
    private static let pageLimit = 1000

    /// What happened here, oldest first, as far back as there is room for it.
    public func history() throws(UpdateAgentFault) -> [HostEvent] { try store.events() }

    /// The events after number `after`, or after those that a reporter has taken, oldest first.
    ///
    /// - Parameter limit: the most events; nil for as many as a page holds.
    public func events(after: Int64?, limit: Int?) throws(UpdateAgentFault) -> EventPage {
        let acknowledged = try store.read().acknowledgedEvent
        let first = max(after ?? acknowledged, 0)
        let newer = try history().filter { $0.sequence > first }
        let missed = newer.first.map { $0.sequence - first - 1 } ?? 0
        return EventPage(
            events: Array(newer.prefix(min(limit ?? Self.pageLimit, Self.pageLimit))), acknowledged: acknowledged,
            missed: missed)
    }

    /// Notes that a reporter has taken all events up to and with number `sequence`.
    ///
    /// - Throws: `invalid` where there is no such event yet.
    public func acknowledgeEvents(upTo sequence: Int64) throws(UpdateAgentFault) -> ActionResult {
        try store.change { state throws(UpdateAgentFault) in
            guard 0...state.lastEvent ~= sequence else {
                throw UpdateAgentFault(
                    .invalid, "there is no event \(sequence): the newest is \(state.lastEvent)",
                    remedy: "give the number of an event that 'ballastctl events' shows")
            }
            state.acknowledgedEvent = max(state.acknowledgedEvent, sequence)
        }
        return ActionResult("events up to \(sequence) are taken")
    }
}
