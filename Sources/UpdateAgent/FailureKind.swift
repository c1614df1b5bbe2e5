/// What kept a version from being good here. A newer agent may have written a kind that this one does not know.
public struct FailureKind: RawRepresentable, Sendable, Hashable {
    /// Its name, which is part of the control protocol and of the state file.
    public let rawValue: String

    /// The kind of that name.
    public init(rawValue: String) { self.rawValue = rawValue }

    /// A health check did not hold, or the version could not even run its checks and said so.
    public static let health = FailureKind(rawValue: "health")
    /// Nothing but health checks that could not judge, or that blame the host's environment.
    public static let environment = FailureKind(rawValue: "environment")
    /// The boots ended without a word: power was cut, or they hung before the first check.
    public static let unfinished = FailureKind(rawValue: "unfinished")
    /// The boot loader did not start it.
    public static let notStarted = FailureKind(rawValue: "not-started")
    /// A health check did not hold any more in the time of probation.
    public static let probation = FailureKind(rawValue: "probation")
    /// Other than for what it did: an operator said so.
    public static let operators = FailureKind(rawValue: "operator")

    /// Whether it says nothing about the version: then that is tried again after a pause.
    var isFair: Bool {
        switch self {
        case .environment, .unfinished, .notStarted: false
        default: true
        }
    }

    /// How often in a row a version may fail by it before that says something after all; nil for as often as it comes.
    var limit: Int? {
        switch self {
        case .environment: nil
        case .unfinished, .notStarted: 3
        default: 1
        }
    }
}
