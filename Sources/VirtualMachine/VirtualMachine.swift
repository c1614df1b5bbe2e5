import Command
public import Fault
import FileIO
import Glibc
public import SystemPackage
import Terminal

/// A QEMU machine with UEFI firmware that boots a disk image.
public struct VirtualMachine: Sendable {
    /// Forwards a TCP port of this machine's loopback to the guest.
    public struct Forward: Sendable, Hashable {
        /// The port here.
        public let host: Int
        /// The port in the guest.
        public let guest: Int

        /// Both ports.
        public init(host: Int, guest: Int) {
            self.host = host
            self.guest = guest
        }

        /// Whether the port here can be listened on. QEMU says only that it cannot set the forwarding up.
        func check() throws(VirtualMachineFault) {
            guard let error = Self.obstacle(to: host) else { return }
            throw VirtualMachineFault(
                .notStarted, "port \(host) of this machine cannot be forwarded: \(error)",
                remedy: "end what listens there, or forward another one")
        }

        /// A port of this machine's loopback that nothing listens on: `preferred`, or the first one after it.
        public static func freePort(from preferred: Int, except taken: [Int] = []) -> Int? {
            (preferred..<min(preferred + 1000, 65_536)).first { !taken.contains($0) && obstacle(to: $0) == nil }
        }

        private static func obstacle(to host: Int) -> Errno? {
            let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
            guard descriptor >= 0 else { return nil }
            defer { close(descriptor) }
            var yes: CInt = 1
            setsockopt(descriptor, SOL_SOCKET, SO_REUSEADDR, &yes, socklen_t(MemoryLayout<CInt>.size))
            var address = sockaddr_in()
            address.sin_family = sa_family_t(AF_INET)
            address.sin_port = in_port_t(host).bigEndian
            address.sin_addr.s_addr = in_addr_t(INADDR_LOOPBACK).bigEndian
            let status = withUnsafePointer(to: &address) {
                $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    bind(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
                }
            }
            return status == 0 ? nil : Errno(rawValue: Glibc.errno)
        }
    }

    /// The name of the virtio-serial port on which the guest says how its boot ended.
    public static let verdictPort = "io.ballast.verdict"

    /// The disk image, raw.
    public var disk: FilePath
    /// How instructions run.
    public var accelerator = Accelerator.auto
    /// Whether writes reach the image. Otherwise they end with the machine.
    public var isPersistent = false
    /// The size in bytes that the disk is grown to, so that the var partition finds room; nil for 8 GiB, or 4 GiB more than
    /// the image has where that is more.
    public var diskSize: Int64?
    /// The guest's memory in MiB.
    public var memory = 2048
    /// Forwarded ports.
    public var forwards: [Forward] = []
    /// A virtio-serial port of the guest on a socket of this machine.
    public struct Channel: Sendable, Hashable {
        /// The port's name: `/dev/virtio-ports/NAME` in the guest.
        public let name: String
        /// The socket that QEMU listens on.
        public let socket: FilePath

        /// Both ends.
        public init(name: String, socket: FilePath) {
            self.name = name
            self.socket = socket
        }
    }

    /// Ports on sockets.
    public var channels: [Channel] = []
    /// systemd's credentials for the guest by name (systemd.system-credentials(7)), handed over in SMBIOS.
    public var credentials: [String: [UInt8]] = [:]
    /// The file that the serial console goes to, or nil for this terminal.
    public var console: FilePath?
    /// The file that keeps the firmware's variables, or nil for a machine that forgets them. It is made where it is missing.
    public var firmwareVariables: FilePath?
    /// Whether the machine ends where the guest reboots, or its watchdog resets it.
    public var endsAtReboot = false

    /// A machine that boots `disk`.
    public init(disk: FilePath) { self.disk = disk }

    private static let firmware: [(code: String, variables: String)] = [
        ("/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd"),
        ("/usr/share/OVMF/OVMF_CODE.fd", "/usr/share/OVMF/OVMF_VARS.fd"),
        ("/usr/share/edk2/ovmf/OVMF_CODE.fd", "/usr/share/edk2/ovmf/OVMF_VARS.fd"),
    ]

    private static var installedFirmware: (code: String, variables: String)? {
        firmware.first { FilePath($0.code).exists && FilePath($0.variables).exists }
    }

    /// The accelerator to use, and a line that says why where it is not the obvious one.
    public func chooseAccelerator() async throws(VirtualMachineFault) -> (accelerator: Accelerator, note: String?) {
        guard accelerator != .tcg, let firmware = Self.installedFirmware else { return (accelerator, nil) }
        guard let obstacle = await Accelerator.obstacleToKVM(firmware: firmware.code) else { return (.kvm, nil) }
        guard accelerator == .auto else {
            throw VirtualMachineFault(
                .notStarted, "no guest runs under KVM here: \(obstacle)", remedy: "use '--accel tcg', which is slower")
        }
        return (.tcg, "running under TCG, which is slower than KVM: \(obstacle)")
    }

