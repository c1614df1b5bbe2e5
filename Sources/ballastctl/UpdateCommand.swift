import ArgumentParser
import Control
import Fault
import JSON
import Terminal

/// `ballastctl update`.
struct UpdateCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "update", abstract: "Bring the newest version that this host may take into the other slot.",
        discussion: """
            The next boot tries it; 'ballastctl reboot' makes that now. What the other slot holds already is not fetched \
            again. The agent does the work: Ctrl-C ends only the looking on. Progress is on standard error. Where the host \
            is at an update already, this waits for the end of that. Where the image says 'reboot: immediate', the host \
            reboots at the end, which the answer says.

            Example:
              ballastctl update && ballastctl reboot
            """.flowing)

    @Flag(inversion: .prefixedNo, help: "Wait for the end, or only until the update has begun.")
    var wait = true

    @OptionGroup var options: ControlOptions

    func run() throws {
        var display = ProgressDisplay()
        try options.stream("Update") { (answer, continues) throws(ControlFault) in
            if !continues {
                display.finish()
                StandardStreams.print(
                    options.format == .json
                        ? answer.compactText : Report.updateResult(answer["result"] ?? .null))
                return false
            }
            let progress = answer["progress"] ?? .null
            if !wait {
                StandardStreams.print(
                    options.format == .json
                        ? answer.compactText
                        : "the update has begun: \(Report.state(progress["state"])); 'ballastctl watch' shows how far it is"
                )
                return false
            }
            switch options.format {
            case .json: StandardStreams.print(answer.compactText)
            case .text: display.show(progress)
            }
            return true
        }
    }
}

/// What an update does, on standard error: a line a state, and a bar while bytes are counted.
private struct ProgressDisplay {
    private var bar: Progress?
    private var shown = ""
    private var bytesTotal: Int64 = 0
    private var bytesDone: Int64 = 0

    mutating func show(_ progress: JSONValue) {
        let state = Report.state(progress["state"])
        let total = Report.integer(progress["bytes_total"]) ?? 0
        let done = min(max(Report.integer(progress["bytes_done"]) ?? 0, 0), max(total, 0))
        if state != shown || total != bytesTotal {
            finish()
            shown = state
            bytesTotal = total
            bytesDone = 0
            if total > 0 {
                bar = Progress(state, total: total, unit: .bytes)
            } else {
                StandardStreams.report(state)
            }
        }
        guard let bar, done > bytesDone else { return }
        bar.advance(by: done - bytesDone)
        bytesDone = done
    }

    mutating func finish() {
        bar?.finish()
        bar = nil
    }
}
