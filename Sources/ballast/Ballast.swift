import ArgumentParser
import Fault
import Glibc
import Terminal

/// The release engineer's tool: manifest, lock, image, keys, repository.
@main
struct Ballast: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "ballast",
        abstract: "Builds immutable Linux images from a manifest, signs them and publishes them as static files.",
        discussion: """
            Every verb takes --verbose, which shows the whole chain of causes after a failure. The exit status is 0 when all is
            done, 1 after a failure, of which standard error says what, where and what to do, and 64 for a wrong command line.

            Example: ballast lock manifests/containerd.yaml
            Example: ballast build manifests/containerd.yaml --version 1.0.0 -o out
            Example: ballast run out
            """,
        subcommands: [
            ManifestCommands.self, LockCommand.self, BuildCommand.self, RunCommand.self, KeyCommand.self,
            RepoCommand.self,
            PublishCommand.self, ServeCommand.self, VersionCommand.self,
        ])

    static func main() async {
        // For every verb alike: the whole chain of causes instead of one line.
        let arguments = CommandLine.arguments.dropFirst()
        let isVerbose = arguments.contains("--verbose")
        do {
            var command = try parseAsRoot(arguments.filter { $0 != "--verbose" })
            if var asynchronous = command as? any AsyncParsableCommand {
                try await asynchronous.run()
            } else {
                try command.run()
            }
        } catch let fault as any AnyFault {
            StandardStreams.report("ballast: \(isVerbose ? fault.explanation : fault.description)")
            Glibc.exit(1)
        } catch {
            exit(withError: error)
        }
    }
}
