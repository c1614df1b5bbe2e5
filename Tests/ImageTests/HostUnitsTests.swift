import Assembly
import Command
import FileIO
import Manifest
import SystemPackage
import Testing

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
