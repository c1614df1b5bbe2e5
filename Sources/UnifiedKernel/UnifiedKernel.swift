public import Fault

/// Why a unified kernel image cannot be written.
public enum UnifiedKernelFaultCode: String, FaultCode {
    /// The stub or the kernel is not a PE file that can be used here.
    case badExecutable = "bad-executable"
    /// A section does not fit.
    case noRoom = "no-room"
}

/// A failure of writing a unified kernel image.
public typealias UnifiedKernelFault = Fault<UnifiedKernelFaultCode>

/// A Unified Kernel Image (UAPI Group Specification 5): the systemd stub with what it boots as PE sections.
public struct UnifiedKernel: Sendable {
    /// systemd-stub for the architecture, such as `linuxx64.efi.stub`.
    public var stub: [UInt8]
    /// The kernel, a PE file itself.
    public var kernel: [UInt8]
    /// The initrd, a cpio archive, compressed as the kernel can read it.
    public var initrd: [UInt8]
    /// The content of `/usr/lib/os-release`, which boot loaders show and sort by.
    public var osRelease: String
    /// The kernel's command line.
    public var commandLine: String
    /// The kernel's release, as `uname -r` prints it.
    public var release: String

    /// The SBAT line of a unified kernel image as such; the stub's own lines stand before it.
    private static let sbatLine = "uki,1,UKI,uki,1,https://uapi-group.org/specifications/specs/unified_kernel_image/\n"

    /// An image of these parts.
    public init(
        stub: [UInt8], kernel: [UInt8], initrd: [UInt8], osRelease: String, commandLine: String, release: String
    ) {
        self.stub = stub
        self.kernel = kernel
        self.initrd = initrd
        self.osRelease = osRelease
        self.commandLine = commandLine
        self.release = release
    }

    /// The image's bytes.
    ///
    /// The sections stand in one fixed order, the kernel last: it needs room behind it in memory.
    public func encode() throws(UnifiedKernelFault) -> [UInt8] {
        var file = try PEFile(stub, name: "systemd-stub")
        let inner = try PEFile(kernel, name: "kernel")
        // Firmware that enforces NX must not be told that an image is ready for it while the kernel inside is not.
        if !inner.isNXCompatible { file.clearNXCompatibility() }
        let sbat = (try file.contents(of: ".sbat") ?? []).prefix { $0 != 0 }
        try file.setSection(".sbat", to: Array(sbat) + Array(Self.sbatLine.utf8))
        try file.setSection(".osrel", to: Array(osRelease.utf8))
        try file.setSection(".cmdline", to: Array(commandLine.utf8))
        try file.setSection(".uname", to: Array(release.utf8))
        try file.setSection(".initrd", to: initrd)
        try file.setSection(".linux", to: kernel, isCode: true)
        return file.bytes
    }
}
