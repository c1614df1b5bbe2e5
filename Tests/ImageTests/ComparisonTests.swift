import Command
import FileIO
import SystemPackage
import Testing

extension RealImages {
    /// apt and dpkg judge what an image holds.
    @Suite("Images beside what apt makes of their locks", .timeLimit(.minutes(120)))
    struct ComparisonTests {
        /// The image of `manifests/ssh.yaml` has all that those of `base` and `containerd` have.
        @Test("no path differs without a reason")
        func comparison() async throws {
            let work = try TemporaryDirectory()
            // mmdebstrap's apt reads from here as another user.
            try await Command("chmod", ["0755", work.path.string]).run()
            let outcome = try await Command(
                TestImage.repository.appending("scripts/compare-with-apt").string,
                [
                    TestImage.repository.appending("manifests/ssh.yaml").string, "--cache",
                    TestImage.cache.string, "--work", work.path.string,
                ]
            ).outcome()
            #expect(outcome.status == 0, "\(outcome.outputText.prefix(4000))\(outcome.errorText.suffix(1000))")
            #expect(outcome.outputText.hasSuffix(" with a reason, 0 without\n"))
        }
    }
}
