import BootControl
import BootLoader
public import Fault
import FileIO
public import JSON
import Release
import SystemPackage
import Trust

/// One thing that a host needs, and whether it is as it should be.
public struct Finding: AgentAnswer, Hashable {
    /// How it is.
    public enum Verdict: String, Sendable, Hashable {
        /// As it should be.
        case good
        /// The host goes on, and somebody should look.
        case problem
        /// It cannot be told here.
        case unknown
    }

    /// What it is about: one word.
    public var name: String
    /// How it is.
    public var verdict: Verdict
    /// What was found.
    public var detail: String
    /// What to do, where there is something to do.
    public var remedy: String?

    static func good(_ name: String, _ detail: String) -> Finding {
        Finding(name: name, verdict: .good, detail: detail)
    }

    static func unknown(_ name: String, _ detail: String) -> Finding {
        Finding(name: name, verdict: .unknown, detail: detail)
    }

    static func problem(_ name: String, _ detail: String, remedy: String) -> Finding {
        Finding(name: name, verdict: .problem, detail: detail, remedy: remedy)
    }

    /// What `fault` says, and where it says nothing of what to do, `remedy`.
    static func problem(_ name: String, _ fault: UpdateAgentFault, remedy: String) -> Finding {
        var plain = fault.message
        if let cause = fault.cause { plain += ": \(cause)" }
        return problem(name, plain, remedy: fault.remedy ?? remedy)
    }

    /// One line.
    public var text: String {
        "\(name): \(verdict == .good ? "" : "\(verdict.rawValue): ")\(detail)" + (remedy.map { "; \($0)" } ?? "")
    }

    /// `{"name", "verdict", "detail", "remedy"}`.
    public var json: JSONValue {
        [
            "name": .string(name), "verdict": .string(verdict.rawValue), "detail": .string(detail),
            "remedy": remedy.map { .string($0) } ?? .null,
        ]
    }
}

extension Agent {
    /// Free bytes below which the agent's own directory is too full.
    private static let leastSpace: Int64 = 16 << 20

    /// Looks at what the host needs to update itself and to come back. Changes nothing, and asks nobody else.
    public func doctor() -> [Finding] {
        let known: AgentState?
        var findings: [Finding] = []
        do throws(UpdateAgentFault) {
            let state = try store.read()
            known = state
            findings.append(stateFinding(state))
        } catch {
            known = nil
            findings.append(.problem("state", error, remedy: Self.stateRemedy))
        }
        findings.append(diskFinding())
        findings += bootFindings(known)
        findings.append(watchdogFinding())
        findings.append(clockFinding(known))
        findings.append(repositoryFinding(known))
        return findings
    }

    private static let stateRemedy =
        "see by 'ballastctl status' what is still known, and pin or deny again what is missing"

    private func stateFinding(_ state: AgentState) -> Finding {
        let path = host.paths.state
        if let problem = state.readProblem { return .problem("state", problem, remedy: Self.stateRemedy) }
        if let problem = settingsProblem {
            return .problem("state", problem, remedy: "correct \(host.paths.overlay)")
        }
        guard let space = try? path.availableSpace() else {
            return .unknown("state", "the free space of \(path) cannot be read")
        }
        guard space >= Self.leastSpace else {
            return .problem(
                "state", "\(space) bytes are free where the agent keeps its state, \(path)",
                remedy: "make room on /var: 'journalctl --vacuum-size=100M' is often enough")
        }
        return .good("state", "\(space >> 20) MiB are free in \(path)")
    }

    private func diskFinding() -> Finding {
        do throws(UpdateAgentFault) {
            let slots = try slotView()
            let other = slots.otherVersion.map { "holds \($0)" } ?? "is empty"
            return .good("disk", "slot \(slots.running) runs, slot \(slots.other) \(other)")
        } catch {
            return .problem(
                "disk", error,
                remedy: "see 'dmesg' and 'sfdisk --verify', and do not reboot before the disk has its partitions again")
        }
    }

    private func bootFindings(_ known: AgentState?) -> [Finding] {
        let facts: BootFacts
        let space: Int64
        do throws(UpdateAgentFault) {
            facts = try store.facts()
            space = try UpdateAgentFault.booting { () throws(BootControlFault) in
                try store.entries().space(keeping: running)
            }
        } catch {
            return [
                .problem(
                    "boot", error,
                    remedy:
                        "see 'findmnt' and 'dmesg', and do not reboot before the boot partition is mounted and whole")
            ]
        }
        var findings: [Finding] = []
        if let problem = known?.bootProblem {
            findings.append(
                .problem("entries", problem, remedy: "see whether the boot partition can be written and is not full"))
        } else if let kernel = facts.kernel(of: running), facts.entries(of: running).contains(where: { !$0.isBad }) {
            let others = facts.entries.filter { $0.name.version != running && !$0.isBad }.map(\.name.version)
            let wayBack = others.isEmpty ? "nothing else boots" : "beside it \(others.joined(separator: ", "))"
            findings.append(kernelFinding(kernel, "\(running) boots; \(wayBack)"))
        } else {
            findings.append(
                .problem(
                    "entries", "\(running) runs and has no boot entry with tries left",
                    remedy:
                        "its kernel image and entry belong on the boot partition; an update brings a version that has both"
                ))
        }
        findings.append(.good("boot", "\(space >> 20) MiB are left for the next kernel image"))
        return findings
    }

