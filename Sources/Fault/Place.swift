/// Where a failure was found, written the way editors and terminals turn into a link.
public enum Place: Sendable, Hashable, CustomStringConvertible {
    /// A file or directory as a whole.
    case path(String)
    /// A position in a text file; both numbers count from 1.
    case position(path: String, line: Int, column: Int)
    /// A byte offset in a binary file or device.
    case offset(path: String, UInt64)
    /// An address something was fetched from.
    case url(String)
    /// Anything else that has a name, such as a package or a TUF role.
    case named(String)

    /// `PATH:LINE:COLUMN` and the like, as compilers write it.
    public var description: String {
        switch self {
        case .path(let path): path
        case .position(let path, let line, let column): "\(path):\(line):\(column)"
        case .offset(let path, let offset): "\(path) at byte \(offset)"
        case .url(let address): address
        case .named(let name): name
        }
    }
}
