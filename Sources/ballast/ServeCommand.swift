import ArgumentParser
import Serving
import SystemPackage
import Terminal

/// `ballast serve`.
struct ServeCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "serve", abstract: "Serve a repository over HTTP, for trying and for small sites.",
        discussion: """
            Any server of static files does as well; docs/repository.md has a configuration for nginx. Standard error has a line
            for each request: who, what, status, bytes. When it is asked to end, transfers that go on have ten seconds.

            Example:
              ballast serve repository --host 0.0.0.0 --port 8080
            """.flowing)

    @Argument(help: "The repository's directory.") var directory: String
    @Option(help: "The port to listen on; 0 for one that is free.") var port = 8080
    @Option(help: "The address to listen on.") var host = "127.0.0.1"
    @OptionGroup var common: CommonOptions

    func validate() throws {
        guard (0...65_535).contains(port) else { throw ValidationError("A port is 0 to 65535, not \(port).") }
    }

    func run() async throws {
        let server = try RepositoryServer(root: FilePath(directory), host: host, port: port)
        let directory = directory
        try await EndingSignals.ending(
            within: .seconds(10),
            waiting: { StandardStreams.report("ballast: waiting up to 10 s for transfers; Ctrl-C again ends them") }
        ) {
            try await server.run(onRequest: { StandardStreams.report($0) }) { address in
                StandardStreams.print("Serving \(directory) on \(address)")
            }
        }
    }
}
