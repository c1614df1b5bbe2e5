import ArgumentParser
import Terminal

/// `ballast version`: a verb, since `--version` is the image's.
struct VersionCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "version", abstract: "Print ballast's own version.", discussion: "Example: ballast version")

    @OptionGroup var common: CommonOptions

    func run() { StandardStreams.print("ballast \(ProgramVersion.current)") }
}
