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
              ballastctl history --since 2d
              ballastctl history --format json | jq '.[] | select(.kind == "rolled-back")'
            """.flowing)

    @Option(help: ArgumentHelp("Only the newest events.", valueName: "number"))
    var limit: UInt32?

    @Option(
        help: ArgumentHelp(
            "Only what came since then: a time such as 2030-01-31T00:00:00Z, or so long ago, such as 2d, 3h or 10m.",
            valueName: "time"))
    var since: String?

    @OptionGroup var options: ControlOptions

    func run() throws {
        var parameters: [String: JSONValue] = [:]
        if let limit { parameters["limit"] = .integer(Int64(limit)) }
        if let since { parameters["since"] = .string(since) }
        try options.call("History", .object(parameters), timeout: .seconds(60)) {
            Report.history($0["events"] ?? .null)
        } json: {
            $0["events"] ?? $0
        }
    }
}

/// `ballastctl events`.
struct EventsCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "events", abstract: "Show the events that no reporter has taken yet, or take them.",
        discussion: """
            For programs that pass on what happens on a host. Each event has a number; with --acknowledge, all up to that number \
            are not shown again. A host keeps about the last 2000 events; how many are gone before they were taken is 'missed' in \
            the document that --format json prints.

            Example:
              ballastctl events --format json | jq -c '.events[]'
              ballastctl events --acknowledge 17
            """.flowing)

    @Option(help: ArgumentHelp("The events after this one, whether they were taken or not.", valueName: "number"))
    var after: UInt32?

    @Option(help: ArgumentHelp("Note that all events up to this one are taken.", valueName: "number"))
    var acknowledge: UInt32?

    @OptionGroup var options: ControlOptions

    func validate() throws {
        if after != nil, acknowledge != nil { throw ValidationError("give either --after or --acknowledge") }
    }

    func run() throws {
        if let acknowledge {
            return try options.call(
                "AcknowledgeEvents", ["sequence": .integer(Int64(acknowledge))], timeout: .seconds(60),
                text: Report.action)
        }
        let after: JSONValue = after.map { .integer(Int64($0)) } ?? .null
        try options.call("Events", ["after": after], timeout: .seconds(60), text: Report.events)
    }
}

/// `ballastctl logs`.
struct LogsCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "logs", abstract: "Show what a version left of its last boot, when it did not prove itself.",
        discussion: """
            What its health checks came to, and the end of its journal, also of a boot whose own journal is gone.

            Example:
              ballastctl logs 1.2.0
            """.flowing)

    @Argument(help: "A version.")
    var version: String

    @OptionGroup var options: ControlOptions

    func run() throws {
        try options.call("Logs", ["version": .string(version)], timeout: .seconds(60), text: Report.logs)
    }
}

/// `ballastctl doctor`.
struct DoctorCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "doctor", abstract: "Say whether what this host needs is as it should be.",
        discussion: """
            State, disk, boot entries and kernel image, watchdog, clock, repository: a line each, and what to do. The exit \
            status is 1 where there is a problem.

            Example:
              ballastctl doctor
            """.flowing)

    @OptionGroup var options: ControlOptions

    func run() throws {
        var hasProblem = false
        try options.call("Doctor", timeout: .seconds(120)) { answer in
            hasProblem = Report.hasProblem(answer)
            return Report.findings(answer)
        } json: { answer in
            hasProblem = Report.hasProblem(answer)
            return answer["findings"] ?? answer
        }
        if hasProblem { throw ExitCode(1) }
    }
}

/// `ballastctl interface`.
struct InterfaceCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "interface", abstract: "Print the definition of the agent's control interface, for programs.",
        discussion: """
            In Varlink's definition language: all methods, types and errors. Needs no agent.

            Example:
              ballastctl interface > io.ballast.Update.varlink
            """.flowing)

    @Option(help: "Print the definition itself, or a JSON document with it.")
    var format: OutputFormat = .text

    func run() {
        let definition = UpdateInterface.description
        switch format {
        // It has a newline at its end.
        case .text: StandardStreams.print(String(definition.dropLast()))
        case .json:
            let answer: JSONValue = ["name": .string(UpdateInterface.name), "definition": .string(definition)]
            StandardStreams.print(answer.compactText)
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