    /// A kernel image has its digest in its name.
    private func kernelFinding(_ kernel: KernelName, _ detail: String) -> Finding {
        do throws(UpdateAgentFault) {
            let digest = try UpdateAgentFault.booting { () throws(BootControlFault) in
                try store.entries().digest(of: kernel)
            }
            guard let digest, KernelName(product: settings.product, version: running, digest: digest) == kernel else {
                return .problem(
                    "entries", "\(kernel) is not the kernel image that its name says",
                    remedy: "the boot partition is damaged: do not reboot before an update has brought another version")
            }
            return .good("entries", detail)
        } catch {
            return .problem(
                "entries", error, remedy: "see 'dmesg', and do not reboot before an update has brought another version")
        }
    }

    private func watchdogFinding() -> Finding {
        let device = host.paths.prefix.appending("sys/class/watchdog/watchdog0")
        guard device.exists else {
            return .problem(
                "watchdog", "there is none, so nothing ends a hang",
                remedy: "see 'boot.watchdog' of the manifest, and wdctl")
        }
        func word(_ name: String) -> String? {
            (try? device.appending(name).text(limit: 4096)).map { String($0.prefix { $0 != "\n" }) }
        }
        let name = word("identity") ?? "a watchdog"
        guard let state = word("state") else { return .unknown("watchdog", name) }
        return state == "active"
            ? .good("watchdog", "\(name) is active")
            : .problem("watchdog", "\(name) is \(state)", remedy: "see 'boot.watchdog' of the manifest, and wdctl")
    }

    private func clockFinding(_ known: AgentState?) -> Finding {
        let now = host.now()
        if let last = known?.lastCheck, last > now {
            return .problem(
                "clock", "it is \(now), and the last check was at \(last)", remedy: "set the clock: see 'timedatectl'")
        }
        guard host.paths.prefix.appending("run/systemd/timesync/synchronized").exists else {
            return .unknown("clock", "it is \(now); systemd-timesyncd has not set it")
        }
        return .good("clock", "it is \(now), as systemd-timesyncd has set it")
    }

    private func repositoryFinding(_ known: AgentState?) -> Finding {
        guard !settings.mirrors.isEmpty else {
            return .problem(
                "repository", "this host has none to ask", remedy: "set 'repository' in \(host.paths.overlay)")
        }
        guard host.paths.fetchSocket.exists else {
            return .problem(
                "repository", "there are no fetch workers",
                remedy: "start them with 'systemctl start ballast-fetch.socket'")
        }
        let remedy = "see 'ballastctl check' and 'journalctl -u ballastd'"
        guard let last = known?.lastCheck else {
            return .problem("repository", known?.lastError ?? "it was never asked with success", remedy: remedy)
        }
        let late = 3 * (settings.interval + settings.jitter)
        guard host.now() < last.adding(seconds: late) else {
            return .problem(
                "repository", "last asked with success at \(last)" + (known?.lastError.map { ": \($0)" } ?? ""),
                remedy: remedy)
        }
        if let error = known?.lastError { return .problem("repository", error, remedy: remedy) }
        return .good("repository", "asked with success at \(last)")
    }
}

/// What a version has left here of its last boot, when it did not prove itself.
public struct VersionLogs: AgentAnswer, Hashable {
    /// The version.
    public var version: String
    /// What its health checks came to.
    public var report: HealthReport?
    /// The end of its journal.
    public var journal: String?

    /// Both, the report first.
    public var text: String {
        [report?.text, journal].compactMap { $0 }.joined(separator: "\n")
    }

    /// `{"version", "report", "journal"}`.
    public var json: JSONValue {
        [
            "version": .string(version), "report": report?.json ?? .null,
            "journal": journal.map { .string($0) } ?? .null,
        ]
    }
}

extension Agent {
    /// What `version` has left here.
    public func logs(_ version: String) throws(UpdateAgentFault) -> VersionLogs {
        let version = try validated(version)
        let journal = try? host.paths.journal(of: version).contents(limit: 2 * SystemCommands.journalBytes)
        let logs = VersionLogs(
            version: version, report: HealthReport(host.paths.healthReport(of: version)),
            journal: journal.map { String(decoding: $0, as: UTF8.self) })
        guard logs.report != nil || logs.journal != nil else {
            throw UpdateAgentFault(
                .notFound, "\(version) has left no report and no journal here",
                remedy: "'ballastctl history' says what it came to; 'journalctl -b -1' has the boot before this one")
        }
        return logs
    }
}
