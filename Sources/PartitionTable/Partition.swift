/// One partition of a GPT disk.
public struct Partition: Sendable, Hashable {
    /// The type's GUID in upper case.
    public var type: String
    /// The partition's own GUID in upper case.
    public var uuid: String
    /// The label: at most 36 UTF-16 units.
    public var label: String
    /// The first byte on the disk.
    public var offset: Int64
    /// The length in bytes.
    public var size: Int64

    /// A partition as it is to be written.
    public init(type: PartitionType, uuid: String, label: String, offset: Int64, size: Int64) {
        self.init(type: type.rawValue, uuid: uuid, label: label, offset: offset, size: size)
    }

    init(type: String, uuid: String, label: String, offset: Int64, size: Int64) {
        self.type = type.uppercased()
        self.uuid = uuid.uppercased()
        self.label = label
        self.offset = offset
        self.size = size
    }
}
