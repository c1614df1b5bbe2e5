import ArgumentParser
import Fault
import Glibc
import Terminal

/// The release engineer's tool: manifest, lock, image, keys, repository.
@main
struct Ballast: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "ballast",
        abstract: "Build immutable Linux images from a manifest, sign them and publish them as static files.",
        discussion: """
            The exit status is 0 when all is done, 1 after a failure, of which standard error says what, where and what to do, 64
            for a wrong command line, and 128 and a signal's number where that has ended it. 'ballast --version' prints
            ballast's own version; after a verb, --version is an image's.

            Example: ballast lock manifests/containerd.yaml
            Example: ballast build manifests/containerd.yaml --version 1.0.0 -o out
            Example: ballast run out
            """.flowing,
        subcommands: [
            ManifestCommands.self, LockCommand.self, BuildCommand.self, RunCommand.self, KeyCommand.self,
            RepoCommand.self,
            PublishCommand.self, ServeCommand.self, VersionCommand.self,
        ])

    static func main() async {
        let arguments = Array(CommandLine.arguments.dropFirst())
        do {
            // Not the parser's own, which every verb would inherit.
            var command = try parseAsRoot(arguments == ["--version"] ? ["version"] : arguments)
            if var asynchronous = command as? any AsyncParsableCommand {
                try await asynchronous.run()
            } else {
                try command.run()
            }
        } catch let fault as any AnyFault {
            let isVerbose = arguments.contains("--verbose")
            StandardStreams.report("ballast: \(isVerbose ? fault.explanation : fault.description)")
            Glibc.exit(EndingSignals.exitStatus ?? 1)
        } catch {
            exit(withError: error)
        }
    }
}
