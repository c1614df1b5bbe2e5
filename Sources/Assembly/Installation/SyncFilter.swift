/// A seccomp filter under which nothing waits for the medium: fsync(2) and its like succeed and do nothing. The tree that the
/// sandboxed programs write is thrown away if the machine stops, and maintainer scripts flush more than a thousand times.
///
/// The program is classic BPF as seccomp(2) takes it: `struct sock_filter` after `struct sock_filter`, little-endian.
///
/// | offset | bytes | one instruction |
/// |---:|---:|---|
/// | 0 | 2 | operation |
/// | 2 | 1 | instructions to skip where a comparison holds |
/// | 3 | 1 | instructions to skip where it does not |
/// | 4 | 4 | operand |
enum SyncFilter {
    #if arch(x86_64)
        /// AUDIT_ARCH_X86_64 of linux/audit.h.
        private static let architecture: UInt32 = 0xC000_003E
        /// fsync, fdatasync, sync, sync_file_range, syncfs of asm/unistd_64.h.
        private static let calls: [UInt32] = [74, 75, 162, 277, 306]
    #elseif arch(arm64)
        /// AUDIT_ARCH_AARCH64 of linux/audit.h.
        private static let architecture: UInt32 = 0xC000_00B7
        /// sync, fsync, fdatasync, sync_file_range, syncfs of asm-generic/unistd.h.
        private static let calls: [UInt32] = [81, 82, 83, 84, 267]
    #endif

    // BPF_LD | BPF_W | BPF_ABS; BPF_JMP | BPF_JEQ | BPF_K; BPF_RET | BPF_K.
    private static let load: UInt16 = 0x20
    private static let compare: UInt16 = 0x15
    private static let answer: UInt16 = 0x06
    /// SECCOMP_RET_ALLOW, and SECCOMP_RET_ERRNO with the number 0: done, and nothing went wrong.
    private static let allow: UInt32 = 0x7FFF_0000
    private static let succeed: UInt32 = 0x0005_0000
    /// Where `struct seccomp_data` has the call's number and its architecture.
    private static let numberOffset: UInt32 = 0
    private static let architectureOffset: UInt32 = 4

    /// The program's bytes.
    static let program: [UInt8] = {
        var bytes: [UInt8] = []
        func append(_ operation: UInt16, _ operand: UInt32, ifTrue: Int = 0, ifFalse: Int = 0) {
            withUnsafeBytes(of: operation.littleEndian) { bytes += $0 }
            bytes += [UInt8(ifTrue), UInt8(ifFalse)]
            withUnsafeBytes(of: operand.littleEndian) { bytes += $0 }
        }
        append(load, architectureOffset)
        append(compare, architecture, ifFalse: calls.count + 1)
        append(load, numberOffset)
        for (index, call) in calls.enumerated() { append(compare, call, ifTrue: calls.count - index) }
        append(answer, allow)
        append(answer, succeed)
        return bytes
    }()
}
