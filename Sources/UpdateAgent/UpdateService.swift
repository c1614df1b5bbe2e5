public import Fault
public import JSON

/// What the agent says to whoever asks: a document for programs and a line for people.
public protocol AgentAnswer: Sendable {
    /// The document; members in snake_case, times as `2030-01-31T00:00:00Z`.
    var json: JSONValue { get }
    /// One line, without a newline at its end.
    var text: String { get }
}

/// What an operator can ask of a host. Calls block until their work is done and may come from any thread.
///
/// Whether the caller may change anything is for the transport to decide; what only reads is for everyone.
public protocol UpdateService: Sendable {
    /// What the host runs, what it is doing and why.
    func status() throws(UpdateAgentFault) -> HostStatus

    /// Asks the repository what is published, and says what the host would take and why. Where another job runs, it waits for that.
    ///
    /// - Parameters:
    ///   - waits: whether it does.
    ///   - hasLeft: whether whoever asks has left, and need not wait any more; asked once a second.
    /// - Throws: `busy` while another job runs and it does not.
    func check(waits: Bool, hasLeft: @escaping @Sendable () -> Bool) throws(UpdateAgentFault) -> CheckResult

    /// Brings the newest version that this host may take into the other slot and makes the next boot try it. Where the
    /// policy says so, the host reboots. Where the host is at that already, this waits for the end and says what it came to.
    ///
    /// - Parameters:
    ///   - hasLeft: whether whoever asks has left, and need not wait any more; asked once a second.
    ///   - progress: called from the thread that works, a few times a second at most; must not block.
    /// - Throws: `busy` while another process of the agent works.
    func update(
        hasLeft: @escaping @Sendable () -> Bool, progress: @escaping @Sendable (UpdateProgress) -> Void
    ) throws(UpdateAgentFault) -> UpdateResult

    /// Reboots the host, when it has got ready for that.
    ///
    /// - Parameter force: whether windows, inhibitors, gates and drains are passed over.
    /// - Throws: `held` where one of them holds the restart back, or a drain does not succeed; `busy` while another restart is being
    ///   got ready for.
    func reboot(force: Bool) throws(UpdateAgentFault) -> ActionResult

    /// Makes the next boot that of the other slot's version, and denies the one that runs.
    ///
    /// - Parameters:
    ///   - reboot: whether to reboot then, as ``reboot(force:)`` does.
    ///   - force: whether what holds a restart back is passed over.
    /// - Throws: `nothingGood` where the other slot holds no version that was good here; the message says what it holds.
    func rollback(reboot: Bool, force: Bool) throws(UpdateAgentFault) -> ActionResult

    /// Takes no other version than `version` from now on.
    func pin(_ version: String) throws(UpdateAgentFault) -> ActionResult

    /// Takes the newest version again.
    func unpin() throws(UpdateAgentFault) -> ActionResult

    /// Never takes `version` until it is allowed again.
    func deny(_ version: String, reason: String?) throws(UpdateAgentFault) -> ActionResult

    /// Takes back that `version` is denied.
    func allow(_ version: String) throws(UpdateAgentFault) -> ActionResult

    /// What happened here, oldest first.
    func history() throws(UpdateAgentFault) -> [HostEvent]

    /// The events after number `after`, or after those that a reporter has taken, oldest first, at most `limit`.
    func events(after: Int64?, limit: Int?) throws(UpdateAgentFault) -> EventPage

    /// Notes that a reporter has taken all events up to and with number `sequence`.
    ///
    /// - Throws: `invalid` where there is no such event yet.
    func acknowledgeEvents(upTo sequence: Int64) throws(UpdateAgentFault) -> ActionResult

    /// What `version` has left here of its last boot, when it did not prove itself.
    ///
    /// - Throws: `notFound` where it has left nothing.
    func logs(_ version: String) throws(UpdateAgentFault) -> VersionLogs

    /// Whether what the host needs is as it should be. Changes nothing, and asks nobody else.
    func doctor() -> [Finding]

    /// Calls `observer` with the current status and then with each that follows, until the returned registration is
    /// released or cancelled.
    ///
    /// - Parameter observer: called from the thread that changed something; must not block.
    func watch(_ observer: @escaping @Sendable (HostStatus) -> Void) -> WatchRegistration
}

/// An observer's place with the agent; gone when this value is.
public final class WatchRegistration: Sendable {
    private let onCancel: @Sendable () -> Void

    /// A registration that `onCancel` ends; it may be called more than once.
    public init(onCancel: @escaping @Sendable () -> Void) {
        self.onCancel = onCancel
    }

    /// Ends it now.
    public func cancel() { onCancel() }

    deinit { onCancel() }
}
