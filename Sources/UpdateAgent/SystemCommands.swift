import Command
import Fault
import FileIO
import JSON
import SystemPackage

/// The programs of the host that the agent uses: systemctl, busctl and journalctl.
enum SystemCommands {
    private static let patience = 60
    static let journalLines = 400
    static let journalBytes = 256 << 10
    /// How many boots back a version that did not come up is looked for.
    private static let bootsToSearch = 12

    /// Asks logind, which tells those who have something to put in order, and where it refuses, systemd itself: logind from 257 on
    /// refuses root, too, while somebody holds a block inhibitor lock. Whether one counts is for the caller to decide before: a version
    /// that is not healthy must be left.
    static func reboot() throws(UpdateAgentFault) {
        let ways = [
            ["--check-inhibitors=no", "reboot"],
            ["--no-block", "--job-mode=replace-irreversibly", "start", "reboot.target"],
        ]
        var said = ""
        for way in ways {
            guard let outcome = try systemctl(way, withinSeconds: patience) else { continue }
            if outcome.status == 0 { return }
            said = outcome.errorText.split(separator: "\n").first.map { ": \($0.excerpt(limit: 200))" } ?? ""
        }
        throw UpdateAgentFault(.system, "the host cannot be rebooted: systemctl did not succeed\(said)")
    }

    /// Starts the agent itself anew, once it has let go of the caller.
    static func restartAgent() throws(UpdateAgentFault) {
        let outcome = try systemctl(["--no-block", "restart", "ballastd.service"], withinSeconds: patience)
        guard outcome?.status == 0 else {
            throw UpdateAgentFault(.system, "the agent cannot be started anew: 'systemctl restart' did not succeed")
        }
    }

    /// Runs a oneshot service to its end.
    ///
    /// - Throws: `notFound` where there is none, `invalid` where it is another kind of unit, `system` where it fails, or where it is stopped
    ///   since its time is over.
    static func start(_ unit: String, withinSeconds seconds: Int) throws(UpdateAgentFault) {
        let remedy = "'journalctl -u \(unit)' says more"
        let properties = try properties(of: unit)
        if properties["LoadState"] == "not-found" {
            throw UpdateAgentFault(.notFound, "there is no unit \(unit)")
        }
        guard properties["Type"] ?? "oneshot" == "oneshot" else {
            throw UpdateAgentFault(
                .invalid, "\(unit) is no oneshot service, so it does not end", remedy: "name one with 'Type=oneshot'")
        }
        // One that is still active from another time would be taken for one that has run now.
        if properties["RemainAfterExit"] == "yes" { try stop(unit) }
        guard let outcome = try systemctl(["start", "--", unit], withinSeconds: seconds) else {
            try stop(unit)
            throw UpdateAgentFault(.system, "\(unit) did not end within \(seconds) s", remedy: remedy)
        }
        guard outcome.status == 0 else {
            let said = outcome.errorText.split(separator: "\n").first.map { ": \($0.excerpt(limit: 200))" } ?? ""
            throw UpdateAgentFault(.system, "\(unit) failed\(said)", remedy: remedy)
        }
    }

    /// Ends a unit, if it is active. systemd kills what does not end by itself after TimeoutStopSec=, 90 s where nothing else is said.
    static func stop(_ unit: String) throws(UpdateAgentFault) {
        guard try systemctl(["stop", "--", unit], withinSeconds: 3 * patience) != nil else {
            throw UpdateAgentFault(.system, "\(unit) cannot be stopped", remedy: "'systemctl status \(unit)' says more")
        }
    }

    /// Runs a program as a oneshot service that is gone when it ends.
    static func run(_ words: [String], withinSeconds seconds: Int) throws(UpdateAgentFault) {
        let unit = "ballast-undo.service"
        // Its start has ended when a oneshot service has. One from before must not run beside it.
        try stop(unit)
        let options = [
            "--quiet", "--collect", "--service-type=oneshot", "--unit=\(unit)", "-p", "TimeoutStartSec=\(seconds)",
        ]
        let line = words.joined(separator: " ").excerpt(limit: 100)
        do throws(CommandFault) {
            // systemd would put variables in their place.
            let command = Command("systemd-run", options + ["--"] + words.map { $0.replacing("$", with: "$$") })
            guard let outcome = try command.outcome(withinSeconds: seconds + patience), outcome.status == 0 else {
                throw CommandFault(.failed, "'\(line)' did not succeed within \(seconds) s")
            }
        } catch {
            throw UpdateAgentFault(
                .system, "'\(line)' cannot be run", remedy: "'journalctl -u \(unit)' says more", cause: error)
        }
    }

    /// What systemd says of a unit.
    private static func properties(of unit: String) throws(UpdateAgentFault) -> [String: String] {
        let arguments = ["show", "-p", "LoadState", "-p", "Type", "-p", "RemainAfterExit", "--", unit]
        let text = try systemctl(arguments, withinSeconds: patience)?.outputText ?? ""
        let pairs = text.split(separator: "\n").compactMap { line -> (String, String)? in
            let parts = line.split(separator: "=", maxSplits: 1)
            return parts.count == 2 ? (String(parts[0]), String(parts[1])) : nil
        }
        return Dictionary(pairs, uniquingKeysWith: { $1 })
    }

    private static func systemctl(
        _ arguments: [String], withinSeconds seconds: Int
    ) throws(UpdateAgentFault) -> Command.Outcome? {
        do throws(CommandFault) { return try Command("systemctl", arguments).outcome(withinSeconds: seconds) } catch {
            throw UpdateAgentFault(.system, "systemd cannot be asked", cause: error)
        }
    }

    /// Who holds a block inhibitor lock on shutdown, by logind's ListInhibitors: what, who, why, mode, user, process of each. A host
    /// without logind has none; where logind cannot be asked, that is said in their place.
    static func shutdownInhibitors() -> [String] {
        let command = Command(
            "busctl",
            [
                "--json=short", "call", "org.freedesktop.login1", "/org/freedesktop/login1",
                "org.freedesktop.login1.Manager", "ListInhibitors",
            ])
        guard FilePath("/run/dbus/system_bus_socket").exists else { return [] }
        let state = (try? properties(of: "systemd-logind.service"))?["LoadState"]
        guard state != "not-found", state != "masked" else { return [] }
        do {
            guard let outcome = try command.outcome(withinSeconds: patience) else {
                return ["logind does not answer, so nobody knows who holds a lock"]
            }
            if outcome.status == 0 { return try inhibitors(JSONCursor(parsing: outcome.output, source: "busctl")) }
            let said = outcome.errorText.split(separator: "\n").first.map { String($0).excerpt(limit: 200) } ?? ""
            return said.contains("not provided by any .service files") ? [] : ["logind cannot be asked: \(said)"]
        } catch {
            return ["logind cannot be asked: \(error)"]
        }
    }

    static func inhibitors(_ cursor: JSONCursor) throws(JSONFault) -> [String] {
        var holders: [String] = []
        for result in try cursor.field("data").elements(atMost: 16) {
            for entry in try result.elements(atMost: 10_000) {
                let values = try entry.elements(atMost: 16)
                guard values.count >= 6 else { throw entry.unexpected("expected six values") }
                let what = try values[0].string().split(separator: ":")
                guard what.contains("shutdown"), try values[3].string() == "block" else { continue }
                let why = try values[2].string()
                holders.append(
                    "\(try values[1].string().excerpt(limit: 100)), process \(try values[5].integer()): "
                        + (why.isEmpty ? "no reason given" : why.excerpt(limit: 200)))
            }
        }
        return holders
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
