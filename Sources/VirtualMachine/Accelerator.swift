import Command
import SystemPackage

/// How QEMU runs the guest's instructions.
public enum Accelerator: String, Sendable, CaseIterable {
    /// KVM where a guest really runs under it, TCG otherwise.
    case auto
    case kvm
    case tcg

    /// QEMU's arguments for it.
    var arguments: [String] {
        switch self {
        case .auto, .tcg:
            // QEMU 7.2 now and then hands the kernel wrong flags when cmpxchg16b is interrupted, which ends in a double
            // fault. The kernel does without the instruction when told so; systemd-stub passes this on from SMBIOS.
            [
                "-accel", "tcg,thread=multi", "-cpu", "max", "-smbios",
                "type=11,value=io.systemd.stub.kernel-cmdline-extra=clearcpuid=cx16",
            ]
        case .kvm: ["-accel", "kvm", "-cpu", "host"]
        }
    }

    /// What the guest's agent is told of the machine (`ballast.health_patience`): checks have the time that a processor needs
    /// for them, and an emulated one needs about ten times as much.
    var credentials: [String: [UInt8]] {
        switch self {
        case .auto, .tcg: ["ballast.health_patience": Array("10".utf8)]
        case .kvm: [:]
        }
    }

    /// Tries whether the firmware at `firmware` runs under KVM, for at most a few seconds: `/dev/kvm` may open and its guests still die, as
    /// they do where the machine is itself a guest without nested virtualisation.
    ///
    /// - Returns: nil where it runs, otherwise why it does not.
    static func obstacleToKVM(firmware: String) async -> String? {
        guard (try? FileDescriptor.open("/dev/kvm", .readWrite, options: .closeOnExec).close()) != nil else {
            return "/dev/kvm cannot be opened"
        }
        // The firmware is guest enough: it runs until it is ended, unless KVM fails under it. QEMU's own BIOS is not: it is
        // so old-fashioned that it runs where no other guest does.
        let probe = Command(
            "timeout",
            [
                "--preserve-status", "5", "qemu-system-x86_64", "-machine", "q35", "-accel", "kvm", "-cpu", "host",
                "-m",
                "256", "-display", "none", "-nodefaults", "-no-reboot", "-drive",
                "if=pflash,format=raw,unit=0,readonly=on,file=\(firmware)",
            ])
        guard let outcome = try? await probe.outcome() else { return "QEMU cannot be started" }
        let text = outcome.errorText.split(separator: "\n").first.map(String.init) ?? ""
        if text.contains("KVM") || text.contains("kvm") { return text }
        return outcome.status == 0 || outcome.status == 143 ? nil : "QEMU ended with status \(outcome.status): \(text)"
    }
}
