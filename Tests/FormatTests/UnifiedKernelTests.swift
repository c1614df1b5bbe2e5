import Command
import Fault
import FileIO
import SystemPackage
import Testing
import UnifiedKernel

@Suite("Unified kernel image")
struct UnifiedKernelTests {
    /// A PE32+ file with one section, as small as the format allows.
    static func smallExecutable(nx: Bool) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: 1536)
        func put(_ value: UInt64, _ width: Int, _ offset: Int) {
            for index in 0..<width { bytes[offset + index] = UInt8(truncatingIfNeeded: value >> (8 * UInt64(index))) }
        }
        bytes[0] = 0x4D
        bytes[1] = 0x5A
        put(64, 4, 60)
        put(0x4550, 4, 64)
        put(0x8664, 2, 68)
        put(1, 2, 70)
        put(240, 2, 84)
        put(0x222E, 2, 86)
        put(0x20B, 2, 88)
        put(0x1000, 4, 88 + 32)
        put(512, 4, 88 + 36)
        put(0x2000, 4, 88 + 56)
        put(1024, 4, 88 + 60)
        put(10, 2, 88 + 68)
        put(nx ? 0x100 : 0, 2, 88 + 70)
        put(16, 4, 88 + 108)
        let section = 88 + 240
        for (index, byte) in ".text".utf8.enumerated() { bytes[section + index] = byte }
        put(16, 4, section + 8)
        put(0x1000, 4, section + 12)
        put(512, 4, section + 16)
        put(1024, 4, section + 20)
        put(0x6000_0020, 4, section + 36)
        return bytes
    }

    static func image() -> UnifiedKernel {
        UnifiedKernel(
            stub: smallExecutable(nx: true), kernel: smallExecutable(nx: false),
            initrd: Array(repeating: 7, count: 5000),
            osRelease: "ID=test\n", commandLine: "quiet roothash=00", release: "6.12.0")
    }

    @Test("objdump sees every section with its content, and none overlaps another")
    func sections() async throws {
        let work = try TemporaryDirectory()
        let path = work.path.appending("image.efi")
        try path.replaceContents(with: try Self.image().encode())
        let listing = try await Command("objdump", ["-h", path.string]).run().outputText
        var previousEnd: UInt64 = 0
        var names: [String] = []
        for line in listing.split(separator: "\n") {
            let fields = line.split(separator: " ")
            guard fields.count >= 7, Int(fields[0]) != nil, let size = UInt64(fields[2], radix: 16),
                let address = UInt64(fields[3], radix: 16)
            else { continue }
            #expect(address >= previousEnd, "\(fields[1]) overlaps the section before it")
            previousEnd = address + size
            names.append(String(fields[1]))
        }
        #expect(names == [".text", ".sbat", ".osrel", ".cmdline", ".uname", ".initrd", ".linux"])
        let copy = work.path.appending("cmdline")
        try await Command("objcopy", ["-O", "binary", "--only-section=.cmdline", path.string, copy.string]).run()
        #expect(try copy.text().hasPrefix("quiet roothash=00"))
    }

    @Test("a stub or kernel that is no PE file is refused, however it is cut")
    func malformed() throws {
        let good = Self.smallExecutable(nx: true)
        for length in stride(from: 0, to: 400, by: 3) {
            var image = Self.image()
            image.stub = Array(good.prefix(length))
            #expect(throws: UnifiedKernelFault.self) { try image.encode() }
        }
        var image = Self.image()
        image.kernel = Array("not a kernel".utf8)
        let fault = try #require(throws: UnifiedKernelFault.self) { try image.encode() }
        #expect(fault.code == .badExecutable)
    }
}
