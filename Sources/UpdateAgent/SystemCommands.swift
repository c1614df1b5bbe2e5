import Command
import Fault

/// The programs of the host that the agent uses: systemctl and journalctl.
enum SystemCommands {
    private static let patience = 60
    static let journalLines = 400
    static let journalBytes = 256 << 10
    /// How many boots back a version that did not come up is looked for.
    private static let bootsToSearch = 12

    static func reboot() throws(UpdateAgentFault) {
        do throws(CommandFault) {
            guard let outcome = try Command("systemctl", ["reboot"]).outcome(withinSeconds: patience),
                outcome.status == 0
            else {
                throw CommandFault(.failed, "'systemctl reboot' did not succeed")
            }
        } catch {
            throw UpdateAgentFault(.system, "the host cannot be rebooted", cause: error)
        }
    }

    /// The last lines of a boot's journal: of this one, or of the latest one whose kernel was given `rootHash`.
    static func journal(rootHash: String?) -> [UInt8] {
        guard let rootHash else { return tail(boot: 0) }
        let deadline = ContinuousClock.now + .seconds(2 * patience)
        for back in 1...bootsToSearch where ContinuousClock.now < deadline {
            // The kernel's command line is among the first lines of its boot.
            let kernel = Command("journalctl", ["-b", "-\(back)", "-k", "-o", "cat", "--no-pager", "-n", "+100"])
            guard let outcome = try? kernel.outcome(withinSeconds: patience), outcome.status == 0 else { return [] }
            if outcome.outputText.contains("roothash=\(rootHash)") { return tail(boot: -back) }
        }
        return []
    }

    private static func tail(boot: Int) -> [UInt8] {
        let command = Command(
            "journalctl", ["-b", "\(boot)", "-o", "short-monotonic", "--no-pager", "-n", "\(journalLines)"])
        guard let outcome = try? command.outcome(withinSeconds: patience), outcome.status == 0 else { return [] }
        return Array(outcome.output.suffix(journalBytes))
    }
}
