import Assembly
import Command
import FileIO
import JSON
import Manifest
import SystemPackage
import TestSupport
import Testing
import UpdateAgent

@Suite("The units of a host")
struct HostUnitsTests {
    private func manifest(_ text: String) throws -> Manifest {
        let directory = try TemporaryDirectory()
        let path = directory.path.appending("host.yaml")
        try path.replaceContents(with: "product: host\n" + text)
        return try Manifest.load(path)
    }

    @Test(
        "the watchdog takes the time that the manifest gives it, and two minutes where it gives none",
        arguments: [("", "120s"), ("boot: {watchdog: 30s}\n", "30s"), ("boot: {watchdog: 10m}\n", "600s")])
    func watchdog(text: String, expected: String) throws {
        let manifest = try manifest(text)
        let files = Dictionary(uniqueKeysWithValues: HostUnits.files(for: manifest).map { ($0.path, $0.text) })
        let settings = try #require(HostUnits.settings(for: manifest).first)
        #expect(settings.text == "[Manager]\nRuntimeWatchdogSec=\(expected)\n" && files[settings.path] == settings.text)
        #expect(files["usr/lib/systemd/system/ballast-watchdog.service"] != nil)
        #expect(HostUnits.enabled(for: manifest).contains("ballast-watchdog.service"))
    }

    @Test("without a watchdog nothing opens or loads one")
    func noWatchdog() throws {
        let manifest = try manifest("boot: {watchdog: 0s}\n")
        let files = HostUnits.files(for: manifest)
        #expect(files.count > 5 && !files.contains { $0.text.contains("RuntimeWatchdogSec") })
        #expect(HostUnits.settings(for: manifest).isEmpty)
        #expect(
            HostUnits.enabled(for: manifest) == [
                "ballastd.socket", "ballast-fetch.socket", "ballast-health.service", "ballast-good.service",
                "ballast-probation.service",
            ])
    }

    private static let steps = """
        update:
          reboot: immediate
          probation: 5m
          time_zone: Europe/Berlin
          windows: [{days: [sat], start: "02:30", length: 2h}]
          gates:
            - {name: backup, file: /run/backup.lock}
            - {name: may, timeout: 5s, command: [/usr/bin/printf, "%s $HOME \\"x y\\" ;\\\\", ";", "%%"]}
          drains:
            - {name: pods, command: [/usr/bin/true], undo: [/usr/bin/false]}
            - {name: own, timeout: 30m, unit: leave.service, undo_unit: join.service}
        health: [{name: web, timeout: 5s, http: "http://127.0.0.1/", blame: environment}]

        """

    @Test("the agent reads what the builder writes for it")
    func settings() throws {
        let directory = try TemporaryDirectory()
        let path = directory.path.pushing(FilePath(AgentFiles.settingsPath))
        try path.removingLastComponent().makeDirectories()
        try path.replaceContents(with: AgentFiles(manifest: manifest(Self.steps)).settings.text())
        let (settings, problem) = try AgentSettings.load(HostPaths(prefix: directory.path))
        #expect(problem == nil && settings.reboot == .immediate && settings.probation == 300)
        #expect(settings.health.map(\.blamesEnvironment) == [true])
        let restart = settings.restart
        #expect(restart.timeZone == "Europe/Berlin")
        #expect(restart.windows.map(\.days) == [[6]] && restart.windows.map(\.start) == [150])
        #expect(restart.windows.map(\.length) == [7200])
        #expect(restart.gates.map(\.question) == [.file("/run/backup.lock"), .unit("ballast-gate-may.service")])
        #expect(restart.gates.map(\.timeout) == [10, 5])
        #expect(restart.drains.map(\.unit) == ["ballast-drain-pods.service", "leave.service"])
        #expect(restart.drains.map(\.undo) == ["ballast-undrain-pods.service", "join.service"])
        #expect(restart.drains.map(\.timeout) == [300, 1800])
    }

    @Test("the services of gates and drains are there, and systemd reads their words as they were written")
    func restartUnits() async throws {
        let directory = try TemporaryDirectory()
        let units = directory.path.appending("usr/lib/systemd/system")
        try units.makeDirectories()
        for (path, text) in HostUnits.files(for: try manifest(Self.steps)) {
            let file = directory.path.pushing(FilePath(path))
            try file.removingLastComponent().makeDirectories()
            try file.replaceContents(with: text)
        }
        for name in ["gate-may", "drain-pods", "undrain-pods"] {
            #expect(units.appending("ballast-\(name).service").exists)
        }
        #expect(!units.appending("ballast-gate-backup.service").exists)
        #expect(!units.appending("ballast-drain-own.service").exists)
        let text = try units.appending("ballast-gate-may.service").text()
        let line = try #require(text.split(separator: "\n").first { $0.hasPrefix("ExecStart=") })
        #expect(
            line == #"ExecStart="/usr/bin/printf" "%%s $$HOME \"x y\" ;\\" ";" "%%%%""#)
        let outcome = try await Command(
            "systemd-analyze", ["verify", "--man=no", units.appending("ballast-gate-may.service").string]
        ).outcome()
        #expect(outcome.status == 0, "\(outcome.errorText)")
    }

    @Test(
        "systemd finds the services no more exposed than they have to be",
        arguments: [
            ("ballastd.service", 2.5), ("ballast-fetch@x.service", 1.5), ("ballast-health.service", 4.0),
            ("ballast-good.service", 4.0), ("ballast-failed.service", 4.0), ("ballast-look.service", 4.0),
            ("ballast-probation.service", 4.0),
        ])
    func exposure(unit: String, limit: Double) async throws {
        let directory = try TemporaryDirectory()
        for (path, text) in HostUnits.files(for: try manifest("")) {
            let file = directory.path.pushing(FilePath(path))
            try file.removingLastComponent().makeDirectories()
            try file.replaceContents(with: text)
        }
        let outcome = try await Command(
            "systemd-analyze", ["security", "--offline=true", "--root=\(directory.path)", unit]
        ).run()
        let line = try #require(outcome.outputText.split(separator: "\n").last { $0.contains("exposure level") })
        let level = try #require(line.split(separator: " ").compactMap { Double($0) }.last)
        #expect(level <= limit, "\(line)")
    }
}
