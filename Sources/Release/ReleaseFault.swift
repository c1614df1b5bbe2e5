public import Fault
import JSON

/// Why a release, an index or a version cannot be used.
public enum ReleaseFaultCode: String, FaultCode {
    /// The document or index breaks a rule of its format.
    case malformed
    /// The format is newer than this program.
    case unsupported
    /// A version has characters or a length that no version may have.
    case invalidVersion = "invalid-version"
    /// Bytes are not those that the index or the release names.
    case mismatch
}

/// A failure of reading a release.
public typealias ReleaseFault = Fault<ReleaseFaultCode>

extension Fault where Code == ReleaseFaultCode {
    static func malformed(_ fault: JSONFault) -> ReleaseFault {
        ReleaseFault(
            .malformed, "is no release document: \(fault.message)", at: fault.place,
            remedy: "ask who publishes the releases to publish this one again")
    }
}
