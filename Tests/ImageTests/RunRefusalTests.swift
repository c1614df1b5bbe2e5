import Command
import Fault
import FileIO
import Glibc
import SystemPackage
import TestSupport
import Testing
import VirtualMachine

/// What `ballast run` says of images and ports that it cannot use.
@Suite("Machines that must not start", .timeLimit(.minutes(120)))
final class RunRefusalTests {
    private let work: TemporaryDirectory
    private let disk: FilePath

    init() async throws {
        work = try TemporaryDirectory()
        disk = work.path.appending("disk.raw")
        try OpenFile(disk, .readWrite, options: .create).resize(to: 64 << 20)
        try await Command("sgdisk", ["-n", "1", disk.string]).run()
    }

    private func refusal(_ arguments: [String] = [], of image: FilePath? = nil) async throws -> String {
        let outcome = try await Command(
            BuiltExecutable.path("ballast").string,
            ["run", (image ?? disk).string, "--verdict", "--timeout", "1", "--accel", "tcg"] + arguments
        ).outcome()
        #expect(outcome.status == 1)
        #expect(outcome.outputText.isEmpty)
        return outcome.errorText
    }

    @Test("an image that ends before its partition table says is cut off")
    func truncated() async throws {
        try OpenFile(disk, .readWrite).resize(to: 5 << 20)
        #expect(
            try await refusal().contains(
                "\(disk): the image is cut off: it has 5242880 bytes, and its partition table speaks of 67108864; copy or build"
            ))
    }

    @Test("a file without a partition table is no image", arguments: [0, 100, 512, 4096, 8192, 1 << 20])
    func noTable(size: Int64) async throws {
        let file = work.path.appending("file")
        try OpenFile(file, .readWrite, options: .create).resize(to: size)
        #expect(try await refusal(of: file).contains("\(file): is no disk image: it has no GPT; name the directory"))
    }

    @Test("a disk that is smaller than its image is refused")
    func smallDisk() async throws {
        try OpenFile(disk, .readWrite).resize(to: 3 << 30)
        #expect(
            try await refusal(["--disk-size", "2"]).contains(
                "a disk of 2.0 GiB has no room for the image, which has 3.0 GiB; give it more with --disk-size"))
    }

    @Test("a disk that keeps what is written grows once, before its first boot")
    func grown() async throws {
        #expect(try DiskGeometry(of: disk).machineSize == 8 << 30)
        // Grown, and not booted yet.
        try OpenFile(disk, .readWrite).resize(to: 8 << 30)
        #expect(try DiskGeometry(of: disk).machineSize == 8 << 30)
        // The first boot has made its partition.
        try await Command("sgdisk", ["-e", "-n", "2", "-t", "2:8310", disk.string]).run()
        #expect(try DiskGeometry(of: disk).machineSize == 8 << 30)
        try OpenFile(disk, .readWrite).resize(to: 30 << 30)
        #expect(try DiskGeometry(of: disk).machineSize == 30 << 30)
        // A large image.
        let large = work.path.appending("large.raw")
        try OpenFile(large, .readWrite, options: .create).resize(to: 6 << 30)
        try await Command("sgdisk", ["-n", "1", large.string]).run()
        #expect(try DiskGeometry(of: large).machineSize == 10 << 30)
    }

    @Test("a partition table with wild numbers is refused, or read without harm")
    func wildTable() async throws {
        let header = try OpenFile(disk, .readWrite).bytes(at: 512, count: 512)
        var refused = 0
        for (offset, length) in [(32, 8), (72, 8), (80, 4), (84, 4)] {
            for value in [UInt8(0), 0x7F, 0xFF] {
                var bytes = header
                for index in offset..<offset + length { bytes[index] = value }
                let file = try OpenFile(disk, .readWrite)
                try bytes.withUnsafeBytes { buffer in
                    try Result { () throws(FileIOFault) in try file.write(buffer, at: 512) }.get()
                }
                do throws(VirtualMachineFault) { _ = try DiskGeometry(of: disk) } catch {
                    #expect(error.code == .noImage)
                    refused += 1
                }
            }
        }
        // All but entries from sector 0, and none at all.
        #expect(refused == 10)
    }

    @Test(
        "a file without a directory is refused before the machine starts",
        arguments: [("--console", "the console's file"), ("--firmware-variables", "the firmware's variables")])
    func noDirectory(option: String, what: String) async throws {
        let directory = work.path.appending("nowhere")
        #expect(
            try await refusal([option, directory.appending("file").string]).contains(
                "\(directory): there is no directory for \(what); make it"))
    }

    @Test(
        "options that contradict each other or go too far are named",
        arguments: [
            (["--timeout", "5"], "--timeout goes with --verdict."),
            (["--memory", "10"], "--memory is 256 to 65536 MiB."),
            (["--forward", "8080:80", "--forward", "8080:81"], "port 8080 is forwarded twice"),
            (["--forward", "99999:80"], "'99999:80' is not HOST:GUEST, such as 8080:80; a port is 1 to 65535"),
        ])
    func usage(arguments: [String], message: String) async throws {
        let outcome = try await Command(
            BuiltExecutable.path("ballast").string, ["run", disk.string] + arguments
        ).outcome()
        #expect(outcome.status == 64)
        #expect(outcome.errorText.hasPrefix("Error: \(message)"), "\(outcome.errorText)")
    }

    @Test("the console's last lines come without control sequences, and each wait once")
    func consoleText() {
        let console =
            "\u{1B}[2J\u{1B}[01;01H\u{1B}[=3hBdsDxe: starting\r\n\r\n\u{1B}]0;title\u{07}[\u{1B}[0;32m  OK  \u{1B}[0m] Mounted\r\n"
            + "\rfirst\r\u{1B}[Ksecond\r\n"
            + (1...30).map { "\u{1B}[K[ *** ] (1 of 2) A start job is running for dev (\($0)s / 1min)\r\n" }.joined()
            + "\u{1B}["
        #expect(
            ConsoleText.tail(of: Array(console.utf8), lines: 40) == [
                "BdsDxe: starting", "[  OK  ] Mounted", "second",
                "[ *** ] (1 of 2) A start job is running for dev (30s / 1min)",
            ])
        #expect(ConsoleText.tail(of: Array("a\nb\nc\n".utf8), lines: 2) == ["b", "c"])
        #expect(ConsoleText.tail(of: [0x1B, 0xFF, 0x0A, 0x00], lines: 2) == [])
    }

    @Test("a port that something listens on is named")
    func takenPort() async throws {
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        defer { close(descriptor) }
        // Without an address the system chooses one, on all interfaces.
        #expect(listen(descriptor, 1) == 0)
        var address = sockaddr_in()
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        _ = withUnsafeMutablePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { getsockname(descriptor, $0, &length) }
        }
        let port = UInt16(bigEndian: address.sin_port)
        #expect(
            try await refusal(["--forward", "\(port):80"]).contains(
                "port \(port) of this machine cannot be forwarded: Address already in use; end what listens there"))
    }
}
