import ArgumentParser
import Control
import Fault
import JSON
import Terminal

/// `ballastctl check`.
struct CheckCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "check", abstract: "Ask the repository what this host would take, and why.",
        discussion: """
            Nothing is fetched but metadata. With --format json, 'available' is null where there is nothing to take. Where \
            the host is at a check or an update already, this waits for its end.

            Example:
              ballastctl check
            """.flowing)

    @Flag(inversion: .prefixedNo, help: "Wait where the host is at a check or an update already, or fail.")
    var wait = true

    @OptionGroup var options: ControlOptions

    func run() throws { try options.call("Check", ["wait": .bool(wait)], isPatient: wait, text: Report.check) }
}

/// `ballastctl reboot`.
struct RebootCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "reboot", abstract: "Reboot the host, into the version that waits if there is one.",
        discussion: """
            Restart windows, inhibitors of systemd and the image's gates are asked first, and its drains are run; what holds the \
            restart back is named, with exit status 5. With --force nothing is asked, and nothing drained.

            Example:
              ballastctl reboot
              ballastctl reboot --force
            """.flowing)

    @Flag(help: "Pass over windows, inhibitors, gates and drains.")
    var force = false

    @OptionGroup var options: ControlOptions

    func run() throws { try options.call("Reboot", ["force": .bool(force)], text: Report.action) }
}

/// `ballastctl rollback`.
struct RollbackCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "rollback", abstract: "Go back to the other slot's version, and deny the one that runs.",
        discussion: """
            The other slot has to hold a version that was good on this host. The version that runs is denied here until \
            'ballastctl allow' takes that back, so that no check brings it again. Without --reboot the next boot goes back; with it \
            the host restarts as 'ballastctl reboot' does, which --force makes at once.

            Example:
              ballastctl rollback --reboot
            """.flowing)

    @Flag(help: "Reboot then.")
    var reboot = false

    @Flag(help: "Reboot, passing over windows, inhibitors, gates and drains.")
    var force = false

    @OptionGroup var options: ControlOptions

    func run() throws {
        let parameters: JSONValue = ["reboot": .bool(reboot || force), "force": .bool(force)]
        try options.call("Rollback", parameters, text: Report.action)
    }
}

/// `ballastctl pin`.
struct PinCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "pin", abstract: "Take no other version than this one from now on.",
        discussion: """
            Pinning the version that runs stops updates; pinning another makes the next update bring that one.

            Example:
              ballastctl pin 1.1.0
            """.flowing)

    @Argument(help: "A version.")
    var version: String

    @OptionGroup var options: ControlOptions

    func run() throws { try options.call("Pin", ["version": .string(version)], text: Report.action) }
}

/// `ballastctl unpin`.
struct UnpinCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "unpin", abstract: "Take the newest version again.",
        discussion: """
            Example:
              ballastctl unpin
            """.flowing)

    @OptionGroup var options: ControlOptions

    func run() throws { try options.call("Unpin", text: Report.action) }
}

/// `ballastctl deny`.
struct DenyCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "deny", abstract: "Never take a version on this host, until it is allowed again.",
        discussion: """
            Example:
              ballastctl deny 1.2.0 --reason 'breaks our CNI plugin'
            """.flowing)

    @Argument(help: "A version.")
    var version: String

    @Option(help: "Why; status and history show it.")
    var reason: String?

    @OptionGroup var options: ControlOptions

    func run() throws {
        let reason: JSONValue = reason.map { .string($0) } ?? .null
        try options.call("Deny", ["version": .string(version), "reason": reason], text: Report.action)
    }
}

/// `ballastctl allow`.
struct AllowCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "allow", abstract: "Take back that a version is denied on this host.",
        discussion: """
            Example:
              ballastctl allow 1.2.0
            """.flowing)

    @Argument(help: "A version.")
    var version: String

    @OptionGroup var options: ControlOptions

    func run() throws { try options.call("Allow", ["version": .string(version)], text: Report.action) }
}
