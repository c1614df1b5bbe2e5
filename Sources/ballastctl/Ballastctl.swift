import ArgumentParser
import Control
import Fault
import Glibc
import JSON
import Terminal

/// The operator's tool on a host: asks the agent over its control socket.
@main
struct Ballastctl: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "ballastctl",
        abstract: "Show and control the updates of this host.",
        discussion: """
            The agent, ballastd, does the work. Everybody may look; only root and members of the group 'ballast' may change.

            Exit status:
              0  done, also where there was nothing to do
              1  failed
              2  the command line is not valid
              3  the caller may not do this
              4  another job runs, and its end was not waited for, or did not come within --busy-timeout
              5  refused: the version is denied or unknown, there is nothing good to go back to, or a restart is held back
              6  ballastd does not run, or went away

            With --format json the answer is one JSON document a line on standard output, a failure too, as \
            {"error": {"code": …, "message": …, "remedy": …}}.

            Example:
              ballastctl status
              sudo ballastctl update && sudo ballastctl reboot
            """.flowing,
        subcommands: [
            StatusCommand.self, CheckCommand.self, UpdateCommand.self, RebootCommand.self, RollbackCommand.self,
            PinCommand.self, UnpinCommand.self, DenyCommand.self, AllowCommand.self, HistoryCommand.self,
            EventsCommand.self, LogsCommand.self, DoctorCommand.self, WatchCommand.self, InterfaceCommand.self,
            VersionCommand.self,
        ])

    static func main() {
        do {
            var command = try parseAsRoot()
            try command.run()
        } catch let failure as CommandFailure {
            Glibc.exit(failure.report())
        } catch {
            let status = exitCode(for: error)
            // ArgumentParser's own status is that of sysexits.h.
            guard status == .validationFailure else { exit(withError: error) }
            if asksForJSON {
                OutputFormat.printError(code: "usage", message: message(for: error), remedy: "see 'ballastctl --help'")
            }
            StandardStreams.report(fullMessage(for: error))
            Glibc.exit(2)
        }
    }

    /// Whether the command line, which is not valid, asks for JSON.
    private static var asksForJSON: Bool {
        let arguments = CommandLine.arguments
        return arguments.contains("--format=json")
            || zip(arguments, arguments.dropFirst()).contains { $0 == "--format" && $1 == "json" }
    }
}

/// A call that failed, and how to say so.
struct CommandFailure: Error {
    let fault: ControlFault
    let format: OutputFormat

    /// Says what failed and returns the exit status.
    func report() -> Int32 {
        var message = fault.place.map { "\($0): " } ?? ""
        message += fault.message
        if let cause = fault.cause { message += ": \(cause)" }
        if format == .json {
            OutputFormat.printError(code: fault.code.rawValue, message: message, remedy: fault.remedy)
        }
        StandardStreams.report("ballastctl: \(Report.printable(message))")
        if let remedy = fault.remedy { StandardStreams.report("  \(Report.printable(remedy))") }
        return status
    }

    private var status: Int32 {
        switch fault.code {
        case .notPermitted: 3
        case .busy: 4
        case .denied, .held, .notFound, .nothingGood: 5
        case .notRunning, .disconnected: 6
        case .untrusted, .expired, .transfer, .noSpace, .invalid, .failed, .unsupported, .malformed, .socket: 1
        }
    }
}

/// How answers are written.
enum OutputFormat: String, ExpressibleByArgument, CaseIterable {
    case text, json

    static func printError(code: String, message: String, remedy: String?) {
        let error: JSONValue = [
            "code": .string(code), "message": .string(message), "remedy": remedy.map { .string($0) } ?? .null,
        ]
        StandardStreams.print(JSONValue.object(["error": error]).compactText)
    }
}

/// Options of every verb.
struct ControlOptions: ParsableArguments {
    @Option(help: "text or json.")
    var format = OutputFormat.text

    @Option(help: ArgumentHelp("The agent's socket.", valueName: "path"))
    var socket = ControlService.defaultPath

    @Option(
        help: ArgumentHelp(
            "How long to wait where another process of the agent works, as in 'ballastd update'.", valueName: "seconds")
    )
    var busyTimeout = 30

    func validate() throws {
        guard (0...86400).contains(busyTimeout) else {
            throw ValidationError("--busy-timeout is \(busyTimeout): give 0 to 86400 seconds")
        }
    }

    /// Calls a method of the agent, and shows its answer as `text` has it, or as one line of JSON.
    ///
    /// An agent that is busy is asked again until `busyTimeout` has passed.
    func call(
        _ method: String, _ parameters: JSONValue = [:], timeout: Duration? = nil, isPatient: Bool = true,
        text: (JSONValue) -> String, json: (JSONValue) -> JSONValue = { $0 }
    ) throws(CommandFailure) {
        try reporting(isPatient: isPatient) { () throws(ControlFault) in
            let client = try VarlinkClient(connectingTo: socket)
            let answer = try client.call("\(UpdateInterface.name).\(method)", parameters, timeout: timeout)
            StandardStreams.print(format == .json ? json(answer).compactText : text(answer))
        }
    }

    /// Calls a method of the agent that answers more than once. `body` returns false when it has had enough.
    func stream(_ method: String, _ body: (JSONValue, Bool) throws(ControlFault) -> Bool) throws(CommandFailure) {
        try reporting { () throws(ControlFault) in
            try VarlinkClient(connectingTo: socket).stream("\(UpdateInterface.name).\(method)", [:], body)
        }
    }

    private func reporting(
        isPatient: Bool = true, _ body: () throws(ControlFault) -> Void
    ) throws(CommandFailure) {
        let deadline = ContinuousClock.now + .seconds(isPatient ? busyTimeout : 0)
        var hasSaid = false
        while true {
            do throws(ControlFault) { return try body() } catch {
                guard error.code == .busy, ContinuousClock.now < deadline else {
                    throw CommandFailure(fault: error, format: format)
                }
                if !hasSaid {
                    StandardStreams.report("ballastctl: \(Report.printable(error.message)); waiting for its end")
                }
                hasSaid = true
                usleep(500_000)
            }
        }
    }
}

/// `ballastctl version`: a verb, as it is with `ballast`.
struct VersionCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "version", abstract: "Print ballastctl's own version.",
        discussion: """
            The agent's version is in 'ballastctl status'.

            Example:
              ballastctl version
            """.flowing)

    @Option(help: "text or json.")
    var format = OutputFormat.text

    func run() {
        let document: JSONValue = ["version": .string(ProgramVersion.current)]
        StandardStreams.print(format == .json ? document.compactText : "ballastctl \(ProgramVersion.current)")
    }
}
