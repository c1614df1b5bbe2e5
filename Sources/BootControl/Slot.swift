public import BlockDevice
public import Fault

/// One of the places for a version: a root partition and the partition of its hash tree.
public struct Slot: Sendable, Hashable {
    /// The label of a slot that holds nothing.
    public static let emptyLabel = "_empty"

    /// The position on the disk: 0 is `a`.
    public var index: Int
    /// `PRODUCT_VERSION`, or `_empty`.
    public var label: String
    /// The size of the root partition in bytes.
    public var rootSize: Int64
    /// The size of the hash tree's partition in bytes.
    public var veritySize: Int64
    /// The root partition's GUID in upper case.
    public var rootUUID: String
    /// The hash tree's partition's GUID in upper case.
    public var verityUUID: String
    /// Whether the host runs from it.
    public var isRunning: Bool

    /// A slot as it is on the disk.
    public init(
        index: Int, label: String, rootSize: Int64, veritySize: Int64, rootUUID: String, verityUUID: String,
        isRunning: Bool
    ) {
        self.index = index
        self.label = label
        self.rootSize = rootSize
        self.veritySize = veritySize
        self.rootUUID = rootUUID
        self.verityUUID = verityUUID
        self.isRunning = isRunning
    }

    /// `a`, `b` and so on.
    public var name: String {
        String(Unicode.Scalar(UInt8(ascii: "a") + UInt8(clamping: min(max(index, 0), 25))))
    }

    /// The version of `product` in it, by its label, or nil.
    public func version(of product: String) -> String? {
        let prefix = product + "_"
        guard label.hasPrefix(prefix), label.utf8.count > prefix.utf8.count else { return nil }
        return String(label.dropFirst(prefix.count))
    }
}

/// The slots of the host's disk.
public protocol SlotStore: Sendable {
    /// All slots in their order.
    func slots() throws(BootControlFault) -> [Slot]

    /// The root partition of a slot.
    ///
    /// - Throws: `notOurs` when `writable` is asked for of the slot that runs.
    func root(of slot: Slot, writable: Bool) throws(BootControlFault) -> any BlockStorage

    /// The hash tree's partition of a slot.
    ///
    /// - Throws: `notOurs` when `writable` is asked for of the slot that runs.
    func verity(of slot: Slot, writable: Bool) throws(BootControlFault) -> any BlockStorage

    /// Gives both partitions of a slot `label`, and GUIDs where they are given, in one change of the table, and returns
    /// when it is on the medium.
    ///
    /// - Throws: `notOurs` when the slot runs.
    func setIdentity(
        of slot: Slot, label: String, uuids: (root: String, verity: String)?
    ) throws(BootControlFault)
}
