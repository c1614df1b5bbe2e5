import BootLoader
import Fault
import JSON
import Release
public import Trust

/// A version that the next boot is to try, and what it comes from.
public struct PendingActivation: Sendable, Hashable {
    /// The version that is to boot.
    public var version: String
    /// The version that ran when it was activated.
    public var previous: String
    /// How many tries its entry got.
    public var tries: Int
    /// The boot in which it was activated; as long as it goes on, nothing is known of the new version.
    public var bootIdentifier: String
    /// How many boots since then did not try it, though it had tries left.
    public var missedBoots = 0
    /// The activation, which its boot entry has in its name.
    public var sequence: Int
    /// What is to be recorded once its entry is there.
    var event: HostEvent?
    /// Members that this agent does not know.
    var extra: [String: JSONValue] = [:]

    /// `version`, activated in the boot `bootIdentifier` of `previous`.
    public init(version: String, sequence: Int, previous: String, tries: Int, bootIdentifier: String) {
        self.version = version
        self.sequence = sequence
        self.previous = previous
        self.tries = tries
        self.bootIdentifier = bootIdentifier
    }
}

/// A rollback that the next boot carries out, until its target has proved itself or the host has come back.
public struct PendingRollback: Sendable, Hashable {
    /// The version that is to boot.
    public var target: String
    /// The version that ran when an operator went back from it.
    public var from: String
    /// The activation of the target, which its boot entry has in its name.
    public var sequence: Int
    /// The boot in which the agent itself has decided it, which does not wait for anybody to reboot then.
    var decidingBoot: String?
    /// The boot of `from` in which it was last seen to wait; empty where an older agent has ordered it.
    public var bootIdentifier = ""
    /// How many boots since then were not those of its target, though that has an entry.
    public var missedBoots = 0
    /// Members that this agent does not know.
    var extra: [String: JSONValue] = [:]

    /// Back from `from` to `target`.
    public init(target: String, from: String, sequence: Int) {
        self.target = target
        self.from = from
        self.sequence = sequence
    }
}

/// A version that the host has come back from by itself.
public struct FailedVersion: Sendable, Hashable {
    /// Which.
    public var version: String
    /// What kept it from proving itself.
    public var cause: String

    /// `version`, which `cause` kept from proving itself.
    public init(version: String, cause: String) {
        self.version = version
        self.cause = cause
    }
}

/// What the agent knows over reboots: `/var/lib/ballast/state.json`.
public struct AgentState: Sendable, Hashable {
    static let historyLimit = 200
    /// As many events stand in the state once the journal has all: agents that know no journal show them.
    static let recentLimit = 50
    static let goodLimit = 32
    static let deniedLimit = 1000
    static let revokedLimit = 1000
    /// Code points of a sentence. What a server sends gets into some of them.
    static let sentenceLimit = 1000
    /// Code points of the cause that an operator gives.
    static let causeLimit = 400

