import ArgumentParser
import FileIO
import Publishing
import Release
import SystemPackage
import Terminal
import Trust

/// `ballast publish`.
struct PublishCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "publish", abstract: "Sign a build and add it to a repository.",
        discussion: """
            What is published under a version never changes; hosts see the release when the last file is in place.

            Example:
              ballast publish build/containerd-1.1.0 --repo repository --keys keys --channel stable --notes NOTES.md
            """)

    @Argument(help: "The directory that 'ballast build' wrote.") var build: String
    @Option(help: "The repository's directory.") var repo: String
    @Option(help: "A channel it appears in; may be given several times.") var channel: [String]
    @Option(help: "A file with what an operator reads about it.") var notes: String?
    @Option(help: "zstd's level, 1 to 19.") var level = 9
    @Option(help: "The oldest agent that can install it.") var minimumAgent: String?
    @Option(help: "A version that hosts below it must run first; may be given several times.") var floor: [String] = []
    @Option(help: "A version that no host shall run any more; may be given several times.") var revoke: [String] = []
    @OptionGroup var signing: SigningOptions
    @OptionGroup var lifetimes: LifetimeOptions

    func validate() throws {
        guard !channel.isEmpty else { throw ValidationError("Name at least one --channel.") }
        guard (1...19).contains(level) else { throw ValidationError("zstd's level is 1 to 19, not \(level).") }
    }

    func run() async throws {
        let description = try BuildDescription(FilePath(build))
        var options = Repository.Options(channels: channel)
        if let notes { options.notes = try FilePath(notes).text(limit: 1 << 18) }
        options.level = level
        options.minimumAgent = try minimumAgent.map { try ImageVersion($0) }
        options.floors = try floor.map { try ImageVersion($0) }
        options.revokes = try revoke.map { try ImageVersion($0) }
        let keys = try signing.load([.targets, .snapshot, .timestamp])
        let repository = Repository(FilePath(repo), lifetimes: lifetimes.lifetimes)
        let (release, size) = try await repository.publish(description, options: options, keys: keys, now: .now)
        StandardStreams.print(
            "Published \(release.product) \(release.version) (\(release.architecture)) in \(channel.joined(separator: ", ")): "
                + "\(Progress.bytes(size)) to fetch for an image of \(Progress.bytes(release.image.size)).")
    }
}
