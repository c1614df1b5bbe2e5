public import Fault
import JSON

/// Why metadata of a repository is not trusted.
public enum TrustFaultCode: String, FaultCode {
    /// It is no signed document at all, such as a web page.
    case foreign
    /// It is no metadata of the expected role, or breaks a rule that every document has to keep.
    case malformed
    /// Too few of the keys that have to sign did.
    case unsigned
    /// Its time is over.
    case expired
    /// It is older than what this host has already seen.
    case rolledBack = "rolled-back"
    /// Its version is not the one that is called for here.
    case wrongVersion = "wrong-version"
    /// Its length or digest is not the one that signed metadata names.
    case mismatch
    /// The repository does not have it.
    case missing
    /// It could not be fetched; the cause says why.
    case fetch
    /// What is already known could not be read or kept.
    case store
    /// A key is missing or cannot sign.
    case key
}

/// A failure of establishing trust in a repository.
public typealias TrustFault = Fault<TrustFaultCode>

extension Fault where Code == TrustFaultCode {
    /// A document that is not what it should be; `fault` says where.
    ///
    /// - Parameter code: whether it is at least a signed one.
    static func malformed(
        _ fault: JSONFault, _ code: TrustFaultCode = .malformed, text: [UInt8], at place: Place
    ) -> TrustFault {
        let isPage = text.drop { $0 == 0x20 || $0 == 0x0A || $0 == 0x0D || $0 == 0x09 }.first == UInt8(ascii: "<")
        guard isPage else {
            // The JSON fault's own place is a line and column in the same file, or the file itself.
            return TrustFault(
                code, "is not valid metadata: \(fault.message)", at: fault.place ?? place,
                remedy: "ask who runs the repository to publish it again")
        }
        return TrustFault(
            .foreign, "a web page where signed metadata is expected", at: place,
            remedy: "check the repository's address, and whether a proxy or a login page answers in its place")
    }
}
