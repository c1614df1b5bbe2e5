import BootControl
import BootLoader
import Fault
import FileIO
import Release
import Synchronization
import SystemPackage
import TestSupport
import Testing
import Trust
import UpdateAgent

@Suite("What a host needs")
struct DoctorTests {
    /// What is found of a host on which everything is as it should be but what `spoil` has changed.
    func findings(_ spoil: (TestHost, FileMachine) throws -> Void = { _, _ in }) async throws -> [String: Finding] {
        let directory = try TemporaryDirectory()
        let (host, _) = try await UpdateTests.prepare(in: directory.path)
        let machine = try #require(host.machine as? FileMachine)
        for (path, text) in [
            ("sys/class/watchdog/watchdog0/identity", "iTCO_wdt\n"), ("sys/class/watchdog/watchdog0/state", "active\n"),
            ("run/systemd/timesync/synchronized", ""), ("run/ballast/fetch", ""),
        ] {
            let file = host.directory.pushing(FilePath(path))
            try file.removingLastComponent().makeDirectories()
            try file.replaceContents(with: text)
        }
        _ = try host.agent().check()
        try spoil(host, machine)
        return Dictionary(uniqueKeysWithValues: try host.agent().doctor().map { ($0.name, $0) })
    }

    @Test("a host on which all is well has no problem")
    func well() async throws {
        let findings = try await findings()
        #expect(
            Set(findings.keys) == [
                "state", "disk", "entries", "boot", "watchdog",
                "clock", "repository",
            ])
        #expect(findings.values.allSatisfy { $0.verdict == .good }, "\(findings)")
        #expect(findings["entries"]?.detail == "1.0 boots; nothing else boots")
        #expect(findings["disk"]?.detail == "slot a runs, slot b is empty")
        #expect(findings["watchdog"]?.detail == "iTCO_wdt is active")
    }

    @Test("each thing that is wrong is found, with what to do")
    func wrong() async throws {
        let cases: [(what: String, name: String, words: String, spoil: (TestHost, FileMachine) throws -> Void)] = [
            (
                "a kernel image is rotten", "entries", "is not the kernel image that its name says",
                { host, machine in
                    let kernels = machine.boot.pushing(FilePath(KernelName.directory(product: "box")))
                    for name in try kernels.directoryEntries() {
                        try kernels.appending(name).replaceContents(with: "rotten")
                    }
                }
            ),
            (
                "the boot entries are gone", "entries", "1.0 runs and has no boot entry with tries left",
                { host, machine in
                    try machine.boot.pushing(FilePath(BootEntryName.directory)).removeTree()
                    try machine.boot.pushing(FilePath(BootEntryName.directory)).makeDirectories()
                }
            ),
            (
                "the boot partition is gone", "boot", "cannot be used",
                { host, machine in try machine.boot.removeTree() }
            ),
            (
                "the partition table is gone", "disk", "cannot be used",
                { host, machine in try machine.disk.replaceContents(with: "no table") }
            ),
            (
                "there is no watchdog", "watchdog", "there is none, so nothing ends a hang",
                { host, machine in try host.directory.appending("sys/class/watchdog").removeTree() }
            ),
            (
                "the watchdog is not armed", "watchdog", "iTCO_wdt is inactive",
                { host, machine in
                    try host.directory.appending("sys/class/watchdog/watchdog0/state").replaceContents(
                        with: "inactive\n")
                }
            ),
            (
                "the clock is days behind", "clock", "and the last check was at",
                { host, machine in host.state.withLock { $0.now = $0.now.adding(days: -3) } }
            ),
            (
                "no look has succeeded for days", "repository", "last asked with success at",
                { host, machine in host.state.withLock { $0.now = $0.now.adding(days: 3) } }
            ),
            (
                "nothing fetches", "repository", "there are no fetch workers",
                { host, machine in try host.directory.appending("run/ballast/fetch").removeTree() }
            ),
            (
                "the state has what the agent does not understand", "state",
                "the state has what this agent does not understand",
                { host, machine in
                    try host.directory.appending("var/lib/ballast/state.json").replaceContents(
                        with: "{\"format\": 1, \"good\": 5}")
                }
            ),
        ]
        for (what, name, words, spoil) in cases {
            let finding = try #require(try await findings(spoil)[name])
            #expect(finding.verdict == .problem, "\(name), \(words): \(finding)")
            #expect(finding.detail.contains(words), "\(finding)")
            try FaultCatalogue.note(
                .host, what,
                says: (["\(name): \(finding.detail)"] + [finding.remedy].compactMap(\.self)).joined(separator: "; "),
                then: "`ballastctl doctor` ends with status 1")
        }
    }

    @Test("what a version that failed has left is shown; one that left nothing is named")
    func logs() async throws {
        let directory = try TemporaryDirectory()
        let (host, _) = try await UpdateTests.prepare(in: directory.path)
        _ = try host.agent().update { _ in }
        try host.boot()
        _ = try host.failHealth()
        let logs = try host.agent().logs("1.1")
        #expect(logs.report?.cause.contains("'never'") == true)
        #expect(logs.journal == "journal of this boot\n")
        #expect(logs.text.hasSuffix("journal of this boot\n"))
        let fault = #expect(throws: UpdateAgentFault.self) { try host.agent().logs("1.0") }
        #expect(fault?.code == .notFound)
        #expect(throws: UpdateAgentFault.self) { try host.agent().logs("../../etc/shadow") }
    }
}
