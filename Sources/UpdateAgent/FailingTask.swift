import Fault
import JSON
import Trust

/// Something that has failed here and has not succeeded since. The same again and again fills no history.
struct FailingTask: Sendable, Hashable {
    /// How long other words for the same failure are no news, in seconds.
    private static let newsInterval: Int64 = 3600

    /// What it is: the task, and the step of a restart.
    var name: String
    /// The version that it was about.
    var version: String
    /// The kind of failure.
    var code: String
    /// In words, as they were recorded.
    var text: String
    /// When they were.
    var time: UTCTime
    /// Members that this agent does not know.
    var extra: [String: JSONValue] = [:]

    static func name(_ task: HostEvent.Task, step: String?) -> String {
        step.map { "\(task.rawValue) \($0)" } ?? task.rawValue
    }

    init(name: String, version: String, code: String, text: String, time: UTCTime) {
        self.name = name
        self.version = version
        self.code = code
        self.text = text
        self.time = time
    }

    /// Whether `next`, of the same task, says nothing new.
    func isOld(_ next: FailingTask) -> Bool {
        guard version == next.version, code == next.code else { return false }
        return text == next.text || 0..<Self.newsInterval ~= next.time.seconds - time.seconds
    }

    private static let known: Set<String> = ["name", "version", "code", "text", "time"]

    init(parsing cursor: JSONCursor) throws(JSONFault) {
        self.init(
            name: try cursor.field("name").string(), version: try cursor.field("version").string(),
            code: try cursor.field("code").string(), text: try cursor.field("text").string(),
            time: try AgentText.time(cursor.field("time")))
        extra = try cursor.strangers(Self.known)
    }

    var json: JSONValue {
        .object(
            extra.merging([
                "name": .string(name), "version": .string(version), "code": .string(code), "text": .string(text),
                "time": .string(time.description),
            ]) { $1 })
    }
}

extension AgentState {
    private static let failingLimit = 128

    /// Notes a failure.
    ///
    /// - Returns: whether it is news.
    mutating func noteFailure(_ failure: FailingTask) -> Bool {
        if let known = failing.first(where: { $0.name == failure.name }), known.isOld(failure) { return false }
        failing.removeAll { $0.name == failure.name }
        failing.append(failure)
        if failing.count > Self.failingLimit { failing.removeFirst(failing.count - Self.failingLimit) }
        return true
    }

    /// Whether a step of `task` has failed and has not succeeded since.
    func isFailing(_ task: HostEvent.Task) -> Bool {
        failing.contains { $0.name.hasPrefix(task.rawValue + " ") }
    }

    /// What has failed before has succeeded.
    mutating func noteSuccess(_ task: HostEvent.Task, step: String? = nil) {
        failing.removeAll { $0.name == FailingTask.name(task, step: step) }
    }
}
