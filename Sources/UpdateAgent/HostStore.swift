import BootControl
import BootLoader
import Fault
import FileIO
import Release

/// The agent's state together with the boot partition, so that nobody sees, or changes, one without the other. This is the only one
/// who makes or removes boot entries.
struct HostStore: Sendable {
    /// What happens where the boot partition cannot be read or written.
    enum Demand {
        /// Nothing is decided.
        case everything
        /// What is decided counts all the same, and the state says what is wrong.
        case whatIsPossible
    }

    let file: StateFile
    let host: Host
    let product: String
    let tries: Int

    init(host: Host, settings: AgentSettings) {
        file = StateFile(directory: host.paths.state, bootIdentifier: host.bootIdentifier, now: host.now)
        self.host = host
        product = settings.product
        tries = settings.tries
    }

    /// The state as it is on disk.
    func read() throws(UpdateAgentFault) -> AgentState { try file.read() }

    /// Changes what does not concern the boot partition.
    func change<Result>(
        _ body: (inout AgentState) throws(UpdateAgentFault) -> Result
    ) throws(UpdateAgentFault) -> Result {
        try file.change(body)
    }

    /// What happened here, oldest first.
    func events() throws(UpdateAgentFault) -> [HostEvent] { try file.events() }

    func entries() throws(BootControlFault) -> BootEntries { BootEntries(try host.bootFiles(), product: product) }

    /// The facts as they are now.
    func facts() throws(UpdateAgentFault) -> BootFacts { try survey().facts }

    /// What can be said of a boot whose partitions cannot be read.
    func blindFacts() -> BootFacts {
        BootFacts(
            running: host.running.description, bootIdentifier: host.bootIdentifier, counted: host.countedEntry(),
            tries: tries, entries: [], kernels: [], other: .unknown)
    }

    private func survey() throws(UpdateAgentFault) -> (facts: BootFacts, strays: [String]) {
        let survey = try UpdateAgentFault.booting { () throws(BootControlFault) in try entries().survey() }
        var facts = blindFacts()
        facts.entries = survey.entries
        facts.kernels = survey.kernels
        if let other = try? host.slots().slots().first(where: { !$0.isRunning }) {
            facts.other = other.version(of: product).map { .version($0) } ?? .empty
        }
        return (facts, survey.strays)
    }

    /// Changes the state, and makes the boot entries follow it: what shall not boot any more goes before the change is on disk, and
    /// what shall boot comes after it. Power may be cut anywhere in between.
    ///
    /// - Parameters:
    ///   - kernel: the kernel image of what waits for its first boot from now on.
    ///   - clearing: whether the other slot is about to be written, so that nothing boots it.
    ///   - body: given the facts, or nil where they cannot be read; where it throws, nothing is changed.
    func decide<Result>(
        _ demand: Demand = .everything, kernel: KernelName? = nil, clearing: Bool = false,
        _ body: (inout AgentState, BootFacts?) throws(UpdateAgentFault) -> Result
    ) throws(UpdateAgentFault) -> Result {
        var after: [BootPolicy.Edit] = []
        var problem: String?
        defer {
            // What was decided is so, and what boots is not what was decided.
            if let problem { _ = try? file.change { $0.bootProblem = problem } }
        }
        return try file.change { state throws(UpdateAgentFault) in
            let before = state
            let running = host.running.description
            func isPossible() -> Bool {
                demand == .whatIsPossible && !BootPolicy.isGivenUp(before, state, running: running)
            }
            let facts: BootFacts
            let strays: [String]
            do throws(UpdateAgentFault) { (facts, strays) = try survey() } catch {
                guard demand == .whatIsPossible else { throw error }
                let result = try body(&state, nil)
                guard isPossible() else { throw error }
                state.bootProblem = Self.text(error)
                return result
            }
            let result = try body(&state, facts)
            let edits = try BootPolicy.edits(
                from: before, to: state, facts, product: product, kernel: kernel, clearing: clearing)
            after = edits.after
            state.bootProblem = nil
            // Without an entry of what runs, whatever else there is may be what the loader has taken.
            let isSafe = facts.entries.contains { $0.name.version == running }
            do throws(UpdateAgentFault) { try perform(edits.before, removing: isSafe ? strays : []) } catch {
                guard isPossible() else { throw error }
                state.bootProblem = Self.text(error)
            }
            return result
        } after: { _, _ throws(UpdateAgentFault) in
            do throws(UpdateAgentFault) { try perform(after, removing: []) } catch {
                problem = Self.text(error)
                throw error
            }
        }
    }

    private static func text(_ fault: UpdateAgentFault) -> String {
        "what boots may not be what was decided: \(fault)".excerpt(limit: AgentState.sentenceLimit)
    }

    private func perform(_ edits: [BootPolicy.Edit], removing strays: [String]) throws(UpdateAgentFault) {
        guard !edits.isEmpty || !strays.isEmpty else { return }
        try UpdateAgentFault.booting { () throws(BootControlFault) in
            let entries = try entries()
            var gone = Set(strays)
            for edit in edits {
                switch edit {
                case .add(let name, let kernel):
                    gone.remove(name.description)
                    do throws(BootControlFault) { try entries.add(name, kernel: kernel) } catch {
                        guard error.code == .noSpace else { throw error }
                        // What shall not boot need not be the last resort either.
                        if case .bad = name.standing {
                            gone.insert(name.description)
                        } else {
                            try entries.remove(gone.sorted())
                            try entries.removeUnused(keeping: host.running.description)
                            try entries.add(name, kernel: kernel)
                        }
                    }
                case .remove(let entry): gone.insert(entry.fileName)
                }
            }
            try entries.remove(gone.sorted())
        }
    }
}
