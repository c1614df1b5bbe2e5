public import JSON
public import Trust

/// How a release spreads over the hosts: by itself, inside the signed release, so that no server decides.
///
/// Every host has a place from 0 to 99 that it draws for each release; it may update once the ramp has reached it.
public struct Rollout: Sendable, Hashable {
    /// From a time on, this share of the hosts.
    public struct Step: Sendable, Hashable {
        /// Seconds after the start.
        public let delay: Int64
        /// The share of hosts that may update from then on, in percent.
        public let percent: Int

        /// `percent` of the hosts from `delay` seconds after the start.
        public init(delay: Int64, percent: Int) {
            self.delay = delay
            self.percent = percent
        }
    }

    /// Nobody updates before.
    public let start: UTCTime
    /// The steps, later and larger from one to the next. Without any, everybody may at the start.
    public let ramp: [Step]

    /// A ramp that begins at `start`.
    public init(start: UTCTime, ramp: [Step]) {
        self.start = start
        self.ramp = ramp
    }

    private static let stepLimit = 100
    private static let delayLimit: Int64 = 1_000_000_000

    /// What is wrong with it for a release that is yet to be published, or nil.
    public var problem: String? {
        if ramp.count > Self.stepLimit {
            return "the ramp has \(ramp.count) steps, and at most \(Self.stepLimit) can be"
        }
        for step in ramp where !(0...Self.delayLimit).contains(step.delay) || !(0...100).contains(step.percent) {
            return
                "the ramp has a step of \(step.percent) percent after \(step.delay) s, and at most 100 percent after "
                + "\(Self.delayLimit) s can be"
        }
        for (first, second) in zip(ramp, ramp.dropFirst())
        where second.delay <= first.delay || second.percent < first.percent {
            return "the steps of the ramp must go up in time and percent"
        }
        guard let last = ramp.last, last.percent != 100 else { return nil }
        return
            "the ramp ends at \(last.percent) percent, and what is published never changes: the other hosts would never "
            + "get it"
    }

    /// The share of hosts that may update at `time`, in percent.
    public func percent(at time: UTCTime) -> Int {
        guard time >= start else { return 0 }
        guard !ramp.isEmpty else { return 100 }
        return ramp.last { start.adding(seconds: $0.delay) <= time }?.percent ?? 0
    }

    /// When a host at `place` (0 to 99) may update, or nil where the ramp ends before it.
    public func time(forPlace place: Int) -> UTCTime? {
        guard !ramp.isEmpty else { return start }
        return ramp.first { $0.percent > place }.map { start.adding(seconds: $0.delay) }
    }

    init(parsing cursor: JSONCursor) throws(JSONFault) {
        let text = try cursor.field("start")
        guard let start = UTCTime(try text.string()) else {
            throw text.unexpected("expected a time like 2030-01-31T00:00:00Z")
        }
        self.start = start
        var ramp: [Step] = []
        for element in try cursor.optional("ramp")?.elements(atMost: Self.stepLimit) ?? [] {
            let step = Step(
                delay: Int64(try element.field("after").integer(in: 0...Int(Self.delayLimit))),
                percent: try element.field("percent").integer(in: 0...100))
            guard ramp.last.map({ $0.delay < step.delay && $0.percent <= step.percent }) ?? true else {
                throw element.unexpected("the steps of a ramp go up, from one time to a later one")
            }
            ramp.append(step)
        }
        self.ramp = ramp
    }

    /// `{"start": TIME, "ramp": [{"after": SECONDS, "percent": 0-100}]}`.
    public var value: JSONValue {
        let steps = ramp.map { ["after": .integer($0.delay), "percent": .integer(Int64($0.percent))] as JSONValue }
        return ["start": .string(start.description), "ramp": .array(steps)]
    }
}
