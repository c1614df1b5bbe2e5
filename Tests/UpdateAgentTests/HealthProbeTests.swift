import BootControl
import Fault
import Fetching
import FileIO
import JSON
import Release
import SystemPackage
import TestSupport
import Testing
import Trust
import UpdateAgent

@Suite("Health probes")
struct HealthProbeTests {
    /// - Parameter patience: what the machine says of itself.
    func report(_ checks: [JSONValue], patience: String? = nil) async throws -> HealthReport {
        let directory = try TemporaryDirectory()
        let (host, _) = try await UpdateTests.prepare(in: directory.path, publishing: [])
        if let patience {
            let credentials = host.directory.appending("run/credentials/@system")
            try credentials.makeDirectories()
            try credentials.appending("ballast.health_patience").replaceContents(with: patience)
        }
        let settings = try host.settings { $0["health"] = .array(checks) }
        let machine = Host(
            paths: HostPaths(prefix: host.directory), running: try ImageVersion("1.0"), bootIdentifier: "",
            identifier: "", slots: { () throws(BootControlFault) in throw BootControlFault(.notOurs, "") },
            bootFiles: { () throws(BootControlFault) in throw BootControlFault(.notOurs, "") },
            countedEntry: { nil }, reboot: {}, restartAgent: {}, runCommand: { _, _ in }, stopUnit: { _ in },
            startUnit: { _, _ in }, inhibitors: { [] },
            journal: { _ in [] }, now: { TestRepository.now }, random: { $0 })
        return try await onOwnThread {
            HealthRunner(settings: settings, host: machine, fetcher: DirectFetcher()).run { _ in }
        }
    }

    @Test("what holds holds, and what does not says why")
    func probes() async throws {
        let server = try PageServer()
        let endpoint = "127.0.0.1:\(server.port)"
        let report = try await report([
            ["name": "true", "timeout_seconds": 5, "command": ["/bin/true"]],
            ["name": "words", "timeout_seconds": 1, "command": ["/bin/sh", "-c", "echo not yet >&2; exit 3"]],
            ["name": "gone", "timeout_seconds": 1, "command": ["/nowhere/program"]],
            ["name": "slow", "timeout_seconds": 1, "command": ["/bin/sh", "-c", "sleep 600 & sleep 600"]],
            ["name": "page", "timeout_seconds": 5, "http": .string("http://\(endpoint)/page")],
            ["name": "missing", "timeout_seconds": 1, "http": .string("http://\(endpoint)/nothing")],
            ["name": "drip", "timeout_seconds": 1, "http": .string("http://\(endpoint)/drip")],
            ["name": "port", "timeout_seconds": 5, "tcp": .string(endpoint)],
            ["name": "closed", "timeout_seconds": 1, "tcp": "127.0.0.1:9"],
        ])
        #expect(!report.hasPassed)
        let problems = Dictionary(uniqueKeysWithValues: report.outcomes.map { ($0.name, $0.problem) })
        for name in ["true", "page", "port"] { #expect(problems[name] == .some(nil)) }
        for (name, words) in [
            ("words", "ended with status 3: not yet"), ("gone", "cannot run '/nowhere/program'"),
            ("slow", "did not end within 1 s"), ("drip", "timed out"), ("missing", "answers with HTTP status 404"),
            ("closed", "127.0.0.1:9: Connection refused"),
        ] {
            #expect(problems[name]??.contains(words) == true, "\(name): \(String(describing: problems[name]))")
        }
        #expect(report.outcomes.map(\.name).first == "true")
        // A server that never falls silent would keep its check for half a minute.
        #expect(report.outcomes.allSatisfy { $0.seconds < 15 })
        withExtendedLifetime(server) {}
    }
    @Test("a machine that calls itself slow gives checks more time, and one that says nothing of use does not")
    func patience() async throws {
        let sick: [JSONValue] = [["name": "sick", "timeout_seconds": 1, "command": ["/bin/false"]]]
        for (text, seconds) in [("3\n", 3), ("0", 1), ("-4", 1), ("many", 1), ("", 1)] {
            let outcome = try #require(try await report(sick, patience: text).outcomes.first)
            #expect(outcome.problem?.hasSuffix(", after \(seconds) s") == true, "\(text): \(outcome)")
            #expect(outcome.seconds >= Int64(seconds))
        }
    }
}
