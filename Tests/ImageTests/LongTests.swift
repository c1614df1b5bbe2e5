import Command
import Glibc
import SystemPackage
import TestSupport
import Testing

/// What takes hours: `scripts/test --long`.
@Suite("Long tests", .serialized, .enabled(if: getenv("BALLAST_LONG_TESTS") != nil))
struct LongTests {
    private func expectSuccess(_ script: String, _ arguments: [String]) async throws {
        let program = TestImage.repository.appending("scripts").appending(script).string
        let outcome = try await Command(program, arguments).outcome()
        #expect(outcome.status == 0, "\(outcome.outputText)\n\(outcome.errorText.suffix(2000))")
        #expect(outcome.outputText.contains("\nPASSED: "), "\(outcome.outputText)")
    }

    @Test("no power cut loses a host, nor what its operator decided")
    func powerCuts() async throws {
        let report = TestImage.repository.appending("docs/reliability.md").string
        let faults = getenv("BALLAST_FAULTS").map { ["--faults", String(cString: $0)] } ?? []
        try await expectSuccess("power-cuts", ["--real-boots", "30", "--report", report] + faults)
    }

    @Test("a host whose old slot has an older agent goes to and fro between both")
    func olderAgent() async throws { try await expectSuccess("older-agent", []) }

    @Test("a host comes back from a hang, and from a version without an agent")
    func faults() async throws { try await expectSuccess("demo", ["--faults", "--no-build"]) }

    @Test("after an update the files below /var belong to whom they did")
    func accounts() async throws { try await expectSuccess("demo", ["--accounts", "--no-build"]) }

    @Test("images of twenty package sets are the same in two runs, equal what apt makes, and boot healthy")
    func packageSets() async throws { try await expectSuccess("package-sets", ["--write"]) }

    @Test("nothing about the build machine gets into an image")
    func matrix() async throws { try await expectSuccess("build-matrix", ["--write"]) }
}
