public import FileIO
public import SystemPackage

/// One file of an image, whatever its names: what `stat(2)` and `listxattr(2)` will say of it, and its content.
public struct FileInode: Sendable, Hashable {
    /// What kind of file it is, with what only that kind has.
    public enum Kind: Sendable, Hashable {
        case directory
        case regular(Content)
        /// A symbolic link to `target`, byte for byte.
        case symbolicLink(target: String)
        case characterDevice(major: UInt32, minor: UInt32)
        case blockDevice(major: UInt32, minor: UInt32)
        case fifo
    }

    /// The bytes of a regular file: at hand, or still in a file of the build machine.
    public enum Content: Sendable, Hashable {
        case bytes([UInt8])
        case file(FilePath, size: Int64)

        /// The length in bytes.
        public var size: Int64 {
            switch self {
            case .bytes(let bytes): Int64(bytes.count)
            case .file(_, let size): size
            }
        }

        /// All of the bytes.
        public func load() throws(FileIOFault) -> [UInt8] {
            switch self {
            case .bytes(let bytes): return bytes
            case .file(let path, let size): return try path.contents(limit: Int(size))
            }
        }

        /// The bytes from `offset` on, at most `count` of them.
        public func load(from offset: Int64, count: Int) throws(FileIOFault) -> [UInt8] {
            let count = min(count, Int(size - offset))
            switch self {
            case .bytes(let bytes): return Array(bytes[Int(offset)..<Int(offset) + count])
            case .file(let path, _): return try OpenFile(reading: path).bytes(at: offset, count: count)
            }
        }

        /// Whether both have the same bytes. Of neither more than a mebibyte is in memory.
        public func isSame(as other: Content) throws(FileIOFault) -> Bool {
            guard size == other.size else { return false }
            for offset in stride(from: 0, to: size, by: 1 << 20) {
                let piece = try load(from: offset, count: 1 << 20)
                if try other.load(from: offset, count: 1 << 20) != piece { return false }
            }
            return true
        }
    }

    /// The kind and the content.
    public var kind: Kind
    /// Permission bits with set-user-ID, set-group-ID and sticky: the low 12 bits of the mode.
    public var permissions: UInt16
    /// The numeric owner.
    public var owner: UInt32
    /// The numeric group.
    public var group: UInt32
    /// The modification time in whole seconds since 1970.
    public var modified: Int64
    /// Extended attributes by full name, such as `security.capability`.
    public var extendedAttributes: [String: [UInt8]]

    /// A file owned by root unless said otherwise.
    public init(
        _ kind: Kind, permissions: UInt16, owner: UInt32 = 0, group: UInt32 = 0, modified: Int64 = 0,
        extendedAttributes: [String: [UInt8]] = [:]
    ) {
        self.kind = kind
        self.permissions = permissions
        self.owner = owner
        self.group = group
        self.modified = modified
        self.extendedAttributes = extendedAttributes
    }

    /// The file type bits of `st_mode`.
    public var typeBits: UInt16 {
        switch kind {
        case .fifo: 0o010000
        case .characterDevice: 0o020000
        case .directory: 0o040000
        case .blockDevice: 0o060000
        case .regular: 0o100000
        case .symbolicLink: 0o120000
        }
    }
}
