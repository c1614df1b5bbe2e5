public import Fault

/// Why a device could not be read or written.
public enum BlockDeviceFaultCode: String, FaultCode {
    /// It cannot be opened.
    case notOpened = "not-opened"
    /// The range lies outside the device or the part of it that may be used.
    case outOfRange = "out-of-range"
    /// The device failed.
    case inputOutput = "input-output"
}

/// A failure of reading or writing a device.
public typealias BlockDeviceFault = Fault<BlockDeviceFaultCode>
