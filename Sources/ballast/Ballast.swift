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
        version: "0.1.0",
        subcommands: [KeyCommand.self, RepoCommand.self, PublishCommand.self, ServeCommand.self])

    static func main() async {
        do {
            var command = try parseAsRoot()
            if var asynchronous = command as? any AsyncParsableCommand {
                try await asynchronous.run()
            } else {
                try command.run()
            }
        } catch let fault as any AnyFault {
            let isVerbose = CommandLine.arguments.contains("--verbose")
            StandardStreams.report("ballast: \(isVerbose ? fault.explanation : fault.description)")
            Glibc.exit(1)
        } catch {
            exit(withError: error)
        }
    }
}
