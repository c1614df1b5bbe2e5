import Command
import SystemPackage
import Testing

extension RealImages {
    /// `scripts/test --long` tries all the others.
    @Suite("Power cuts of a recorded disk", .timeLimit(.minutes(60)))
    struct RecordedCutTests {
        @Test("forty of them, chosen at random, lose no host, nor what its operator decided")
        func sample() async throws {
            let script = TestImage.repository.appending("scripts/power-cuts").string
            let outcome = try await Command(script, ["--limit", "40", "--firmware-boots", "2"]).outcome()
            let text = outcome.outputText
            #expect(outcome.status == 0, "\(text)\n\(outcome.errorText.suffix(2000))")
            #expect(text.contains("2 cuts: firmware and systemd-boot start what the model says"))
            #expect(text.contains("40 cuts tried, 0 hosts lost"))
            #expect(text.contains("\nPASSED: no host of 40 was lost"))
        }
    }
}
