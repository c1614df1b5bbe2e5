public import Fault
import Glibc
public import SystemPackage

/// Why a file could not be read or written.
public enum FileIOFaultCode: String, FaultCode {
    case notFound = "not-found"
    case notPermitted = "not-permitted"
    case exists
    case noSpace = "no-space"
    case tooLarge = "too-large"
    case truncated
    case other
}

/// A failure of reading or writing files.
public typealias FileIOFault = Fault<FileIOFaultCode>

extension Fault where Code == FileIOFaultCode {
    /// The failure of a system call on `path`: the code and the remedy follow from `errno`.
    public init(_ errno: Errno, _ what: String, at path: FilePath) {
        let code: FileIOFaultCode
        var remedy: String?
        switch errno {
        case .noSuchFileOrDirectory: code = .notFound
        case .permissionDenied, .notPermitted: code = .notPermitted
        case .fileExists: code = .exists
        case .noSpace, Errno(rawValue: EDQUOT):
            code = .noSpace
            remedy = "free space on that file system and try again"
        default: code = .other
        }
        self.init(code, what, at: .path(path.string), remedy: remedy, cause: errno)
    }

    /// Whether the medium, or the file system on it, cannot give the file's bytes any more.
    public var isOfMedium: Bool {
        guard let errno = cause as? Errno else { return false }
        return [EIO, EUCLEAN, EBADMSG, ENODATA, EREMOTEIO].contains(errno.rawValue)
    }

    /// The failure that the last system call left in `errno`.
    public static func last(_ what: String, at path: FilePath) -> FileIOFault {
        FileIOFault(Errno(rawValue: Glibc.errno), what, at: path)
    }
}
