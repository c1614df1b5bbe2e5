public import Fault

/// Why a tree cannot be written as EROFS.
public enum ErofsFaultCode: String, FaultCode {
    /// Something does not fit the format: a value too large for its field.
    case unrepresentable
    /// The content of a file could not be read, or is not as long as the tree says.
    case unreadable
    /// The image could not be written.
    case unwritable
}

/// A failure of writing an EROFS image.
public typealias ErofsFault = Fault<ErofsFaultCode>