    /// Where the host was last. It is for whoever looks; what the host does next depends on the members below.
    public var phase = AgentPhase.idle
    /// The version it is pinned to.
    public var pinned: String?
    /// What it does not take.
    public var denied: [DeniedVersion] = []
    /// What did not prove itself for reasons that say nothing about it, and is tried again.
    public var setbacks: [Setback] = []
    /// How often the publisher has offered a version anew, as the last check saw it.
    public var reoffers: [String: Int] = [:]
    /// The newest of what happened, oldest first, at most 200 events; ``EventJournal`` has what came before.
    public var history: [HostEvent] = []
    /// The number of the newest event.
    var lastEvent: Int64 = 0
    /// Up to which event a reporter has taken them.
    var acknowledgedEvent: Int64 = 0
    /// Versions that have passed their health checks here, the latest last.
    public var good: [String] = []
    /// What the next boot is to try.
    public var pending: PendingActivation?
    /// The rollback that waits for its reboot or is on trial. Until its end the other slot is the way back and is not written.
    public var rollback: PendingRollback?
    /// What the host came back from, until another version has proved itself or this one is allowed again.
    public var failed: FailedVersion?
    /// What has passed its health checks and still has to go on doing so.
    var probation: Probation?
    /// The last boot in which the host stayed although it was not complete, since no other version would have been better.
    public var failedBoot: String?
    /// Versions that did not hold here, or that such a boot was one of, and that have not passed their health checks since, the latest
    /// last.
    public var unproved: [String] = []
    /// What has failed and has not succeeded since, each by its task.
    var failing: [FailingTask] = []
    /// What was done before a restart and has not been undone yet, in the order in which it was done.
    var prepared: [Preparation] = []
    /// The last boot in which the health checks have passed.
    var provedBoot: String?
    /// The reboot that was asked for.
    package var askedReboot: AskedReboot?
    /// Since when the host does not answer, and the boot that ended then.
    var outage: Outage?
    /// Versions that a release revokes, each with the one that does, as the last check saw it.
    public var revoked: [String: String] = [:]
    /// When the repository was last asked with success.
    public var lastCheck: UTCTime?
    /// What the last check said.
    public var reason: String?
    /// The last failure that nothing has succeeded after.
    public var lastError: String?
    /// Why the boot entries may not be what was decided, until they are.
    public var bootProblem: String?
    /// What another agent has written and this one does not understand. It is kept, and written back.
    var extra: [String: JSONValue] = [:]
    /// The same of arrays: elements that this agent does not understand.
    var extraElements: [String: [JSONValue]] = [:]
    /// What of the file could not be understood, in words. It is not written.
    var readProblem: String?

    /// The state of a host that nothing has happened to.
    public init() {}

    /// Whether `version`, in whatever spelling, is denied, and why.
    public func denial(of version: String) -> DeniedVersion? {
        denied.first { ImageVersion.areEqual($0.version, version) }
    }

    /// The version that revokes `version`, in whatever spelling, or nil.
    public func revoker(of version: String) -> String? { revoked.revoker(of: version) }

    /// Whether `version` is denied or revoked.
    func isUnwanted(_ version: String) -> Bool { denial(of: version) != nil || revoker(of: version) != nil }

    /// Whether something is decided here that is not in `other`, and not just noted.
    func decides(otherwiseThan other: AgentState) -> Bool {
        rollback != other.rollback || pending != other.pending || denied != other.denied || pinned != other.pinned
            || setbacks != other.setbacks || failedBoot != other.failedBoot
    }

    /// Whether the boot `identifier` is known not to be complete, and stays.
    func hasFailed(in identifier: String) -> Bool { !identifier.isEmpty && failedBoot == identifier }

    /// Whether the other slot's `version` has proved itself here. An entry without a counter may also be that of a version that
    /// failed, which was made the way back for want of a better one.
    func isProved(_ version: String, entry: BootEntryName.Standing?) -> Bool {
        good.contains(version) || (entry == .good && !unproved.contains(version))
    }

    /// Notes that what runs on `host` is not complete, and stays, unless that is known.
    mutating func noteFailedBoot(on host: Host, cause: String) {
        guard !hasFailed(in: host.bootIdentifier) else { return }
        let version = host.running.description
        failedBoot = host.bootIdentifier
        if !good.contains(version) { removeGood(version) }
        record(HostEvent(.unhealthy, version: version, cause: cause, at: host.now()))
    }

