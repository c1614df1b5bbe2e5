public import Fault

/// Why a virtual machine did not run, or not as it should.
public enum VirtualMachineFaultCode: String, FaultCode {
    /// QEMU or its firmware is missing, or QEMU refuses its arguments.
    case notStarted = "not-started"
    /// The guest did not report within its time.
    case noVerdict = "no-verdict"
    /// The guest reported a failure.
    case failed
    /// There is no image to run.
    case noImage = "no-image"
}

/// A failure of running an image.
public typealias VirtualMachineFault = Fault<VirtualMachineFaultCode>
