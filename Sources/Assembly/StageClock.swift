/// Times the stages of a build.
struct StageClock {
    private(set) var stages: [(name: String, milliseconds: Int64)] = []
    private var last = ContinuousClock.now

    /// Ends the stage that ran since the last call.
    mutating func end(_ name: String) {
        let now = ContinuousClock.now
        stages.append((name, Int64((now - last) / .milliseconds(1))))
        last = now
    }
}
