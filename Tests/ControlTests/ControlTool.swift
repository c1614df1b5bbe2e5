import Command
import SystemPackage
import TestSupport

/// The built ballastctl, run against a server.
struct ControlTool {
    let socket: String
    /// What comes before ballastctl on the command line, such as setpriv(1) and its options.
    var prefix: [String] = []
    /// The executable, where another user cannot reach the build's own.
    var executable: String?

    /// Runs ballastctl with `arguments`.
    func run(_ arguments: [String]) async throws -> Command.Outcome {
        let line =
            prefix + [try executable ?? BuiltExecutable.path("ballastctl").string] + arguments + ["--socket", socket]
        return try await Command(line[0], Array(line.dropFirst())).outcome()
    }
}
