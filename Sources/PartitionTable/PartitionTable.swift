import CFdisk
public import Fault
import Glibc
public import SystemPackage

/// The GPT of a disk or of a disk image, by libfdisk.
///
/// Both tables, the one at the front and the one at the end, are written by every change, one after the other is on the medium, so that
/// one is whole at any time (UEFI 2.10, section 5.3.2).
public struct PartitionTable: ~Copyable {
    private let context: OpaquePointer
    private let path: FilePath

    private init(context: OpaquePointer, path: FilePath) {
        self.context = context
        self.path = path
    }

    /// Opens the GPT of `path`.
    ///
    /// - Throws: `invalid` when there is none; `inputOutput` when the disk cannot be opened.
    public static func open(_ path: FilePath, writable: Bool = false) throws(PartitionTableFault) -> PartitionTable {
        let table = try assign(path, writable: writable, sectorSize: nil)
        guard fdisk_is_labeltype(table.context, FDISK_DISKLABEL_GPT) == 1 else {
            throw PartitionTableFault(.invalid, "the disk has no GPT", at: .path(path.string))
        }
        return table
    }

    private static func assign(
        _ path: FilePath, writable: Bool, sectorSize: Int?
    ) throws(PartitionTableFault) -> PartitionTable {
        guard let context = fdisk_new_context() else {
            throw PartitionTableFault(.inputOutput, "libfdisk has no memory left", at: .path(path.string))
        }
        let table = PartitionTable(context: context, path: path)
        // No questions: nobody is there to answer them.
        fdisk_disable_dialogs(context, 1)
        if let sectorSize { fdisk_save_user_sector_size(context, UInt32(sectorSize), UInt32(sectorSize)) }
        try table.check(fdisk_assign_device(context, path.string, writable ? 0 : 1), "cannot open the disk")
        return table
    }

    deinit { fdisk_unref_context(context) }

    /// The size of a logical sector in bytes.
    public var sectorSize: Int { Int(fdisk_get_sector_size(context)) }

    /// The disk's GUID in upper case.
    public borrowing func diskIdentifier() throws(PartitionTableFault) -> String {
        var text: UnsafeMutablePointer<CChar>?
        try check(fdisk_get_disklabel_id(context, &text), "cannot read the disk's GUID")
        defer { free(text) }
        return text.map { String(cString: $0).uppercased() } ?? ""
    }

    /// The partitions by their position on the table, which counts from 0.
    public borrowing func partitions() throws(PartitionTableFault) -> [Int: Partition] {
        var table: OpaquePointer?
        try check(fdisk_get_partitions(context, &table), "cannot read the partitions")
        defer { fdisk_unref_table(table) }
        var partitions: [Int: Partition] = [:]
        let sector = Int64(sectorSize)
        for index in 0..<fdisk_table_get_nents(table) {
            guard let entry = fdisk_table_get_partition(table, index) else { continue }
            func text(_ pointer: UnsafePointer<CChar>?) -> String { pointer.map { String(cString: $0) } ?? "" }
            partitions[Int(fdisk_partition_get_partno(entry))] = Partition(
                type: text(fdisk_partition_get_type(entry).flatMap { fdisk_parttype_get_string($0) }),
                uuid: text(fdisk_partition_get_uuid(entry)), label: text(fdisk_partition_get_name(entry)),
                offset: Int64(fdisk_partition_get_start(entry)) * sector,
                size: Int64(fdisk_partition_get_size(entry)) * sector)
        }
        return partitions
    }

    /// Gives the partition at `number` another label and GUID. Nothing is on the disk before `write`.
    public borrowing func setIdentity(ofPartition number: Int, label: String, uuid: String) throws(PartitionTableFault)
    {
        guard let partition = fdisk_new_partition() else {
            throw PartitionTableFault(.inputOutput, "libfdisk has no memory left", at: .path(path.string))
        }
        defer { fdisk_unref_partition(partition) }
        try check(fdisk_partition_set_name(partition, label), "cannot set the label '\(label)'")
        try check(fdisk_partition_set_uuid(partition, uuid), "cannot set the partition's GUID \(uuid)")
        try check(
            fdisk_set_partition(context, number, partition), "cannot change partition \(number + 1) to '\(label)'")
    }

    /// Writes both tables and returns when they are on the medium.
    public borrowing func write() throws(PartitionTableFault) {
        let disk = fdisk_get_devfd(context)
        let rehearsal = try TableRehearsal(disk: disk, size: diskSize, sectorSize: sectorSize, path: path)
        // libfdisk has no way to flush between the two: it writes into a file that stands for the disk.
        try rehearsal.standIn(for: disk) { () throws(PartitionTableFault) in try writeWithoutFlush() }
        try rehearsal.carryOut(on: disk)
    }

    private var diskSize: Int64 { Int64(fdisk_get_nsectors(context)) * Int64(sectorSize) }

    private borrowing func writeWithoutFlush() throws(PartitionTableFault) {
        try check(fdisk_write_disklabel(context), "cannot write the partition table")
    }

    /// Writes a new GPT to the disk image at `path`, which must have its final size. Nothing is flushed.
    ///
    /// - Parameters:
    ///   - identifier: the disk's GUID.
    ///   - sectorSize: 512 or 4096 bytes.
    public static func create(
        on path: FilePath, identifier: String, sectorSize: Int, partitions: [Partition]
    ) throws(PartitionTableFault) {
        let table = try assign(path, writable: true, sectorSize: sectorSize)
        try table.check(fdisk_create_disklabel(table.context, "gpt"), "cannot make a GPT")
        try table.check(
            fdisk_set_disklabel_id_from_string(table.context, identifier), "cannot set the disk's GUID \(identifier)")
        for (number, partition) in partitions.enumerated() { try table.add(partition, number: number) }
        try table.writeWithoutFlush()
    }

    private borrowing func add(_ partition: Partition, number: Int) throws(PartitionTableFault) {
        guard let entry = fdisk_new_partition() else {
            throw PartitionTableFault(.inputOutput, "libfdisk has no memory left", at: .path(path.string))
        }
        defer { fdisk_unref_partition(entry) }
        let sector = Int64(sectorSize)
        guard let type = fdisk_label_get_parttype_from_string(fdisk_get_label(context, "gpt"), partition.type) else {
            throw PartitionTableFault(
                .invalid, "libfdisk does not know the type \(partition.type)", at: .path(path.string))
        }
        let what = "cannot add the partition '\(partition.label)'"
        try check(fdisk_partition_set_partno(entry, number), what)
        try check(fdisk_partition_set_type(entry, type), what)
        try check(fdisk_partition_set_uuid(entry, partition.uuid), what)
        try check(fdisk_partition_set_name(entry, partition.label), what)
        try check(fdisk_partition_size_explicit(entry, 1), what)
        try check(fdisk_partition_set_start(entry, UInt64(partition.offset / sector)), what)
        try check(fdisk_partition_set_size(entry, UInt64(partition.size / sector)), what)
        try check(fdisk_add_partition(context, entry, nil), what)
    }

    private borrowing func check(_ status: CInt, _ what: String) throws(PartitionTableFault) {
        guard status < 0 else { return }
        throw PartitionTableFault(
            status == -ERANGE || status == -ENOSPC ? .tooLarge : .inputOutput, what, at: .path(path.string),
            cause: Errno(rawValue: -status))
    }
}
