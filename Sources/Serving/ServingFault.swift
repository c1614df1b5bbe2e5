public import Fault

/// Why a repository is not served.
public enum ServingFaultCode: String, FaultCode {
    /// The directory is not there.
    case noDirectory = "no-directory"
    /// The address is in use, or not one of this machine.
    case address
}

/// A failure of serving.
public typealias ServingFault = Fault<ServingFaultCode>
