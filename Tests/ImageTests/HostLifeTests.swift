import Command
import FileIO
import SystemPackage
import Testing

/// What keeps a processor busy for minutes: one after another, beside one host's life, which mostly waits.
@Suite("Real images", .serialized)
enum RealImages {}

/// The way of an update on a real (virtual) machine, in its shortest form. `scripts/demo` is the long one.
@Suite("A host in a virtual machine", .timeLimit(.minutes(120)))
struct HostLifeTests {
    @Test("it comes back from a sick version, updates to a good one, and is rolled back by its operator")
    func life() async throws {
        let work = try TemporaryDirectory()
        let demo = TestImage.repository.appending("scripts/demo").string
        let outcome = try await Command(demo, ["--short", "--no-build", "--work", work.path.string]).outcome()
        let text = outcome.outputText
        #expect(outcome.status == 0, "\(text)\n\(outcome.errorText.suffix(2000))")
        for sentence in [
            "first boot: 1.0.0 is running and proved healthy",
            "1.1.0 was not healthy and the host came back by itself: 1.0.0 is running and proved healthy",
            "1.2.0 is written, and the restart is held back by shutdown: demo",
            "the host restarted by itself when nothing held it back any more: 1.2.0 is running and proved healthy",
            "s without service",
            "an operator rolled back, the agent was restarted, and the host rebooted: 1.0.0 is running and proved healthy",
            "a check finds nothing to do",
        ] {
            #expect(text.contains(sentence))
        }
    }
}