    /// QEMU's command line.
    ///
    /// - Parameters:
    ///   - work: a directory for what only this run needs.
    ///   - serial: where the serial console goes, as QEMU's `-serial` says it.
    func command(
        accelerator: Accelerator, geometry: DiskGeometry, work: FilePath, serial: String
    ) throws(VirtualMachineFault) -> Command {
        guard let firmware = Self.installedFirmware else {
            throw VirtualMachineFault(
                .notStarted, "there is no UEFI firmware for the virtual machine", remedy: "install the package 'ovmf'")
        }
        let variables = firmwareVariables ?? work.appending("firmware-variables.fd")
        do throws(FileIOFault) {
            if !variables.exists { try variables.replaceContents(with: try FilePath(firmware.variables).contents()) }
            try growDisk(to: size(of: geometry))
        } catch {
            throw VirtualMachineFault(.notStarted, "cannot prepare the virtual machine", cause: error)
        }
        let device =
            "virtio-blk-pci,drive=disk,logical_block_size=\(geometry.sectorSize),"
            + "physical_block_size=\(geometry.sectorSize)"
        let network = forwards.map { ",hostfwd=tcp:127.0.0.1:\($0.host)-:\($0.guest)" }.joined()
        var arguments =
            ["-machine", "q35"] + accelerator.arguments + [
                "-m", String(memory), "-smp", "2", "-display", "none", "-nodefaults", "-no-user-config",
                "-drive", "if=pflash,format=raw,unit=0,readonly=on,file=\(firmware.code)",
                "-drive", "if=pflash,format=raw,unit=1,file=\(Self.value(variables))",
                "-drive",
                "if=none,id=disk,format=\(diskFormat),file=\(Self.value(diskFile(work: work))),discard=unmap",
                "-device",
                device,
                "-nic", "user,model=virtio-net-pci\(network)", "-device", "virtio-rng-pci",
                "-device", "i6300esb", "-serial", serial,
            ]
        if endsAtReboot { arguments.append("-no-reboot") }
        let credentials = credentials.merging(accelerator.credentials) { own, _ in own }
        for (name, value) in credentials.sorted(by: { $0.key < $1.key }) {
            let text = Base64.text(of: value)
            arguments += ["-smbios", "type=11,value=io.systemd.credential.binary:\(name)=\(text)"]
        }
        if !channels.isEmpty { arguments += ["-device", "virtio-serial-pci"] }
        for (index, channel) in channels.enumerated() {
            arguments += [
                "-chardev", "socket,id=channel\(index),server=on,wait=off,path=\(Self.value(channel.socket))",
                "-device",
                "virtserialport,chardev=channel\(index),name=\(channel.name)",
            ]
        }
        return Command("qemu-system-x86_64", arguments)
    }

    /// A path as a value among QEMU's options, where a comma is written twice.
    static func value(_ path: FilePath) -> String { path.string.replacing(",", with: ",,") }

    private var diskFormat: String { isPersistent ? "raw" : "qcow2" }
    private func diskFile(work: FilePath) -> FilePath { isPersistent ? disk : work.appending("snapshot.qcow2") }

    private func size(of geometry: DiskGeometry) -> Int64 {
        diskSize ?? geometry.machineSize
    }

    private func growDisk(to size: Int64) throws(FileIOFault) {
        guard isPersistent else { return }
        let file = try OpenFile(disk, .readWrite)
        let status = try file.status()
        if status.kind == .regular, status.size < size { try file.resize(to: size) }
    }

    /// Looks at the image and at what the machine is to have, and makes the file that takes the writes of a machine that
    /// forgets them.
    func prepareDisk(work: FilePath) async throws(VirtualMachineFault) -> DiskGeometry {
        let geometry = try DiskGeometry(of: disk)
        let size = size(of: geometry)
        guard size >= geometry.fileSize else {
            throw VirtualMachineFault(
                .notStarted,
                "a disk of \(Progress.bytes(size)) has no room for the image, which has "
                    + "\(Progress.bytes(geometry.fileSize))",
                at: .path(disk.string), remedy: "give it more with --disk-size")
        }
        for forward in forwards { try forward.check() }
        for (file, what) in [(console, "the console's file"), (firmwareVariables, "the firmware's variables")] {
            guard let directory = file?.removingLastComponent(), !directory.isEmpty, !directory.exists else { continue }
            throw VirtualMachineFault(
                .notStarted, "there is no directory for \(what)", at: .path(directory.string),
                remedy: "make it, or name another file")
        }
        guard !isPersistent else { return geometry }
        do throws(CommandFault) {
            let path = diskFile(work: work).string
            try await Command(
                "qemu-img", ["create", "-q", "-f", "qcow2", "-F", "raw", "-b", try absolute(disk), path, String(size)]
            ).run()
        } catch {
            throw VirtualMachineFault(
                .notStarted, "cannot make the disk's snapshot", remedy: "install the package 'qemu-utils'", cause: error
            )
        }
        return geometry
    }

    private func absolute(_ path: FilePath) throws(CommandFault) -> String {
        guard let real = realpath(path.string, nil) else {
            throw CommandFault(.failed, "there is no such image", at: .path(path.string))
        }
        defer { free(real) }
        return String(cString: real)
    }
}
