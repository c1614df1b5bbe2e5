/// `io.ballast.Update` in Varlink's definition language.
public enum UpdateInterface {
    /// The interface's name.
    public static let name = "io.ballast.Update"

    /// What tells a reader more about the service.
    static let address = "man:ballastctl(1)"

    /// The definition that `varlinkctl introspect` prints.
    public static let description = """
        # Updates of an image-based host with two slots: what it runs, what it would take, and why.
        #
        # Status, History, Events and Watch are for everyone. All other methods are for root and members of the group 'ballast',
        # by the credentials of the caller's process. Times are RFC 3339 in UTC, such as 2030-01-31T00:00:00Z. Newer agents
        # may add members to every type; readers have to pass over those they do not know.
        interface io.ballast.Update

        # What the agent is doing. 'name' is idle, checking, available, planning, staging, staged, waiting, rebooting,
        # proving, good or rolled-back; 'reason' says why it waits or went back.
        type State (
            name: string,
            version: ?string,
            reason: ?string
        )

        # How far an update is. Bytes are those of the image and its kernel.
        type Progress (
            state: State,
            bytes_done: int,
            bytes_total: int,
            bytes_per_second: int,
            percent: int
        )

        # The slot that does not run. 'standing' is empty, good, activated (the next boot tries it), denied, revoked or unproven.
        type OtherSlot (
            name: string,
            version: ?string,
            standing: string
        )

        # A version that this host does not take.
        # 'kind' is health, probation, unfinished, not-started or operator, or environment of what a rollback was to bring back; 'reoffers' is
        # how often its publisher had offered it anew.
        type DeniedVersion (
            version: string,
            cause: string,
            kind: string,
            time: string,
            reoffers: int
        )

        # A version that did not prove itself for a reason that says nothing about it, 'count' times in a row, and is tried again. 'kind'
        # is environment, unfinished or not-started.
        type Setback (
            version: string,
            kind: string,
            cause: string,
            count: int,
            time: string,
            retry_time: string
        )

        # What holds a restart back: 'kind' is settings (the operator's are not understood), window, inhibitor, gate or drain;
        # 'until' is there where it is known.
        type Hold (
            kind: string,
            name: string,
            reason: string,
            until: ?string
        )

        # What waits for a restart. 'kind' is none, units (those in 'units' are started anew) or full (the machine boots 'version'); 'doing'
        # is what is being done before or after one, 'drained' what was done before one and has not been undone yet.
        type Restart (
            kind: string,
            version: ?string,
            units: []string,
            held_by: ?Hold,
            doing: ?string,
            drained: []string
        )

        # What the host runs, what it is doing and why. 'reason' is the last check's answer; 'last_error' is the last
        # failure that nothing has succeeded after; 'next_check' is null on a host that does not check by itself.
        type HostStatus (
            product: string,
            version: string,
            architecture: string,
            slot: ?string,
            other_slot: ?OtherSlot,
            state: State,
            progress: ?Progress,
            pinned: ?string,
            denied: []DeniedVersion,
            setbacks: []Setback,
            last_check: ?string,
            next_check: ?string,
            reason: ?string,
            last_error: ?string,
            repository: ?string,
            mirrors: []string,
            restart: Restart,
            channel: string,
            agent: string
        )

        # Something that happened on this host. Each has a number of its own, one more than the one before, and the identifier of the
        # boot in which it was noted. 'kind' is staged, activated, proved, confirmed, rolled-back, rollback, rollback-failed,
        # rollback-withdrawn, withdrawn, interrupted, denied, allowed, pinned, unpinned, restart-held, drained, undrained, restarting,
        # served, unhealthy, failed or state-damaged; 'detail' says the same in words. 'other_version' is what the host is on, or goes to,
        # instead of 'version'; 'task' is what failed: check, update, rollback, reboot, drain or undrain; 'step' is the step of a
        # restart, 'restart' how much is started anew: units or full. The 'seconds' of served are those without service. An older agent
        # may have left events without a number, with the kind noted.
        type Event (
            sequence: ?int,
            time: string,
            boot_id: ?string,
            kind: string,
            version: string,
            other_version: ?string,
            detail: string,
            cause: ?string,
            failure: ?string,
            task: ?string,
            step: ?string,
            restart: ?string,
            retry_time: ?string,
            tries: ?int,
            bytes: ?int,
            seconds: ?int
        )

        # One health check: 'problem' says why it did not hold, which says nothing about the version where it is of the 'environment'.
        type CheckOutcome (
            name: string,
            passed: bool,
            problem: ?string,
            seconds: int,
            environment: bool
        )

        # What the health checks of a boot came to.
        type Report (
            format: int,
            version: string,
            time: string,
            passed: bool,
            checks: []CheckOutcome
        )

        # 'verdict' is good, problem or unknown.
        type Finding (
            name: string,
            verdict: string,
            detail: string,
            remedy: ?string
        )

        # What an update came to. 'outcome' is nothing, staged (fetched and written) or activated (the other slot held it).
        type UpdateResult (
            outcome: string,
            version: ?string,
            detail: string,
            bytes_fetched: int,
            seconds: int,
            rebooting: bool
        )

        # What the host runs, what it is doing and why.
        method Status() -> (status: HostStatus)

        # Asks the repository. 'available' is the version that the host would take, null where there is none. Where the host is at
        # something else, it waits for the end, or with 'wait' false ends with Busy.
        method Check(wait: ?bool) -> (
            running: string,
            available: ?string,
            reason: string,
            notes: ?string,
            download_size: ?int,
            in_other_slot: bool
        )

        # Brings the newest version that the host may take into the other slot, and makes the next boot try it. With 'more',
        # progress comes before the result. Where the host is at that already, the answer is what that comes to. A caller that leaves does
        # not end the update.
        method Update() -> (progress: ?Progress, result: ?UpdateResult)

        # Reboots the host when it has got ready for that: Held says what holds it back. With 'force', windows, inhibitors, gates and drains
        # are passed over.
        method Reboot(force: ?bool) -> (detail: string, version: ?string, rebooting: bool)

        # Makes the next boot that of the other slot's version, and denies the one that runs. Reboots then if asked to, as Reboot does.
        method Rollback(reboot: ?bool, force: ?bool) -> (detail: string, version: ?string, rebooting: bool)

        # Takes no other version from now on.
        method Pin(version: string) -> (detail: string, version: ?string, rebooting: bool)

        # Takes the newest version again.
        method Unpin() -> (detail: string, version: ?string, rebooting: bool)

        # Never takes a version until it is allowed again.
        method Deny(version: string, reason: ?string) -> (detail: string, version: ?string, rebooting: bool)

        # Takes back that a version is denied.
        method Allow(version: string) -> (detail: string, version: ?string, rebooting: bool)

        # What happened here, oldest first: the newest 'limit' events, or as many as an answer holds. With 'since', a time or a
        # duration such as 2d, what came before is left out.
        method History(limit: ?int, since: ?string) -> (events: []Event)

        # The events after number 'after', or after those that were acknowledged, oldest first: at most 'limit', or as many as an answer
        # holds. 'missed' is how many before the first are gone, since there was no room for them, or were never
        # given, where the state was damaged.
        method Events(after: ?int, limit: ?int) -> (events: []Event, acknowledged: int, missed: int)

        # Notes that a reporter has taken all events up to and with number 'sequence'.
        method AcknowledgeEvents(sequence: int) -> (detail: string, version: ?string, rebooting: bool)

        # What a version has left of its last boot when it did not prove itself: what its health checks came to, and the end of its
        # journal.
        method Logs(version: string) -> (version: string, report: ?Report, journal: ?string)

        # Whether what the host needs to update itself, and to come back, is as it should be.
        method Doctor() -> (findings: []Finding)

        # The status now and at every change, until the caller leaves. Has to be called with 'more'.
        method Watch() -> (status: HostStatus)

        # Another job runs.
        error Busy (message: string, remedy: ?string)

        # The version is denied on this host, or the host is pinned to another one.
        error Denied (message: string, remedy: ?string)

        # A restart is held back by a window, an inhibitor, a gate or a drain.
        error Held (message: string, remedy: ?string)

        # There is no such version.
        error NotFound (message: string, remedy: ?string)

        # The other slot holds no version that was good here.
        error NothingGood (message: string, remedy: ?string)

        # The repository's signatures, digests or order of versions do not hold.
        error Untrusted (message: string, remedy: ?string)

        # The repository's metadata has expired.
        error Expired (message: string, remedy: ?string)

        # Something could not be fetched. The next attempt goes on where this one ended.
        error Transfer (message: string, remedy: ?string)

        # The image or its kernel does not fit, or the disk is full.
        error NoSpace (message: string, remedy: ?string)

        # The caller may not do this.
        error NotPermitted (message: string, remedy: ?string)

        # A parameter, or a setting of the host, is not valid.
        error Invalid (message: string, remedy: ?string)

        # Anything else.
        error Failed (message: string, remedy: ?string)

        """
}
