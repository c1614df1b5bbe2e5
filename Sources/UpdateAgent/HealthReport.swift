import Fault
import FileIO
public import JSON
import Release
import SystemPackage
public import Trust

/// What the health checks of one boot came to.
public struct HealthReport: AgentAnswer, Hashable {
    /// What one check came to.
    public struct Outcome: Sendable, Hashable {
        /// The check's name.
        public var name: String
        /// Why it did not hold; nil where it did.
        public var problem: String?
        /// How long it took.
        public var seconds: Int64
        /// Whether its failure says nothing about the version.
        public var isEnvironmental = false
    }

    /// The version.
    public var version: String
    /// When.
    public var time: UTCTime
    /// In the settings' order.
    public var outcomes: [Outcome]

    /// The report of a boot of `host` that did not get as far as its checks, or past them: that of its checks where they said
    /// why, otherwise `problem`.
    public static func incomplete(_ host: Host, _ problem: String) -> HealthReport {
        HealthReport(host.paths.healthReport(of: host.running.description))
            ?? HealthReport(
                version: host.running.description, time: host.now(),
                outcomes: [Outcome(name: "boot-complete.target", problem: problem, seconds: 0)])
    }

    /// Whether every check held.
    public var hasPassed: Bool { outcomes.allSatisfy { $0.problem == nil } }

    /// Whether some did not hold, and none of these says anything about the version.
    public var isEnvironmental: Bool {
        let failed = outcomes.filter { $0.problem != nil }
        return !failed.isEmpty && failed.allSatisfy(\.isEnvironmental)
    }

    /// Which checks did not hold, and why.
    public var cause: String {
        let failed = outcomes.compactMap { outcome in outcome.problem.map { "'\(outcome.name)': \($0)" } }
        return failed.isEmpty ? "" : "health check " + failed.joined(separator: "; ")
    }

    /// One line.
    public var text: String {
        hasPassed ? "\(version): all \(outcomes.count) health checks hold" : "\(version): \(cause)"
    }

    /// `{"version", "time", "passed", "checks": [{"name", "passed", "problem", "seconds", "environment"}]}`.
    public var json: JSONValue {
        [
            "format": 1, "version": .string(version), "time": .string(time.description), "passed": .bool(hasPassed),
            "checks": .array(
                outcomes.map { outcome in
                    [
                        "name": .string(outcome.name), "passed": .bool(outcome.problem == nil),
                        "problem": outcome.problem.map { .string($0) } ?? .null, "seconds": .integer(outcome.seconds),
                        "environment": .bool(outcome.isEnvironmental),
                    ]
                }),
        ]
    }

    init(version: String, time: UTCTime, outcomes: [Outcome]) {
        self.version = version
        self.time = time
        self.outcomes = outcomes
    }

    /// The report in `path`, or nil where there is none that can be read.
    init?(_ path: FilePath) {
        guard let bytes = try? path.contents(limit: 1 << 20) else { return nil }
        do throws(JSONFault) {
            let cursor = try JSONCursor(parsing: bytes, source: path.string)
            version = try cursor.field("version").string()
            time = try AgentText.time(cursor.field("time"))
            outcomes = []
            for check in try cursor.field("checks").elements(atMost: 1000) {
                outcomes.append(
                    Outcome(
                        name: try check.field("name").string(), problem: try check.optional("problem")?.string(),
                        seconds: Int64(try check.field("seconds").integer()),
                        isEnvironmental: try check.optional("environment")?.bool() ?? false))
            }
        } catch {
            return nil
        }
    }
}
