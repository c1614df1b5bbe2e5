/// Gives every inode with what follows it a place in the metadata area, so that no inline data crosses a block.
///
/// Best fit over the blocks that still have room: of the places that fit, the one that leaves the least. The same sizes in
/// the same order always give the same places.
struct MetadataPacker {
    /// For each number of free slots, the blocks that have just so many, the lowest number last.
    private var blocksByFreeSlots: [[Int]] = Array(repeating: [], count: OnDisk.blockSize / OnDisk.slotSize + 1)
    private(set) var blockCount = 0

    /// Places `size` bytes, at most one block, and returns their offset in the metadata area.
    mutating func place(_ size: Int) -> Int {
        let slots = (size + OnDisk.slotSize - 1) / OnDisk.slotSize
        let total = OnDisk.blockSize / OnDisk.slotSize
        var block = blockCount
        var free = total
        if let fit = (slots..<total).first(where: { !blocksByFreeSlots[$0].isEmpty }),
            let open = blocksByFreeSlots[fit].popLast()
        {
            block = open
            free = fit
        } else {
            blockCount += 1
        }
        if free > slots { blocksByFreeSlots[free - slots].append(block) }
        return block * OnDisk.blockSize + (total - free) * OnDisk.slotSize
    }
}
