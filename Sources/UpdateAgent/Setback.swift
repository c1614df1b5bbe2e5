import Fault
public import JSON
import Release
public import Trust

/// A version that did not prove itself here for reasons that say nothing about it, and is tried again after a pause.
public struct Setback: Sendable, Hashable {
    private static let firstPause: Int64 = 3600
    private static let longestPause: Int64 = 86400

    /// Which.
    public var version: String
    /// What kept it from proving itself the last time.
    public var kind: FailureKind
    /// The same in words.
    public var cause: String
    /// How often in a row.
    public var count: Int
    /// How many of them were without a word of the version itself: too many of those say something after all.
    var silentCount: Int
    /// The last time.
    public var time: UTCTime
    /// Members that this agent does not know.
    var extra: [String: JSONValue] = [:]

    /// The `count`-th one of `version`.
    init(
        version: String, kind: FailureKind, cause: String, count: Int, silentCount: Int? = nil, time: UTCTime
    ) {
        self.version = version
        self.kind = kind
        self.cause = cause
        self.count = count
        self.silentCount = silentCount ?? (kind.limit == nil ? 0 : count)
        self.time = time
    }

    /// When the host tries it again by itself: after an hour, then four times as long each time, up to a day.
    public var retryTime: UTCTime {
        var pause = Self.firstPause
        for _ in 1..<max(count, 1) where pause < Self.longestPause { pause *= 4 }
        return time.adding(seconds: min(pause, Self.longestPause))
    }

    /// Whether that is still to come. A time of the past that lies in the future is of a clock that was wrong.
    func isPaused(at now: UTCTime) -> Bool { now >= time && now < retryTime }

    private static let known: Set<String> = [
        "version", "kind", "cause", "count", "silent_count", "time", "retry_time",
    ]

    init(parsing cursor: JSONCursor) throws(JSONFault) {
        self.init(
            version: try cursor.field("version").string(),
            kind: FailureKind(rawValue: try cursor.field("kind").string()), cause: try cursor.field("cause").string(),
            count: try cursor.field("count").integer(in: 1...1_000_000),
            silentCount: try cursor.optional("silent_count")?.integer(in: 0...1_000_000),
            time: try AgentText.time(cursor.field("time")))
        extra = try cursor.strangers(Self.known)
    }

    /// The members above in snake_case.
    public var json: JSONValue {
        .object(
            extra.merging([
                "version": .string(version), "kind": .string(kind.rawValue), "cause": .string(cause),
                "count": .integer(Int64(count)), "silent_count": .integer(Int64(silentCount)),
                "time": .string(time.description), "retry_time": .string(retryTime.description),
            ]) { $1 })
    }
}

extension AgentState {
    static let setbackLimit = 32

    /// The setback of `version`, in whatever spelling, or nil.
    public func setback(of version: String) -> Setback? {
        setbacks.first { ImageVersion.areEqual($0.version, version) }
    }

    /// The version did not prove itself. It is denied for what it did; otherwise it is tried again after a pause, unless that has come
    /// to nothing too often.
    mutating func judge(_ version: String, _ kind: FailureKind, cause: String, at time: UTCTime) {
        let before = setback(of: version)
        let count = min(before?.count ?? 0, 999_999) + 1
        let silentCount = (before?.silentCount ?? 0) + (kind.limit == nil ? 0 : 1)
        setbacks.removeAll { ImageVersion.areEqual($0.version, version) }
        if let limit = kind.limit, silentCount >= limit {
            let often = kind.isFair ? "" : ", \(silentCount) times so far"
            deny(version, kind, cause: cause + often, at: time)
            return
        }
        setbacks.append(
            Setback(
                version: version, kind: kind, cause: cause, count: count, silentCount: silentCount, time: time))
        if setbacks.count > Self.setbackLimit { setbacks.removeFirst(setbacks.count - Self.setbackLimit) }
    }

    /// What the publisher offers anew is no longer denied for what it did here before.
    ///
    /// - Parameter reoffers: how often each version has been offered anew.
    /// - Returns: the versions that may be taken again.
    mutating func takeReoffers(_ reoffers: [String: Int]) -> [String] {
        var allowed: [String] = []
        for (version, count) in reoffers.sorted(by: { $0.key < $1.key }) {
            if let setback = setback(of: version), count > reofferCount(of: version) {
                setbacks.removeAll { $0 == setback }
            }
            if let denial = denial(of: version), denial.kind != .operators, count > denial.reoffers {
                denied.removeAll { $0 == denial }
                allowed.append(version)
            }
        }
        self.reoffers = reoffers
        return allowed
    }

    /// How often `version`, in whatever spelling, had been offered anew when the repository was last asked.
    func reofferCount(of version: String) -> Int {
        reoffers[version] ?? reoffers.first { ImageVersion.areEqual($0.key, version) }?.value ?? 0
    }
}
