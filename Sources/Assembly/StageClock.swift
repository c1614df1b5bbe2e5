/// Times the stages of a build.
package struct StageClock {
    private(set) var stages: [(name: String, milliseconds: Int64)] = []
    private var last = ContinuousClock.now

    package init() {}

    /// Ends the stage that ran since the last call, and the build too where its task was cancelled.
    mutating func end(_ name: String) throws(CancellationError) {
        let now = ContinuousClock.now
        stages.append((name, Int64((now - last) / .milliseconds(1))))
        last = now
        if Task.isCancelled { throw CancellationError() }
    }
}
