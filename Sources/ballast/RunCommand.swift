import ArgumentParser
import Fault
import FileIO
import JSON
import SystemPackage
import Terminal
import VirtualMachine

/// `ballast run`.
struct RunCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "run",
        abstract: "Boot an image in a virtual machine.",
        discussion: """
            The serial console is on the terminal; Ctrl-A X ends the machine. What the guest writes is forgotten unless
            --persist is given.

            Example: ballast run out
            Example: ballast run out --ssh
            Example: ballast run out --forward 8080:80
            Example: ballast run out --verdict --timeout 180
            """.flowing)

    @Argument(help: "A build's output directory, or a raw disk image.", completion: .file())
    var image: String

    @Option(
        help: ArgumentHelp(
            "How instructions run: auto, kvm or tcg. 'auto' takes KVM only where a guest really runs under it.",
            valueName: "accelerator"),
        transform: { text in
            guard let accelerator = Accelerator(rawValue: text) else {
                throw ValidationError("'\(text)' is not an accelerator; there are auto, kvm and tcg")
            }
            return accelerator
        })
    var accel = Accelerator.auto

    @Flag(help: "Let the guest's writes reach the image.")
    var persist = false

    @Option(
        name: .customLong("forward"),
        help: ArgumentHelp("Forward a port of this machine's loopback to the guest.", valueName: "host:guest"))
    var forwards: [String] = []

    @Flag(
        help: """
            Let you log in as root by SSH: hand the guest your public key, forward a port and print the command. The image
            needs an SSH server, as manifests/ssh.yaml has.
            """)
    var ssh = false

    @Option(
        help: ArgumentHelp(
            "The public key for --ssh: those of ~/.ssh/id_*.pub where not given.", valueName: "file"),
        completion: .file())
    var sshKey: String?

    @Option(
        name: .customLong("channel"),
        help: ArgumentHelp(
            "Offer the guest's virtio-serial port of this name on a socket.", valueName: "name:socket"))
    var channels: [String] = []

    @Option(help: ArgumentHelp("Write the serial console to a file instead of the terminal.", valueName: "file"))
    var console: String?

    @Option(
        help: ArgumentHelp(
            "The disk's size, so that the var partition has room: 8, or 4 more than the image's where not given.",
            valueName: "gib"))
    var diskSize: Int?

    @Option(
        help: ArgumentHelp(
            "Keep the firmware's variables in this file, made where it is missing: without, each run forgets them.",
            valueName: "file"))
    var firmwareVariables: String?

    @Flag(
        help: """
            End when the guest reboots, or its watchdog resets it, instead of booting it again; --verdict does so too.
            """)
    var noReboot = false

    @Option(help: ArgumentHelp("The guest's memory.", valueName: "mib"))
    var memory = 2048

    @Flag(help: "End with status 0 once the guest reports that its boot is complete.")
    var verdict = false

    @Option(
        help: ArgumentHelp(
            "How long the guest may take with --verdict: 300 where not given, and 3600 without KVM.",
            valueName: "seconds"))
    var timeout: Int?
    @OptionGroup var common: CommonOptions

    func validate() throws {
        _ = try parsedForwards()
        _ = try parsedChannels()
        guard diskSize.map((1...1024).contains) ?? true else {
            throw ValidationError("--disk-size is 1 to 1024 GiB.")
        }
        guard (256...65_536).contains(memory) else { throw ValidationError("--memory is 256 to 65536 MiB.") }
        guard timeout.map((1...86_400).contains) ?? true else {
            throw ValidationError("--timeout is 1 to 86400 seconds.")
        }
        guard sshKey == nil || ssh else { throw ValidationError("--ssh-key goes with --ssh.") }
        guard timeout == nil || verdict else { throw ValidationError("--timeout goes with --verdict.") }
    }

    func run() async throws {
        var machine = VirtualMachine(disk: try disk())
        machine.accelerator = accel
        machine.isPersistent = persist
        machine.diskSize = diskSize.map { Int64($0) << 30 }
        machine.memory = memory
        machine.forwards = try parsedForwards()
        machine.channels = try parsedChannels()
        machine.console = console.map { FilePath($0) }
        machine.firmwareVariables = firmwareVariables.map { FilePath($0) }
        machine.endsAtReboot = noReboot
        if ssh { try offerSSH(&machine) }
        if verdict {
            let started = ContinuousClock.now
            let report = try await machine.verdict(timeout: timeout.map { .seconds($0) }) {
                StandardStreams.report("ballast: \($0)")
            }
            StandardStreams.print("\(report) after \(Int((ContinuousClock.now - started) / .seconds(1))) s")
        } else {
            try await machine.runInteractively { StandardStreams.report("ballast: \($0)") }
        }
    }

    private func offerSSH(_ machine: inout VirtualMachine) throws {
        let keys = try AuthorizedKeys.read(sshKey.map { FilePath($0) })
        guard let port = VirtualMachine.Forward.freePort(from: 2222, except: machine.forwards.map(\.host)) else {
            throw VirtualMachineFault(
                .notStarted, "no port from 2222 on is free for SSH", remedy: "end what listens there")
        }
        machine.credentials["ssh.authorized_keys.root"] = keys
        // ssh tries the user's own keys by itself.
        let identity =
            try sshKey.map { key in
                let path = try FilePath(key).resolved().string
                return
                    "-i '\((path.hasSuffix(".pub") ? String(path.dropLast(4)) : path).replacing("'", with: "'\\''"))' "
            } ?? ""
        machine.forwards.append(.init(host: port, guest: 22))
        StandardStreams.report(
            "ballast: once the guest is up, log in with: ssh \(identity)-p \(port) -o UserKnownHostsFile=/dev/null "
                + "-o StrictHostKeyChecking=no root@127.0.0.1")
    }

    private func disk() throws -> FilePath {
        let path = FilePath(image)
        guard path.exists else {
            throw VirtualMachineFault(
                .noImage, "there is nothing to run", at: .path(path.string),
                remedy: "name the directory that 'ballast build' wrote, or a raw disk image")
        }
        guard try FileStatus(following: path).kind == .directory else { return path }
        let report = path.appending("build.json")
        guard report.exists else {
            throw VirtualMachineFault(
                .noImage, "holds no build: there is no build.json in it", at: .path(path.string),
                remedy: "name the directory that 'ballast build' wrote, or a raw disk image")
        }
        let cursor = try JSONCursor(parsing: try report.contents(limit: 16 << 20), source: report.string)
        let name = try cursor.field("outputs").field("raw").field("file").string()
        guard let component = FilePath.Component(name) else {
            throw VirtualMachineFault(.noImage, "'\(name)' is not a file's name", at: .path(report.string))
        }
        let disk = path.appending(component)
        guard disk.exists else {
            throw VirtualMachineFault(
                .noImage, "is missing, and build.json names it", at: .path(disk.string),
                remedy: "build the image anew, or copy the whole directory")
        }
        return disk
    }

    private func parsedChannels() throws -> [VirtualMachine.Channel] {
        try channels.map { text in
            let parts = text.split(separator: ":", maxSplits: 1).map(String.init)
            guard parts.count == 2, !parts[0].contains(",") else {
                throw ValidationError("'\(text)' is not NAME:SOCKET, such as io.example.shell:/run/shell.sock")
            }
            return VirtualMachine.Channel(name: parts[0], socket: FilePath(parts[1]))
        }
    }

    private func parsedForwards() throws -> [VirtualMachine.Forward] {
        let parsed = try forwards.map { text in
            let parts = text.split(separator: ":", omittingEmptySubsequences: false)
            let ports = parts.compactMap { Int($0) }
            guard parts.count == 2, ports.count == 2, ports.allSatisfy({ (1...65_535).contains($0) }) else {
                throw ValidationError("'\(text)' is not HOST:GUEST, such as 8080:80; a port is 1 to 65535")
            }
            return VirtualMachine.Forward(host: ports[0], guest: ports[1])
        }
        for forward in parsed where parsed.count(where: { $0.host == forward.host }) > 1 {
            throw ValidationError("port \(forward.host) is forwarded twice")
        }
        return parsed
    }
}
