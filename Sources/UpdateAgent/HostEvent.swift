import JSON
public import Trust

/// Something that happened on this host. What it was is in its members; the sentence that people read is made of them.
public struct HostEvent: AgentAnswer, Hashable {
    /// What kind of thing. The raw value is part of the control protocol and of the files that keep events.
    public struct Kind: RawRepresentable, Sendable, Hashable {
        /// Its name. A newer agent may have written one that this one does not know.
        public let rawValue: String

        /// The kind of that name.
        public init(rawValue: String) { self.rawValue = rawValue }

        /// A version was written into the other slot.
        public static let staged = Kind(rawValue: "staged")
        /// A version that the other slot still held is to boot again; nothing was fetched.
        public static let activated = Kind(rawValue: "activated")
        /// A version passed its health checks.
        public static let proved = Kind(rawValue: "proved")
        /// A version held for as long as its probation takes.
        public static let confirmed = Kind(rawValue: "confirmed")
        /// A version did not prove itself, and the host came back from it, or goes back.
        public static let rolledBack = Kind(rawValue: "rolled-back")
        /// An operator went back to the other slot.
        public static let rollback = Kind(rawValue: "rollback")
        /// What an operator went back to did not prove itself, and the host is on the version that it went back from.
        public static let rollbackFailed = Kind(rawValue: "rollback-failed")
        /// A rollback is not carried out any more.
        public static let rollbackWithdrawn = Kind(rawValue: "rollback-withdrawn")
        /// A version that waited for its first boot does not get it.
        public static let withdrawn = Kind(rawValue: "withdrawn")
        /// An update was cut off, as by a power cut.
        public static let interrupted = Kind(rawValue: "interrupted")
        /// A version is denied from now on.
        public static let denied = Kind(rawValue: "denied")
        /// A version is allowed again.
        public static let allowed = Kind(rawValue: "allowed")
        /// The host takes one version only.
        public static let pinned = Kind(rawValue: "pinned")
        /// The host takes the newest version again.
        public static let unpinned = Kind(rawValue: "unpinned")
        /// A step holds a restart back.
        public static let held = Kind(rawValue: "restart-held")
        /// What is to be done before a restart was done.
        public static let drained = Kind(rawValue: "drained")
        /// What was done before a restart was undone.
        public static let undrained = Kind(rawValue: "undrained")
        /// The host, or a unit of it, is started anew.
        public static let restarting = Kind(rawValue: "restarting")
        /// All health checks hold again after a restart.
        public static let served = Kind(rawValue: "served")
        /// A boot is not complete, and the host stays in it.
        public static let unhealthy = Kind(rawValue: "unhealthy")
        /// A job failed.
        public static let failed = Kind(rawValue: "failed")
        /// The agent's state could not be read and was begun anew.
        public static let stateDamaged = Kind(rawValue: "state-damaged")
    }

    /// What an agent was doing when it failed.
    public struct Task: RawRepresentable, Sendable, Hashable {
        /// Its name.
        public let rawValue: String

        /// The task of that name.
        public init(rawValue: String) { self.rawValue = rawValue }

        static let check = Task(rawValue: "check")
        static let update = Task(rawValue: "update")
        static let rollback = Task(rawValue: "rollback")
        static let reboot = Task(rawValue: "reboot")
        static let drain = Task(rawValue: "drain")
        static let undrain = Task(rawValue: "undrain")
    }

    /// Its number, one more than that of the event before; 0 until it is kept.
    public internal(set) var sequence: Int64 = 0
    /// When.
    public var time: UTCTime
    /// The boot in which it was noted, as in /proc/sys/kernel/random/boot_id; empty where that is not known.
    public internal(set) var bootIdentifier = ""
    /// What.
    public var kind: Kind
    /// The version that it is about.
    public var version: String
    /// The version that the host is on, or goes to, instead of it.
    public var otherVersion: String?
    /// Why, where there is a reason to give.
    public var cause: String?
    /// What kind of cause that is, of a version that did not prove itself.
    public var failure: FailureKind?
    /// What failed.
    public var task: Task?
    /// The step of a restart.
    public var step: String?
    /// How much is started anew: units or full.
    public var restart: String?
    /// When the version is tried again.
    public var retryTime: UTCTime?
    /// In how many tries it did not prove itself.
    public var tries: Int64?
    /// Bytes that were fetched.
    public var bytes: Int64?
    /// How long it took.
    public var seconds: Int64?
    /// The sentence of an agent that wrote nothing else, or of a newer one.
    var givenDetail: String?
    /// Members that this agent does not know.
    var extra: [String: JSONValue] = [:]

    /// An event about `version`, whose further members are to be set.
    public init(_ kind: Kind, version: String, at time: UTCTime) {
        self.kind = kind
        self.version = version
        self.time = time
    }

    /// An event that has a cause.
    init(_ kind: Kind, version: String, other: String? = nil, cause: String?, at time: UTCTime) {
        self.init(kind, version: version, at: time)
        otherVersion = other
        self.cause = cause
    }
}
