import Fault
import FileIO
import SystemPackage

/// The extended attributes that an overlay's `.ballast-attributes` gives its files: a line `NAME=VALUE /PATH` each, with `#` for
/// comments. A checkout keeps none.
struct OverlayAttributes {
    private var attributes: [String: [(name: String, value: [UInt8])]] = [:]
    /// The paths in the order of the lines that name them, with these lines.
    private(set) var places: [(String, Place)] = []

    subscript(path: String) -> [(name: String, value: [UInt8])] { attributes[path] ?? [] }

    init(of overlay: FilePath) throws(AssemblyFault) {
        let file = overlay.appending(OverlayCopy.attributesFile)
        guard file.exists else { return }
        let text = try attempt("cannot read the overlay's attributes") { try file.text(limit: 1 << 20) }
        for (number, line) in text.split(omittingEmptySubsequences: false, whereSeparator: \.isNewline).enumerated() {
            if line.isEmpty || line.hasPrefix("#") { continue }
            let fields = line.split(separator: " ", maxSplits: 1)
            let assignment = fields.first?.split(separator: "=", maxSplits: 1).map(String.init) ?? []
            guard fields.count == 2, fields[1].hasPrefix("/"), fields[1] != "/", assignment.count == 2,
                let value = Self.value(assignment[1], of: assignment[0])
            else {
                throw AssemblyFault(
                    .invalidRequest,
                    "expected 'NAME=VALUE /PATH', such as 'security.capability=cap_net_raw+ep /usr/bin/probe' or "
                        + "'user.origin=here /etc/site'",
                    at: .position(path: file.string, line: number + 1, column: 1))
            }
            let path = String(fields[1].dropFirst())
            attributes[path, default: []].append((assignment[0], value))
            places.append((path, .position(path: file.string, line: number + 1, column: 1)))
        }
    }

    private static func value(_ text: String, of name: String) -> [UInt8]? {
        if name == "security.capability" { return capability(text) }
        return name.hasPrefix("user.") && name.count > 5 ? Array(text.utf8) : nil
    }

    /// A capability set as cap_from_text(3) has it in its usual form, `cap_a,cap_b+ep`, as the kernel stores it (struct
    /// vfs_cap_data, revision 2, include/uapi/linux/capability.h).
    static func capability(_ text: String) -> [UInt8]? {
        guard let sign = text.firstIndex(where: { $0 == "+" || $0 == "=" }) else { return nil }
        let flags = Set(text[text.index(after: sign)...])
        guard !flags.isEmpty, flags.isSubset(of: ["e", "i", "p"]) else { return nil }
        var bits: UInt64 = 0
        for word in text[..<sign].split(separator: ",", omittingEmptySubsequences: false) {
            guard let index = names.firstIndex(of: word.lowercased()) else { return nil }
            bits |= 1 << UInt64(index)
        }
        let permitted = flags.contains("p") ? bits : 0
        let inheritable = flags.contains("i") ? bits : 0
        let head: UInt32 = 0x0200_0000 | (flags.contains("e") ? 1 : 0)
        let words: [UInt32] = [
            head, UInt32(truncatingIfNeeded: permitted), UInt32(truncatingIfNeeded: inheritable),
            UInt32(permitted >> 32), UInt32(inheritable >> 32),
        ]
        return words.flatMap { word in (0..<4).map { UInt8(truncatingIfNeeded: word >> (8 * UInt32($0))) } }
    }

    /// By number (capabilities(7)).
    private static let names = [
        "chown", "dac_override", "dac_read_search", "fowner", "fsetid", "kill", "setgid", "setuid", "setpcap",
        "linux_immutable", "net_bind_service", "net_broadcast", "net_admin", "net_raw", "ipc_lock", "ipc_owner",
        "sys_module", "sys_rawio", "sys_chroot", "sys_ptrace", "sys_pacct", "sys_admin", "sys_boot", "sys_nice",
        "sys_resource", "sys_time", "sys_tty_config", "mknod", "lease", "audit_write", "audit_control", "setfcap",
        "mac_override", "mac_admin", "syslog", "wake_alarm", "block_suspend", "audit_read", "perfmon", "bpf",
        "checkpoint_restore",
    ].map { "cap_" + $0 }
}
