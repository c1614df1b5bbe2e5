import ArgumentParser
import Fault
import JSON
import Publishing
import SystemPackage
import Terminal
import Trust

/// `ballast repo`.
struct RepoCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "repo", abstract: "Make, refresh and show a repository.",
        discussion: "Example: ballast repo init repository --keys keys",
        subcommands: [Initialize.self, Refresh.self, Show.self, Check.self])

    /// `ballast repo init`.
    struct Initialize: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "init", abstract: "Make an empty repository, signed.",
            discussion: """
                Hosts trust DIR/metadata/root.json: put it into the image.

                Example:
                  ballast key generate keys
                  ballast repo init repository --keys keys
                """.flowing)

        @Argument(help: "The repository's directory.") var directory: String
        @OptionGroup var signing: SigningOptions
        @OptionGroup var lifetimes: LifetimeOptions
        @OptionGroup var common: CommonOptions

        func run() async throws {
            let keys = try signing.load()
            try Repository(FilePath(directory), lifetimes: lifetimes.lifetimes).initialize(keys: keys, now: .now)
            StandardStreams.print("Hosts trust \(directory)/metadata/root.json: put it into the image.")
        }
    }

    /// `ballast repo refresh`.
    struct Refresh: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Sign the metadata anew before it expires.",
            discussion: """
                The timestamp is signed every time, each other document once half of its lifetime is over. Run it daily: hosts \
                refuse a repository that has expired. Only timestamp.pem and snapshot.pem are needed on most days.

                Example:
                  ballast repo refresh repository --keys keys
                """.flowing)

        @Argument(help: "The repository's directory.") var directory: String
        @OptionGroup var signing: SigningOptions
        @OptionGroup var lifetimes: LifetimeOptions
        @OptionGroup var common: CommonOptions

        func run() async throws {
            let keys = try signing.load()
            let result = try Repository(FilePath(directory), lifetimes: lifetimes.lifetimes).refresh(
                keys: keys, now: .now)
            StandardStreams.print("Signed anew: \(result.roles.map(\.rawValue).joined(separator: ", ")).")
            if let time = result.rootExpiresSoon {
                StandardStreams.report(
                    "ballast: the root expires at \(time); run this once with root.pem among the keys")
            }
        }
    }

    /// `ballast repo show`.
    struct Show: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Show what is published, and when the metadata expires.",
            discussion: """
                Example:
                  ballast repo show repository --format json
                """.flowing)

        @Argument(help: "The repository's directory.") var directory: String
        @Option(help: "text or json.") var format = OutputFormat.text
        @OptionGroup var common: CommonOptions

        func run() async throws {
            let report = try RepositoryReport(Repository(FilePath(directory)))
            switch format {
            case .text: StandardStreams.print(report.text(now: .now))
            case .json: StandardStreams.print(report.value.compactText)
            }
        }
    }

    /// `ballast repo check`.
    struct Check: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Verify every file that is published.",
            discussion: """
                The metadata is verified as a host does, and each blob by its length and SHA-256. The exit status is 1 where
                anything is not as it was published.

                Example:
                  ballast repo check repository
                """.flowing)

        @Argument(help: "The repository's directory.") var directory: String
        @Option(help: "text or json.") var format = OutputFormat.text
        @OptionGroup var common: CommonOptions

        func run() async throws {
            let repository = Repository(FilePath(directory))
            let found = try await EndingSignals.cancelling { try await repository.check() }
            switch format {
            case .text:
                for problem in found.problems { StandardStreams.report("ballast: \(problem)") }
                for name in found.strays { StandardStreams.report("ballast: blobs/\(name): no release names it") }
                let counts = [Quantity.text(found.releases, of: "release"), Quantity.text(found.blobs, of: "blob")]
                StandardStreams.print(
                    "\(counts.joined(separator: ", ")), \(Progress.bytes(found.bytes)): "
                        + (found.problems.isEmpty ? "all as published" : "\(found.problems.count) damaged"))
            case .json:
                let problems = found.problems.map { problem -> JSONValue in
                    [
                        "file": .string(problem.place?.description ?? ""), "message": .string(problem.message),
                        "remedy": problem.remedy.map { .string($0) } ?? .null,
                    ]
                }
                let document: JSONValue = [
                    "releases": .integer(Int64(found.releases)), "blobs": .integer(Int64(found.blobs)),
                    "bytes": .integer(found.bytes), "problems": .array(problems),
                    "strays": .array(found.strays.map { .string($0) }),
                ]
                StandardStreams.print(document.compactText)
            }
            if !found.problems.isEmpty { throw ExitCode.failure }
        }
    }
}
