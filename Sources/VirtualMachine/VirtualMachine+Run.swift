import Command
public import Fault
import FileIO
import Glibc
import Subprocess
import SystemPackage
import Terminal

extension VirtualMachine {
    /// Runs with the serial console on this terminal, or in the file `console`, until the guest powers off, the person ends
    /// QEMU (Ctrl-A X), or this process is asked to end.
    public func runInteractively(note: @escaping @Sendable (String) -> Void) async throws(VirtualMachineFault) {
        try await supervised { try await runToEnd(note: note) }
    }

    /// Does `body`, which ends with the machine when this process is asked to end.
    private func supervised<Result: Sendable>(
        _ body: @escaping @Sendable () async throws -> Result
    ) async throws(VirtualMachineFault) -> Result {
        do { return try await EndingSignals.cancelling(body) } catch let fault as VirtualMachineFault {
            throw fault
        } catch {
            throw VirtualMachineFault(.notStarted, "cannot run QEMU", cause: error)
        }
    }

    /// A machine that is ended from here has a moment to write what it holds.
    private static var teardown: PlatformOptions {
        var options = PlatformOptions()
        options.teardownSequence = [.gracefulShutDown(allowedDurationToNextStep: .seconds(5))]
        return options
    }

    private func runToEnd(note: (String) -> Void) async throws(VirtualMachineFault) {
        let work = try Self.workDirectory()
        let geometry = try await prepareDisk(work: work.path)
        let choice = try await chooseAccelerator()
        if let text = choice.note { note(text) }
        let command = try command(
            accelerator: choice.accelerator, geometry: geometry, work: work.path,
            serial: console.map { "file:\($0)" } ?? "mon:stdio")
        do {
            let result = try await Subprocess.run(
                .name(command.program), arguments: Arguments(command.arguments), platformOptions: Self.teardown,
                input: .fileDescriptor(.standardInput, closeAfterSpawningProcess: false),
                output: .fileDescriptor(.standardOutput, closeAfterSpawningProcess: false),
                error: .fileDescriptor(.standardError, closeAfterSpawningProcess: false))
            guard !Task.isCancelled else { throw Self.ended }
            guard result.terminationStatus.isSuccess else {
                throw VirtualMachineFault(
                    .notStarted, "QEMU could not run the machine: see what it said above",
                    remedy: "correct the options that it names")
            }
        } catch let fault as VirtualMachineFault {
            throw fault
        } catch {
            throw VirtualMachineFault(
                .notStarted, "cannot run QEMU", remedy: "install the package 'qemu-system-x86'", cause: error)
        }
    }

    /// Boots and waits until the guest reports on the verdict port.
    ///
    /// - Parameter timeout: how long the guest may take; unless given five minutes under KVM, and otherwise an hour, since an
    ///   emulated guest gives its health checks so much more time.
    /// - Returns: the guest's report: `boot-complete PRODUCT VERSION`.
    /// - Throws: `noVerdict` with the console's last lines, or `failed` with what the guest said.
    public func verdict(
        timeout: Duration?, note: @escaping @Sendable (String) -> Void
    ) async throws(VirtualMachineFault) -> String {
        try await supervised { try await awaitVerdict(timeout: timeout, note: note) }
    }

    private func awaitVerdict(timeout: Duration?, note: (String) -> Void) async throws(VirtualMachineFault) -> String {
        let work = try Self.workDirectory()
        let geometry = try await prepareDisk(work: work.path)
        let choice = try await chooseAccelerator()
        if let text = choice.note { note(text) }
        let timeout = timeout ?? .seconds(choice.accelerator == .kvm ? 300 : 3600)
        let console = console ?? work.path.appending("console.log")
        let report = work.path.appending("verdict")
        var machine = self
        machine.endsAtReboot = true
        var command = try machine.command(
            accelerator: choice.accelerator, geometry: geometry, work: work.path, serial: "file:\(console)")
        command.arguments += [
            "-device", "virtio-serial-pci", "-chardev", "file,id=verdict,path=\(Self.value(report))",
            "-device",
            "virtserialport,chardev=verdict,name=\(Self.verdictPort)",
        ]
        let deadline = ContinuousClock.now + timeout
        let qemu = command
        let text = await withTaskGroup(of: String?.self) { group in
            group.addTask { await Self.outcomeText(of: qemu) }
            group.addTask {
                while ContinuousClock.now < deadline {
                    if let line = Self.firstLine(of: report) { return line }
                    guard (try? await Task.sleep(for: .milliseconds(200))) != nil else { return nil }
                }
                return nil
            }
            let first = await group.next() ?? nil
            group.cancelAll()
            return first ?? nil
        }
        guard !Task.isCancelled else { throw Self.ended }
        // The report may have come in the same moment as the end.
        let verdict = Self.firstLine(of: report) ?? text
        guard let verdict, verdict.hasPrefix("boot-") else {
            let tail = ConsoleText.tail(of: Self.end(of: console), lines: 40)
            throw VirtualMachineFault(
                .noVerdict,
                (verdict.map { "QEMU ended before the guest reported: \($0)" }
                    ?? "the guest did not report within \(timeout.components.seconds) seconds; where it only needs more "
                    + "time, give it that with --timeout")
                    + (tail.isEmpty ? "" : "; the console's last lines:\n  " + tail.joined(separator: "\n  ")))
        }
        guard verdict.hasPrefix("boot-complete") else {
            throw VirtualMachineFault(.failed, "the guest reports: \(verdict)")
        }
        return verdict
    }

    private static var ended: VirtualMachineFault {
        VirtualMachineFault(.failed, "the virtual machine was ended, since this process was asked to end")
    }

    /// As much of the console's end as its last lines can take; a guest that writes for hours fills gigabytes.
    private static func end(of console: FilePath) -> [UInt8] {
        guard let file = try? OpenFile(reading: console), let size = try? file.status().size else { return [] }
        let count = min(size, 256 << 10)
        return (try? file.bytes(at: size - count, count: Int(count))) ?? []
    }

    private static func firstLine(of file: FilePath) -> String? {
        guard let text = try? file.text(limit: 1 << 16), let end = text.firstIndex(of: "\n") else { return nil }
        return String(text[..<end])
    }

    private static func outcomeText(of command: Command) async -> String {
        do throws(CommandFault) {
            let outcome = try await command.outcome()
            let text = outcome.errorText.split(whereSeparator: \.isNewline).joined(separator: "; ")
            return "status \(outcome.status)\(text.isEmpty ? "" : ", \(text)")"
        } catch {
            return error.description
        }
    }

    private static func workDirectory() throws(VirtualMachineFault) -> TemporaryDirectory {
        do throws(FileIOFault) { return try TemporaryDirectory(prefix: "ballast-run") } catch {
            throw VirtualMachineFault(.notStarted, "cannot make a directory for the virtual machine", cause: error)
        }
    }
}
