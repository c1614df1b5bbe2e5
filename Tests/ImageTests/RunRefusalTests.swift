import Command
import FileIO
import Glibc
import SystemPackage
import Testing

/// What `ballast run` says of images and ports that it cannot use.
@Suite("Machines that must not start", .timeLimit(.minutes(1)))
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
            TestImage.executable("ballast").string,
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
