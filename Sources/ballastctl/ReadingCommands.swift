import ArgumentParser
import Control
import Fault
import JSON
import Terminal

/// `ballastctl status`.
struct StatusCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "status", abstract: "Show what the host runs, what it is doing and why.",
        discussion: """
            Example:
              ballastctl status
              ballastctl status --format json | jq -r .state.name
            """.flowing)

    @OptionGroup var options: ControlOptions

    func run() throws {
        try options.call("Status", timeout: .seconds(60)) {
            Report.status($0["status"] ?? .null)
        } json: {
            $0["status"] ?? $0
        }
    }
}

/// `ballastctl history`.
struct HistoryCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "history", abstract: "Show what happened on this host, oldest first.",
        discussion: """
            Times are UTC. The cause of a version that did not prove itself is below its line.

            Example:
              ballastctl history --limit 20
              ballastctl history --format json | jq '.[] | select(.kind == "rolled-back")'
            """.flowing)

    @Option(help: ArgumentHelp("Only the newest events.", valueName: "number"))
    var limit: UInt32?

    @OptionGroup var options: ControlOptions

    func run() throws {
        let parameters: JSONValue = limit.map { ["limit": .integer(Int64($0))] } ?? [:]
        try options.call("History", parameters, timeout: .seconds(60)) {
            Report.history($0["events"] ?? .null)
        } json: {
            $0["events"] ?? $0
        }
    }
}

/// `ballastctl watch`.
struct WatchCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "watch", abstract: "Show the status at every change, until Ctrl-C.",
        discussion: """
            One line a change; with --format json the whole status.

            Example:
              ballastctl watch
              ballastctl watch --format json | jq --unbuffered -r .state.name
            """.flowing)

    @OptionGroup var options: ControlOptions

    func run() throws {
        var last = ""
        try options.stream("Watch") { (answer, _) throws(ControlFault) in
            let status = answer["status"] ?? .null
            switch options.format {
            case .json: StandardStreams.print(status.compactText)
            case .text:
                let line = Report.statusLine(status)
                if line != last { StandardStreams.print(line) }
                last = line
            }
            return true
        }
    }
}
