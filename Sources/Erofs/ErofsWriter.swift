public import Fault
import FileIO
import FileTree

/// Writes an EROFS image: uncompressed, blocks of 4 KiB, from front to back.
public struct ErofsWriter: Sendable {
    /// Where everything stands.
    public let layout: ErofsLayout
    /// The file system's UUID, 16 bytes.
    public let uuid: [UInt8]
    /// The volume name, at most 15 bytes of UTF-8.
    public let volumeName: String

    /// A writer of what `layout` describes.
    public init(_ layout: ErofsLayout, uuid: [UInt8], volumeName: String) throws(ErofsFault) {
        guard uuid.count == 16, volumeName.utf8.count < 16 else {
            throw ErofsFault(
                .unrepresentable, "a volume name has at most 15 bytes and a UUID has 16", at: .named(volumeName))
        }
        self.layout = layout
        self.uuid = uuid
        self.volumeName = volumeName
    }

    /// Gives the whole image to `sink`, in order and in pieces that are whole blocks.
    public func write(to sink: (UnsafeRawBufferPointer) throws(ErofsFault) -> Void) throws(ErofsFault) {
        try Self.give(superblock(), to: sink)
        try Self.give(metadata(), to: sink)
        let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 20, alignment: OnDisk.blockSize)
        defer { buffer.deallocate() }
        for record in layout.records where record.inode.hasData && record.dataBlockCount > 0 {
            switch record.inode.kind {
            case .regular(let content): try copy(content, of: record, through: buffer, to: sink)
            case .directory, .symbolicLink:
                let data = Array(try smallData(of: record).prefix(Int(record.size) - record.inlineSize))
                try Self.give(Self.padded(data), to: sink)
            case .characterDevice, .blockDevice, .fifo: break
            }
        }
    }

    private static func give(
        _ bytes: [UInt8], to sink: (UnsafeRawBufferPointer) throws(ErofsFault) -> Void
    ) throws(ErofsFault) {
        var failure: ErofsFault?
        bytes.withUnsafeBytes { buffer in
            do throws(ErofsFault) { try sink(buffer) } catch { failure = error }
        }
        if let failure { throw failure }
    }

    private static func padded(_ bytes: [UInt8]) -> [UInt8] {
        bytes + [UInt8](repeating: 0, count: (OnDisk.blockSize - bytes.count % OnDisk.blockSize) % OnDisk.blockSize)
    }

    private func superblock() -> [UInt8] {
        var block = [UInt8](repeating: 0, count: OnDisk.blockSize)
        let base = OnDisk.superblockOffset
        block.put(OnDisk.magic, at: base)
        block.put(OnDisk.compatibleChecksum | OnDisk.compatibleModificationTimes, at: base + 8)
        block[base + 12] = UInt8(OnDisk.blockSize.trailingZeroBitCount)
        block.put(UInt16(0), at: base + 14)
        block.put(UInt64(layout.records.count), at: base + 16)
        block.put(UInt64(bitPattern: layout.buildTime), at: base + 24)
        block.put(UInt32(truncatingIfNeeded: layout.blockCount), at: base + 36)
        block.put(UInt32(1), at: base + 40)
        block.put(uuid, at: base + 48)
        block.put(volumeName.utf8, at: base + 64)
        block.put(CRC32C.checksum(block[base...]), at: base + 4)
        return block
    }

    private func metadata() throws(ErofsFault) -> [UInt8] {
        var area = [UInt8](repeating: 0, count: layout.metadataBlockCount * OnDisk.blockSize)
        for (index, record) in layout.records.enumerated() {
            let base = record.metadataOffset
            let isInline = record.inlineSize > 0
            let format = (isInline ? OnDisk.layoutInline : OnDisk.layoutPlain) << 1 | (record.isCompact ? 0 : 1)
            let attributeCount = record.attributes.isEmpty ? 0 : (record.attributes.count - 12) / 4 + 1
            area.put(format, at: base)
            area.put(UInt16(attributeCount), at: base + 2)
            area.put(record.inode.typeBits | record.inode.permissions & 0o7777, at: base + 4)
            area.put(record.inode.encodedDevice ?? record.firstBlock, at: base + 16)
            area.put(UInt32(index + 1), at: base + 20)
            if record.isCompact {
                area.put(UInt16(record.links), at: base + 6)
                area.put(UInt32(record.size), at: base + 8)
                area.put(UInt16(record.inode.owner), at: base + 24)
                area.put(UInt16(record.inode.group), at: base + 26)
            } else {
                area.put(UInt64(record.size), at: base + 8)
                area.put(record.inode.owner, at: base + 24)
                area.put(record.inode.group, at: base + 28)
                area.put(UInt64(bitPattern: record.inode.modified), at: base + 32)
                area.put(UInt32(record.links), at: base + 44)
            }
            let attributesAt = base + record.headSize - record.attributes.count
            area.put(record.attributes, at: attributesAt)
            if isInline { area.put(try tail(of: record), at: base + record.headSize) }
        }
        return area
    }

    /// The data of a directory or a symbolic link.
    private func smallData(of record: ErofsLayout.Record) throws(ErofsFault) -> [UInt8] {
        if let directory = record.directory { return directory.encode { layout.records[$0].number } }
        if case .symbolicLink(let target) = record.inode.kind { return Array(target.utf8) }
        throw ErofsFault(.unrepresentable, "the file has no data", at: .path(record.path))
    }

    private func tail(of record: ErofsLayout.Record) throws(ErofsFault) -> [UInt8] {
        switch record.inode.kind {
        case .regular(.bytes(let bytes)): return bytes.suffix(record.inlineSize)
        case .regular(.file(let path, let size)):
            do throws(FileIOFault) {
                return try OpenFile(reading: path).bytes(at: size - Int64(record.inlineSize), count: record.inlineSize)
            } catch {
                throw Self.unreadable(record, error)
            }
        case .directory, .symbolicLink, .characterDevice, .blockDevice, .fifo:
            return try smallData(of: record).suffix(record.inlineSize)
        }
    }

    private static func unreadable(_ record: ErofsLayout.Record, _ cause: any Error) -> ErofsFault {
        ErofsFault(.unreadable, "cannot read the file's content", at: .path(record.path), cause: cause)
    }

    private func copy(
        _ content: FileInode.Content, of record: ErofsLayout.Record, through buffer: UnsafeMutableRawBufferPointer,
        to sink: (UnsafeRawBufferPointer) throws(ErofsFault) -> Void
    ) throws(ErofsFault) {
        let length = record.size - Int64(record.inlineSize)
        switch content {
        case .bytes(let bytes): try Self.give(Self.padded(Array(bytes.prefix(Int(length)))), to: sink)
        case .file(let path, _):
            let file: OpenFile
            do throws(FileIOFault) { file = try OpenFile(reading: path) } catch {
                throw Self.unreadable(record, error)
            }
            var offset: Int64 = 0
            while offset < length {
                let count = Int(min(Int64(buffer.count), length - offset))
                let whole = (count + OnDisk.blockSize - 1) / OnDisk.blockSize * OnDisk.blockSize
                do throws(FileIOFault) {
                    try file.read(into: UnsafeMutableRawBufferPointer(rebasing: buffer[..<count]), at: offset)
                } catch {
                    throw Self.unreadable(record, error)
                }
                for index in count..<whole { buffer[index] = 0 }
                try sink(UnsafeRawBufferPointer(rebasing: buffer[..<whole]))
                offset += Int64(count)
            }
        }
    }
}
