import Command
import Dispatch
import Fault
import Synchronization

/// The programs of the host that the agent uses: systemctl and journalctl.
enum SystemCommands {
    static let journalLines = 400
    static let journalBytes = 256 << 10
    /// How many boots back a version that did not come up is looked for.
    private static let bootsToSearch = 12

    /// What a finished program left, or nil when it did not finish in time; it is then ended.
    ///
    /// The caller's thread waits. Everything else in the agent is synchronous: this is the one bridge.
    static func outcome(_ command: Command, seconds: Int = 60) throws(CommandFault) -> Command.Outcome? {
        let box = ResultBox()
        let done = DispatchSemaphore(value: 0)
        let task = Task.detached {
            do throws(CommandFault) {
                box.put(.success(try await command.outcome(outputLimit: 8 << 20)))
            } catch {
                box.put(.failure(error))
            }
            done.signal()
        }
        if done.wait(timeout: .now() + .seconds(seconds)) == .timedOut {
            task.cancel()
            return nil
        }
        return try box.take()?.get()
    }

    private final class ResultBox: Sendable {
        private let result = Mutex<Result<Command.Outcome, CommandFault>?>(nil)
        func put(_ value: Result<Command.Outcome, CommandFault>) { result.withLock { $0 = value } }
        func take() -> Result<Command.Outcome, CommandFault>? { result.withLock { $0 } }
    }

    static func reboot() throws(UpdateAgentFault) {
        do throws(CommandFault) {
            guard let outcome = try outcome(Command("systemctl", ["reboot"])), outcome.status == 0 else {
                throw CommandFault(.failed, "'systemctl reboot' did not succeed")
            }
        } catch {
            throw UpdateAgentFault(.system, "the host cannot be rebooted", cause: error)
        }
    }

    /// The last lines of a boot's journal: of this one, or of the latest one whose kernel was given `rootHash`.
    static func journal(rootHash: String?) -> [UInt8] {
        guard let rootHash else { return tail(boot: 0) }
        for back in 1...bootsToSearch {
            // The kernel's command line is among the first lines of its boot.
            let kernel = Command("journalctl", ["-b", "-\(back)", "-k", "-o", "cat", "--no-pager", "-n", "+100"])
            guard let outcome = try? outcome(kernel), outcome.status == 0 else { return [] }
            if outcome.outputText.contains("roothash=\(rootHash)") { return tail(boot: -back) }
        }
        return []
    }

    private static func tail(boot: Int) -> [UInt8] {
        let command = Command(
            "journalctl", ["-b", "\(boot)", "-o", "short-monotonic", "--no-pager", "-n", "\(journalLines)"])
        guard let outcome = try? outcome(command), outcome.status == 0 else { return [] }
        return Array(outcome.output.suffix(journalBytes))
    }
}