    /// Keeps the state below what can be read again: sentences as long as one reads them, and as much of the past as there is
    /// room for.
    mutating func fit(_ limit: Int) {
        reason = reason?.excerpt(limit: Self.sentenceLimit)
        lastError = lastError?.excerpt(limit: Self.sentenceLimit)
        failed = failed.map { FailedVersion(version: $0.version, cause: $0.cause.excerpt(limit: Self.sentenceLimit)) }
        if case .rolledBack(let version, let cause) = phase {
            phase = .rolledBack(version: version, cause: cause.excerpt(limit: Self.sentenceLimit))
        }
        for position in denied.indices {
            denied[position].cause = denied[position].cause.excerpt(limit: Self.causeLimit)
        }
        for position in setbacks.indices {
            setbacks[position].cause = setbacks[position].cause.excerpt(limit: Self.sentenceLimit)
        }
        for position in history.indices {
            history[position].givenDetail = history[position].givenDetail?.excerpt(limit: Self.sentenceLimit)
            history[position].cause = history[position].cause?.excerpt(limit: Self.sentenceLimit)
        }
        while !history.isEmpty, json.text(inlineDepth: 2).utf8.count > limit {
            history.removeFirst((history.count + 1) / 2)
        }
    }

    /// Adds to the history, from which the oldest events fall out.
    mutating func record(_ event: HostEvent) {
        history.append(event)
        if history.count > Self.historyLimit { history.removeFirst(history.count - Self.historyLimit) }
    }

    /// Gives a number to each event that has none, and to those that were not there before the boot in which they were noted. What the
    /// journal has need not stay.
    ///
    /// - Parameters:
    ///   - known: the events as they were before.
    ///   - journaled: the number of the journal's newest event.
    mutating func numberEvents(known: [HostEvent], journaled: Int64, bootIdentifier: String) {
        lastEvent = max(lastEvent, journaled, history.map(\.sequence).max() ?? 0)
        // An agent that numbers none may have written some.
        var foreign = known.count { $0.sequence == 0 }
        for position in history.indices where history[position].sequence == 0 {
            lastEvent += 1
            history[position].sequence = lastEvent
            if foreign > 0 { foreign -= 1 } else { history[position].bootIdentifier = bootIdentifier }
        }
        while history.count > Self.recentLimit, let first = history.first, first.sequence <= journaled {
            history.removeFirst()
        }
    }

    /// What waits for its first boot has its entry.
    mutating func recordActivation() {
        guard let event = pending?.event else { return }
        pending?.event = nil
        record(event)
        noteSuccess(.update)
    }

    mutating func deny(_ version: String, _ kind: FailureKind, cause: String, at time: UTCTime) {
        denied.removeAll { ImageVersion.areEqual($0.version, version) }
        var denial = DeniedVersion(version: version, cause: cause, time: time)
        denial.kind = kind
        denial.reoffers = reofferCount(of: version)
        denied.append(denial)
        if denied.count > Self.deniedLimit { denied.removeFirst(denied.count - Self.deniedLimit) }
    }

    /// Keeps the newest ones where there are more than a state has room for.
    mutating func setRevoked(_ versions: [String: String]) {
        guard versions.count > Self.revokedLimit else {
            revoked = versions
            return
        }
        let newest = versions.sorted { ImageVersion.compare($0.key, $1.key) > 0 }.prefix(Self.revokedLimit)
        revoked = Dictionary(uniqueKeysWithValues: newest.map { ($0.key, $0.value) })
    }

    /// - Parameter isWatched: whether it is still on probation: what it came to before counts until it is through.
    mutating func addGood(_ version: String, isWatched: Bool = false) {
        unproved.removeAll { $0 == version }
        if !isWatched { setbacks.removeAll { ImageVersion.areEqual($0.version, version) } }
        good.removeAll { $0 == version }
        good.append(version)
        if good.count > Self.goodLimit { good.removeFirst(good.count - Self.goodLimit) }
    }

    /// The version has not proved itself, or does not hold any more.
    mutating func removeGood(_ version: String) {
        good.removeAll { $0 == version }
        unproved.removeAll { $0 == version }
        unproved.append(version)
        if unproved.count > Self.goodLimit { unproved.removeFirst(unproved.count - Self.goodLimit) }
    }
}

extension [String: String] {
    /// Among revoked versions, each with the one that revokes it, what revokes `version`, in whatever spelling.
    func revoker(of version: String) -> String? {
        self[version] ?? first { ImageVersion.areEqual($0.key, version) }?.value
    }
}
