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
