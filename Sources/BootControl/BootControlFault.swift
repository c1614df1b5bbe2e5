public import Fault

/// Why the host's disk or boot entries cannot be used.
public enum BootControlFaultCode: String, FaultCode {
    /// The host does not run from a slot of a disk like ours.
    case notOurs = "not-ours"
    /// There is no such file or entry.
    case notFound = "not-found"
    /// The file system of the boot entries is full.
    case noSpace = "no-space"
    /// Reading or writing failed.
    case inputOutput = "input-output"
}

/// A failure of reading or changing what boots.
public typealias BootControlFault = Fault<BootControlFaultCode>
