import Fault
import FileIO
import JSON
import SystemPackage
import Trust

/// The agent's state on disk, which several processes of it change one after another.
struct StateFile: Sendable {
    private static let byteLimit = 4 << 20

    private let directory: FilePath
    private let now: @Sendable () -> UTCTime

    init(directory: FilePath, now: @escaping @Sendable () -> UTCTime) {
        self.directory = directory
        self.now = now
    }

    private var path: FilePath { directory.appending("state.json") }

    /// The state as it is on disk.
    func read() throws(UpdateAgentFault) -> AgentState { try change { $0 } }

    /// Lets `body` change the state, and returns when the outcome is on the medium.
    func change<Result>(_ body: (inout AgentState) -> Result) throws(UpdateAgentFault) -> Result {
        try change(before: { _ in }, body, after: { _ in })
    }

    /// The same together with what belongs to it on the boot partition, so that nobody sees, or changes, one without the other.
    /// None of the three may ask for the state, which is locked until the last one returns.
    ///
    /// - Parameters:
    ///   - before: given the state as it is; where it throws, nothing is changed.
    ///   - after: given what `body` returned, when the outcome is on the medium, where it stays if this throws.
    func change<Result>(
        before: (AgentState) throws(UpdateAgentFault) -> Void, _ body: (inout AgentState) -> Result,
        after: (Result) throws(UpdateAgentFault) -> Void
    ) throws(UpdateAgentFault) -> Result {
        let (lock, known) = try attempt { () throws(FileIOFault) in
            try directory.makeDirectories()
            let lock = try FileLock.waiting(for: directory.appending("state.lock"))
            return (lock, try load())
        }
        defer { _ = lock }
        try before(known)
        var state = known
        let result = body(&state)
        if state != known { state.fit(Self.byteLimit) }
        try attempt { () throws(FileIOFault) in
            if state != known || !path.exists { try path.replaceContents(with: state.json.text(inlineDepth: 2)) }
        }
        try after(result)
        return result
    }

    /// What a file holds that is no state is put aside, for a person to look at; a host without a past is better than none.
    private func load() throws(FileIOFault) -> AgentState {
        let bytes: [UInt8]
        do throws(FileIOFault) { bytes = try path.contents(limit: Self.byteLimit) } catch {
            switch error.code {
            case .notFound: return AgentState()
            case .tooLarge: return try putAside(error.description)
            case .notPermitted, .exists, .noSpace, .truncated, .other: throw error
            }
        }
        do throws(JSONFault) {
            return try AgentState(parsing: JSONCursor(parsing: bytes, source: path.string))
        } catch {
            return try putAside(error.description)
        }
    }

    private func putAside(_ problem: String) throws(FileIOFault) -> AgentState {
        let aside = directory.appending("state.json.damaged")
        try path.rename(to: aside)
        var state = AgentState()
        var event = HistoryEvent(
            .noted, version: "", detail: "the agent's state was damaged and is in \(aside)", at: now())
        event.cause = problem
        state.record(event)
        try path.replaceContents(with: state.json.text(inlineDepth: 2))
        return state
    }

    private func attempt<Result>(_ body: () throws(FileIOFault) -> Result) throws(UpdateAgentFault) -> Result {
        do throws(FileIOFault) { return try body() } catch {
            throw UpdateAgentFault(.state, "the agent's state cannot be kept", cause: error)
        }
    }
}
