import Fault
import FileIO
import Glibc
import JSON
import SystemPackage
import Trust

/// The agent's state on disk, which several processes of it change one after another.
struct StateFile: Sendable {
    private static let byteLimit = 4 << 20
    /// Room that is kept for what the agent has to note on a full disk, in bytes.
    private static let reserveSize = 1 << 20
    /// So many numbers of events are reserved at once: after a state that is lost, the next event has a higher one than any before.
    private static let eventStride: Int64 = 64

    private let directory: FilePath
    private let now: @Sendable () -> UTCTime
    private let bootIdentifier: String
    private let journal: EventJournal

    init(directory: FilePath, bootIdentifier: String, now: @escaping @Sendable () -> UTCTime) {
        self.directory = directory
        self.bootIdentifier = bootIdentifier
        self.now = now
        journal = EventJournal(directory: directory)
    }

    private var reserve: FilePath { directory.appending("reserve") }
    private var path: FilePath { directory.appending("state.json") }
    /// What an operator has decided, once more: it outlives a state that is lost.
    private var decisionsPath: FilePath { directory.appending("decisions.json") }

    /// The state as it is on disk. Takes no lock and writes nothing: whoever asks what is so is answered also where the disk is full, or
    /// somebody else changes it.
    func read() throws(UpdateAgentFault) -> AgentState {
        try attempt { () throws(FileIOFault) in try load().state }
    }

    /// What happened here, oldest first: the journal's events, and those that only the state has.
    func events() throws(UpdateAgentFault) -> [HostEvent] {
        // The state first: what moves from it to the journal meanwhile is then in both.
        let recent = try read().history
        guard let journaled = try? journal.events() else { return recent }
        let last = journaled.last?.sequence ?? 0
        return journaled + recent.filter { $0.sequence > last || $0.sequence == 0 }
    }

    /// Lets `body` change the state, and returns when the outcome is on the medium. Where it throws, nothing is changed. Neither it nor
    /// `after` may ask for the state, which is locked until both have returned.
    ///
    /// - Parameter after: given the state as it was and as it is, when that is on the medium, where it stays if this throws.
    func change<Result>(
        _ body: (inout AgentState) throws(UpdateAgentFault) -> Result,
        after: (AgentState, AgentState) throws(UpdateAgentFault) -> Void = { _, _ in }
    ) throws(UpdateAgentFault) -> Result {
        let (lock, known, isDamaged) = try attempt { () throws(FileIOFault) in
            try directory.makeDirectories()
            let lock = try FileLock.waiting(for: directory.appending("state.lock"))
            let (state, isDamaged) = try load()
            if isDamaged { try putAside() }
            return (lock, state, isDamaged)
        }
        defer { _ = lock }
        var state = known
        let result = try body(&state)
        if state.history != known.history || state.history.contains(where: { $0.sequence == 0 }) || isDamaged {
            state.numberEvents(
                known: known.history, journaled: (try? journal.lastSequence()) ?? 0, bootIdentifier: bootIdentifier)
        }
        if state != known || isDamaged { state.fit(Self.byteLimit) }
        func write() throws(FileIOFault) {
            // First, for it only counts where the other one is lost.
            let decided = decided()
            try keep(state.decisions(reservedEvents: decided.lastEvent))
            if state != known || isDamaged || !path.exists {
                try path.replaceContents(with: state.json.text(inlineDepth: 2))
            }
            // Not before the numbers are given, or a cut in between leaves a gap; and in strides, for they change with each event.
            if state.lastEvent > 0, state.lastEvent + Self.eventStride / 2 > decided.lastEvent {
                try keep(state.decisions(reservedEvents: state.lastEvent + Self.eventStride))
            }
        }
        try attempt { () throws(FileIOFault) in
            do throws(FileIOFault) { try write() } catch {
                // Not for each little thing, or it is gone when it is needed.
                guard error.code == .noSpace, state.decides(otherwiseThan: known), reserve.exists else { throw error }
                try reserve.removeTree()
                try write()
            }
        }
        // What cannot be added now, as on a full disk, is the next time: the state has it.
        if state != known { try? journal.append(state.history) }
        try after(known, state)
        keepReserve()
        return result
    }

