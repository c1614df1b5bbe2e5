/// The data of a directory: blocks of entries sorted by name, each block complete in itself.
///
///     block:  entries of 12 bytes (u64 inode number, u16 offset of the name in the block, u8 type, u8 0), then the names
///
/// The first entry's name offset divided by 12 is the number of entries in the block. A name ends where the next begins;
/// the last one ends with the block's data or at a NUL.
struct DirectoryData {
    struct Entry {
        let name: [UInt8]
        let inode: Int
        let type: UInt8
    }

    /// The entries of each block.
    private let blocks: [ArraySlice<Entry>]
    /// The size as `stat(2)` shows it: whole blocks but for the last.
    let size: Int

    init(_ entries: [Entry]) {
        let sorted = entries.sorted { $0.name.lexicographicallyPrecedes($1.name) }
        var blocks: [ArraySlice<Entry>] = []
        var start = 0
        var used = 0
        for (index, entry) in sorted.enumerated() {
            let length = OnDisk.direntSize + entry.name.count
            if used + length > OnDisk.blockSize {
                blocks.append(sorted[start..<index])
                start = index
                used = 0
            }
            used += length
        }
        blocks.append(sorted[start...])
        self.blocks = blocks
        size = (blocks.count - 1) * OnDisk.blockSize + used
    }

    /// The bytes, once every inode has its number.
    func encode(number: (Int) -> UInt64) -> [UInt8] {
        var data: [UInt8] = []
        for (position, block) in blocks.enumerated() {
            var nameOffset = block.count * OnDisk.direntSize
            var names: [UInt8] = []
            for entry in block {
                var record = [UInt8](repeating: 0, count: OnDisk.direntSize)
                record.put(number(entry.inode), at: 0)
                record.put(UInt16(nameOffset), at: 8)
                record[10] = entry.type
                data += record
                names += entry.name
                nameOffset += entry.name.count
            }
            data += names
            if position < blocks.count - 1 {
                data += [UInt8](repeating: 0, count: OnDisk.blockSize - nameOffset)
            }
        }
        return data
    }
}
