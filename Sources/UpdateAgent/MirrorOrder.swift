/// Which of several mirrors is asked next. Each that fails is left alone for a while, longer each time, and asked all the same
/// where no other is left.
struct MirrorOrder: Sendable {
    private static let firstPause: Int64 = 15
    private static let longestPause: Int64 = 3600
    /// A server that wants to be left alone for longer than this is asked again all the same.
    private static let longestRetryAfter: Int64 = 86400

    private struct Mirror: Sendable {
        var failures = 0
        var notBefore: Int64 = 0
        /// Until when it wants to be left alone.
        var retryTime: Int64 = 0
    }

    private var mirrors: [Mirror]

    /// `count` mirrors, the best one first, of which none has failed.
    init(count: Int) { mirrors = Array(repeating: Mirror(), count: count) }

    /// Those that are to be asked now: first those that have not failed lately, in their own order. Those that want to be left alone are
    /// not among them, as long as there are others.
    ///
    /// - Parameter now: seconds of a clock that nobody sets.
    func sequence(now: Int64) -> [Int] {
        let willing = mirrors.indices.filter { mirrors[$0].retryTime <= now }
        let all = willing.isEmpty ? Array(mirrors.indices) : willing
        let rested = all.filter { mirrors[$0].notBefore <= now }
        let others = all.filter { mirrors[$0].notBefore > now }
        return rested + others.sorted { mirrors[$0].notBefore < mirrors[$1].notBefore }
    }

    /// Seconds until one of them may be asked again, where all have said that they want to be left alone until a time to come.
    func retryAfter(now: Int64) -> Int64? {
        guard let first = mirrors.map(\.retryTime).min(), first > now else { return nil }
        return first - now
    }

    /// The mirror has given what it was asked for.
    mutating func succeed(_ index: Int) { mirrors[index] = Mirror() }

    /// It has not.
    ///
    /// - Parameters:
    ///   - retryAfter: for how many seconds it wants to be left alone.
    ///   - random: a number from 0 up to and with the one given.
    mutating func fail(_ index: Int, retryAfter: Int64?, now: Int64, random: (Int64) -> Int64) {
        let pause = min(Self.firstPause << min(Int64(mirrors[index].failures), 16), Self.longestPause)
        mirrors[index].failures += 1
        mirrors[index].notBefore = now + pause / 2 + random(pause)
        guard let retryAfter else { return }
        let time = now + min(retryAfter, Self.longestRetryAfter)
        mirrors[index].retryTime = time
        mirrors[index].notBefore = max(mirrors[index].notBefore, time)
    }
}