    /// Takes some room where there is plenty. A host that can write nothing could not say what it leaves, and would be tried again.
    private func keepReserve() {
        guard !reserve.exists, let space = try? directory.availableSpace(), space > 16 * Int64(Self.reserveSize) else {
            return
        }
        // Not zeros, of which some file systems make nothing.
        var chance = SystemRandomNumberGenerator()
        let words: [UInt64] = (0..<Self.reserveSize / 8).map { _ in chance.next() }
        try? reserve.replaceContents(with: words.withUnsafeBytes { Array($0) })
    }

    /// Removes the unfinished files that a power cut or a kill has left of what is written here.
    func removeLeftovers() {
        for place in [
            directory, directory.appending("trust"), directory.appending("health"), directory.appending("journal"),
        ] {
            for name in (try? place.directoryEntries()) ?? [] {
                guard let process = PendingFile.process(name), kill(process, 0) != 0, errno == ESRCH else { continue }
                try? place.appending(name).removeTree()
            }
        }
    }

    private func keep(_ decisions: JSONValue) throws(FileIOFault) {
        let text = decisions.text(inlineDepth: 2)
        guard (try? decisionsPath.contents(limit: Self.byteLimit)) != Array(text.utf8) else { return }
        try decisionsPath.replaceContents(with: text)
    }

    /// What a file holds that is no state is to be put aside, for a person to look at; pins and denials are in another file.
    private func load() throws(FileIOFault) -> (state: AgentState, isDamaged: Bool) {
        let bytes: [UInt8]
        do throws(FileIOFault) { bytes = try path.contents(limit: Self.byteLimit) } catch {
            switch error.code {
            case .notFound: return (decided(), false)
            case .tooLarge: return (damaged(error.description), true)
            case .other where error.isOfMedium: return (damaged(error.description), true)
            case .notPermitted, .exists, .noSpace, .truncated, .other: throw error
            }
        }
        do throws(JSONFault) {
            var state = try AgentState(parsing: JSONCursor(parsing: bytes, source: path.string))
            // What cannot be understood as a whole is in the other file.
            if state.extra["denied"] != nil { state.denied = decided().denied }
            if state.extra["pinned"] != nil { state.pinned = decided().pinned }
            return (state, false)
        } catch {
            return (damaged(error.description), true)
        }
    }

    /// A state of which nothing is known but what was decided.
    private func decided() -> AgentState {
        guard let bytes = try? decisionsPath.contents(limit: Self.byteLimit),
            let cursor = try? JSONCursor(parsing: bytes, source: decisionsPath.string),
            let state = try? AgentState(parsing: cursor)
        else { return AgentState() }
        return state
    }

    private var aside: FilePath { directory.appending("state.json.damaged") }

    /// The state of a host whose file cannot be read.
    private func damaged(_ problem: String) -> AgentState {
        var state = decided()
        let kept = state.pinned != nil || !state.denied.isEmpty ? "; its pin and denials are kept" : ""
        state.record(HostEvent(.stateDamaged, version: "", cause: problem, at: now()))
        state.lastError = "the agent's state was damaged and is in \(aside)\(kept): \(problem)"
        return state
    }

    private func putAside() throws(FileIOFault) {
        // A copy, so that no power cut leaves neither; what is too large for one keeps its file.
        do throws(FileIOFault) { try aside.replaceContents(with: path.contents(limit: 2 * Self.byteLimit)) } catch {
            try path.rename(to: aside)
        }
    }

    private func attempt<Result>(_ body: () throws(FileIOFault) -> Result) throws(UpdateAgentFault) -> Result {
        do throws(FileIOFault) { return try body() } catch {
            throw UpdateAgentFault(.state, "the agent's state cannot be kept", cause: error)
        }
    }
}
