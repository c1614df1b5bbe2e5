/// What an archive says of one member before its data.
public struct ArchiveMember: Sendable {
    /// What kind of file a member is.
    public enum Kind: Sendable, Hashable {
        case regular, directory, symbolicLink, characterDevice, blockDevice, fifo, socket
    }

    /// The path as the archive has it, not cleaned in any way.
    public let path: String
    /// The kind. A hard link has none of its own.
    public let kind: Kind
    /// Where a hard link leads, as the archive has it; nil for everything else.
    public let hardLink: String?
    /// Where a symbolic link leads; nil for everything else.
    public let symbolicLink: String?
    /// The low 12 bits of the mode.
    public let permissions: UInt16
    /// The numeric owner.
    public let owner: UInt32
    /// The numeric group.
    public let group: UInt32
    /// The owner's name; empty where the archive has none.
    public let ownerName: String
    /// The group's name; empty where the archive has none.
    public let groupName: String
    /// The size of the data in bytes.
    public let size: Int64
    /// Seconds since 1970.
    public let modified: Int64
    /// The device's numbers, for devices.
    public let device: (major: UInt32, minor: UInt32)
    /// Extended attributes by full name.
    public let extendedAttributes: [String: [UInt8]]
}
