import ArgumentParser
import Fault
import FileIO
import Manifest
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
              ballast publish out --repo repo --keys keys --channel stable
              ballast publish out --repo repo --keys keys --channel beta --revoke 1.1.0
              ballast publish out --repo repo --keys keys --channel beta --ramp 0s=10 --ramp 1d=100
              ballast publish --reoffer 1.1.0 --repo repo --keys keys
            """.flowing)

    private static let standardLevel = 9

    @Argument(help: "The directory that 'ballast build' wrote.") var build: String?
    @Option(help: "The repository's directory.") var repo: String
    @Option(help: "A channel it appears in; may be given several times.") var channel: [String] = []
    @Option(help: "A file with what an operator reads about it.") var notes: String?
    @Option(help: "zstd's level, 1 to 19.") var level = standardLevel
    @Option(help: "The oldest agent that can install it.") var minimumAgent: String?
    @Option(help: "A version that hosts below it must run first; may be given several times.") var floor: [String] = []
    @Option(help: "A version that no host shall install or go back to any more; may be given several times.")
    var revoke: [String] = []
    @Option(help: ArgumentHelp("No host updates by itself before. (default: now, with a ramp)", valueName: "time"))
    var start: String?
    @Option(
        help: ArgumentHelp(
            "A step of the rollout, such as 1d=50: from that long after the start on, half of the hosts; may be given "
                + "several times, going up.", valueName: "delay=percent"))
    var ramp: [String] = []
    @Option(
        help: ArgumentHelp(
            "Publish nothing new, but offer this version anew to hosts on which it has failed, such as for a cause outside them. What "
                + "an operator has denied stays so.", valueName: "version"))
    var reoffer: String?
    @Option(help: "The product that --reoffer means, where several have that version.") var product: String?
    @Flag(
        help: "Publish although hosts that run it would find no update after it, or a revoked version was never here.")
    var acceptWarnings = false
    @OptionGroup var signing: SigningOptions
    @OptionGroup var lifetimes: LifetimeOptions
    @OptionGroup var common: CommonOptions

    func validate() throws {
        if reoffer != nil {
            guard build == nil, channel.isEmpty else {
                throw ValidationError(
                    "--reoffer is about what is published already: it goes without a build and --channel.")
            }
            let isBare =
                notes == nil && level == Self.standardLevel && minimumAgent == nil && floor.isEmpty && revoke.isEmpty
                && start == nil && ramp.isEmpty && !acceptWarnings
            guard isBare else {
                throw ValidationError(
                    "--reoffer changes nothing else: what a release says of itself is given when it is published, and another version is "
                        + "revoked by the next release.")
            }
            return
        }
        guard build != nil else { throw ValidationError("Name the directory that 'ballast build' wrote.") }
        guard product == nil else { throw ValidationError("--product goes with --reoffer.") }
        guard !channel.isEmpty else { throw ValidationError("Name at least one --channel.") }
        _ = try rollout()
        _ = try versions()
        guard (1...19).contains(level) else { throw ValidationError("zstd's level is 1 to 19, not \(level).") }
    }

    private func rollout() throws -> Rollout? {
        guard start != nil || !ramp.isEmpty else { return nil }
        let begin = try start.map { text in
            guard let time = UTCTime(text) else {
                throw ValidationError("'\(text)' is no time of the calendar, written like 2030-01-31T08:00:00Z.")
            }
            return time
        }
        let steps = try ramp.map { text in
            let parts = text.split(separator: "=", omittingEmptySubsequences: false).map(String.init)
            guard parts.count == 2, let delay = Quantity.seconds(parts[0]), let percent = Int(parts[1]) else {
                throw ValidationError(
                    "'\(text)' is not a step such as 1d=50: a time in s, m, h or d, and a percentage.")
            }
            return Rollout.Step(delay: Int64(delay), percent: percent)
        }
        let rollout = Rollout(start: begin ?? .now, ramp: steps)
        if let problem = rollout.problem { throw ValidationError("--ramp: \(problem)") }
        return rollout
    }

    private func offerAnew(_ text: String) throws {
        guard let version = try ImageVersion.all([text], of: "--reoffer").first else { return }
        let keys = try signing.load([.targets, .snapshot, .timestamp])
        let (product, count) = try Repository(FilePath(repo), lifetimes: lifetimes.lifetimes).reoffer(
            version, of: product, keys: keys, now: .now)
        StandardStreams.print(
            "\(product) \(version) is offered anew (\(count == 1 ? "once" : "\(count) times") so far): hosts on which it failed may take it."
        )
    }

    private func versions() throws -> (minimumAgent: ImageVersion?, floors: [ImageVersion], revokes: [ImageVersion]) {
        (
            try ImageVersion.all(minimumAgent.map { [$0] } ?? [], of: "--minimum-agent").first,
            try ImageVersion.all(floor, of: "--floor"), try ImageVersion.all(revoke, of: "--revoke")
        )
    }

    func run() async throws {
        if let reoffer { return try offerAnew(reoffer) }
        guard let build else { return }
        let description = try BuildDescription(FilePath(build))
        var options = Repository.Options(channels: channel)
        if let notes {
            do throws(FileIOFault) { options.notes = try FilePath(notes).text(limit: 1 << 18) } catch {
                throw PublishingFault(.file, "cannot read the notes", remedy: "correct --notes", cause: error)
            }
        }
        options.level = level
        (options.minimumAgent, options.floors, options.revokes) = try versions()
        options.refusesWarnings = !acceptWarnings
        options.rollout = try rollout()
        let keys = try signing.load([.targets, .snapshot, .timestamp])
        let repository = Repository(FilePath(repo), lifetimes: lifetimes.lifetimes)
        let conditions = options
        let publication = try await EndingSignals.cancelling {
            try await repository.publish(description, options: conditions, keys: keys, now: .now)
        }
        for warning in publication.warnings { StandardStreams.report("ballast: warning: \(warning)") }
        let release = publication.release
        StandardStreams.print(
            "Published \(release.product) \(release.version) (\(release.architecture)) in \(channel.joined(separator: ", ")): "
                + "\(Progress.bytes(publication.transferSize)) to fetch for an image of \(Progress.bytes(release.image.size))."
        )
    }
}
