import Command
import FileIO
import SystemPackage
import Testing

/// The built ballastctl, run against a server.
struct ControlTool {
    /// Next to the tests' own executable, since both come from one build.
    static func path() throws -> FilePath {
        let own = try FilePath("/proc/self/exe").symbolicLinkTarget()
        let path = FilePath(own).removingLastComponent().appending("ballastctl")
        try #require(path.exists, "build ballastctl first: swift build -c release --product ballastctl")
        return path
    }

    let socket: String
    /// What comes before ballastctl on the command line, such as setpriv(1) and its options.
    var prefix: [String] = []
    /// The executable, where another user cannot reach the build's own.
    var executable: String?

    /// Runs ballastctl with `arguments`.
    func run(_ arguments: [String]) async throws -> Command.Outcome {
        let line = prefix + [try executable ?? Self.path().string] + arguments + ["--socket", socket]
        return try await Command(line[0], Array(line.dropFirst())).outcome()
    }
}
