public import Fault

/// Why an archive cannot be read.
public enum ArchiveFaultCode: String, FaultCode {
    /// The bytes are no archive of an expected format, or are cut off.
    case malformed
    /// A member is larger than what was allowed for it.
    case tooLarge = "too-large"
    /// The file could not be opened.
    case unreadable
}

/// A failure of reading an archive.
public typealias ArchiveFault = Fault<ArchiveFaultCode>
