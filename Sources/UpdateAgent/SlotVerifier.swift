import BlockDevice
import Cryptography
import Fault
import Release
import Verity

/// Reads a slot back from the medium and compares it with what a release signs.
struct SlotVerifier {
    private static let chunk = 1 << 20

    let release: ReleaseDocument

    /// The hash tree of what is in `root` now.
    ///
    /// - Throws: `mismatch` where its root hash is not the release's.
    func tree(of root: any BlockStorage, onBytes: (Int64) -> Void = { _ in }) throws(UpdateAgentFault) -> VerityTree {
        let parameters = try Self.parameters(release)
        let size = release.image.size
        guard size <= root.size else {
            throw UpdateAgentFault(.noSpace, "the image has \(size) bytes and its slot \(root.size)")
        }
        try UpdateAgentFault.storing { () throws(BlockDeviceFault) in try root.dropCache() }
        let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: Self.chunk, alignment: 4096)
        defer { buffer.deallocate() }
        var hasher = VerityHasher(parameters, expecting: Int(release.verity.dataBlockCount))
        var offset: Int64 = 0
        while offset < size {
            // The release's size is a multiple of the block size, so this is one too.
            let count = Int(min(Int64(Self.chunk), size - offset))
            let piece = UnsafeMutableRawBufferPointer(rebasing: buffer[..<count])
            try UpdateAgentFault.storing { () throws(BlockDeviceFault) in try root.read(into: piece, at: offset) }
            hasher.update(UnsafeRawBufferPointer(piece))
            offset += Int64(count)
            onBytes(Int64(count))
        }
        let tree = hasher.finish()
        guard tree.rootHash == release.verity.rootHash else {
            throw UpdateAgentFault(
                .mismatch,
                "the slot's root hash is \(tree.rootHash) where the release signs \(release.verity.rootHash)",
                remedy: "check the disk; try again")
        }
        guard Int64(tree.hashDeviceSize) == release.verity.hashSize else {
            throw UpdateAgentFault(
                .mismatch,
                "the hash tree has \(tree.hashDeviceSize) bytes where the release names \(release.verity.hashSize)")
        }
        return tree
    }

    private static func parameters(_ release: ReleaseDocument) throws(UpdateAgentFault) -> Verity.VerityParameters {
        do throws(VerityFault) {
            return try Verity.VerityParameters(
                salt: release.verity.salt, uuid: [UInt8](hexadecimal: release.verity.uuid.filter { $0 != "-" }) ?? [])
        } catch {
            throw UpdateAgentFault(.untrusted, "the release's verity parameters cannot be used", cause: error)
        }
    }

    /// Writes `tree` to `storage` and returns when it is on the medium.
    func write(_ tree: VerityTree, to storage: any BlockStorage) throws(UpdateAgentFault) {
        var offset: Int64 = 0
        try tree.forEachPiece { piece throws(UpdateAgentFault) in
            let place = offset
            // A level of a large image has megabytes: in parts, as a disk likes them.
            var done = 0
            while done < piece.count {
                let end = min(done + Self.chunk, piece.count)
                let part = piece[done..<end]
                try UpdateAgentFault.storing { () throws(BlockDeviceFault) in
                    try Self.withBytes(of: part) { bytes throws(BlockDeviceFault) in
                        try storage.write(bytes, at: place + Int64(done))
                    }
                }
                done = end
            }
            offset += Int64(piece.count)
        }
        try UpdateAgentFault.storing { () throws(BlockDeviceFault) in try storage.flush() }
    }

    private static func withBytes(
        of bytes: ArraySlice<UInt8>, _ body: (UnsafeRawBufferPointer) throws(BlockDeviceFault) -> Void
    ) throws(BlockDeviceFault) {
        let result = bytes.withUnsafeBytes { buffer in Result { () throws(BlockDeviceFault) in try body(buffer) } }
        try result.get()
    }

    /// Whether `storage` has exactly `tree`, read from the medium.
    func holds(_ tree: VerityTree, on storage: any BlockStorage) throws(UpdateAgentFault) -> Bool {
        try UpdateAgentFault.storing { () throws(BlockDeviceFault) in try storage.dropCache() }
        let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: Self.chunk, alignment: 4096)
        defer { buffer.deallocate() }
        var offset: Int64 = 0
        var isSame = Int64(tree.hashDeviceSize) <= storage.size
        try tree.forEachPiece { piece throws(UpdateAgentFault) in
            var done = 0
            while isSame, done < piece.count {
                let count = min(Self.chunk, piece.count - done)
                let part = UnsafeMutableRawBufferPointer(rebasing: buffer[..<count])
                let place = offset + Int64(done)
                try UpdateAgentFault.storing { () throws(BlockDeviceFault) in try storage.read(into: part, at: place) }
                isSame = part.elementsEqual(piece[done..<done + count])
                done += count
            }
            offset += Int64(piece.count)
        }
        return isSame
    }
}
