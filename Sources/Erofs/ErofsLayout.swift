public import Fault
public import FileTree

/// Where everything of an image stands, settled before a byte is written. Making it reads no file content.
public struct ErofsLayout: Sendable {
    /// One run of a file's content in the image.
    public struct Extent: Sendable, Hashable {
        /// The file's first name.
        public let path: String
        /// Where in the file the run begins.
        public let fileOffset: Int64
        /// Where in the image it begins.
        public let imageOffset: Int64
        /// Its length in bytes.
        public let length: Int64
    }

    /// The runs of all regular files in the order of the image: whole blocks first in the data area's order, then the tails
    /// that stand beside their inodes.
    public let extents: [Extent]
    /// The size of the image in bytes, whole blocks.
    public var imageSize: Int64 { Int64(blockCount) * Int64(OnDisk.blockSize) }
    /// The number of inodes.
    public var inodeCount: Int { records.count }

    let records: [Record]
    let metadataBlockCount: Int
    let blockCount: Int
    let buildTime: Int64

    /// One inode on its way into the image.
    struct Record: Sendable {
        var id: FileTree.InodeID
        var path: String
        var inode: FileInode
        var links: Int
        var attributes: [UInt8]
        var isCompact: Bool
        var directory: DirectoryData?
        var size: Int64
        /// Offset of the inode in the metadata area.
        var metadataOffset = 0
        /// Bytes of data that stand behind the inode instead of in a block.
        var inlineSize = 0
        var firstBlock: UInt32 = OnDisk.noBlock

        var headSize: Int {
            (isCompact ? OnDisk.compactInodeSize : OnDisk.extendedInodeSize) + attributes.count
        }
        /// Whole blocks in the data area.
        var dataBlockCount: Int64 {
            (size - Int64(inlineSize) + Int64(OnDisk.blockSize) - 1) / Int64(OnDisk.blockSize)
        }
        var number: UInt64 { UInt64(metadataOffset / OnDisk.slotSize) }
    }

    /// Lays out `tree`.
    ///
    /// - Parameter buildTime: seconds since 1970. Inodes modified at just this time need no time of their own.
    public init(_ tree: FileTree, buildTime: Int64) throws(ErofsFault) {
        var records = try Self.records(of: tree, buildTime: buildTime)
        var packer = MetadataPacker()
        for index in records.indices {
            let record = records[index]
            let tail = Int(record.size % Int64(OnDisk.blockSize))
            let hasData = record.inode.hasData
            if hasData, tail > 0, record.headSize + tail <= OnDisk.blockSize { records[index].inlineSize = tail }
            records[index].metadataOffset = packer.place(record.headSize + records[index].inlineSize)
        }
        guard records.first?.metadataOffset == 0 else {
            throw ErofsFault(.unrepresentable, "the root directory is not the first inode", at: .path("/"))
        }
        let metadataBlocks = packer.blockCount
        var next = Int64(1 + metadataBlocks)
        var extents: [Extent] = []
        for index in records.indices where records[index].inode.hasData && records[index].dataBlockCount > 0 {
            guard let first = UInt32(exactly: next), first != OnDisk.noBlock else {
                throw ErofsFault(.unrepresentable, "the image is larger than 16 TiB", at: .path(records[index].path))
            }
            records[index].firstBlock = first
            if case .regular = records[index].inode.kind {
                extents.append(
                    Extent(
                        path: records[index].path, fileOffset: 0, imageOffset: next * Int64(OnDisk.blockSize),
                        length: records[index].size - Int64(records[index].inlineSize)))
            }
            next += records[index].dataBlockCount
        }
        for record in records where record.inlineSize > 0 {
            guard case .regular = record.inode.kind else { continue }
            extents.append(
                Extent(
                    path: record.path, fileOffset: record.size - Int64(record.inlineSize),
                    imageOffset: Int64(OnDisk.blockSize + record.metadataOffset + record.headSize),
                    length: Int64(record.inlineSize)))
        }
        guard let blockCount = UInt32(exactly: next) else {
            throw ErofsFault(.unrepresentable, "the image is larger than 16 TiB")
        }
        self.records = records
        self.extents = extents
        self.metadataBlockCount = metadataBlocks
        self.blockCount = Int(blockCount)
        self.buildTime = buildTime
    }

    /// One record an inode, the root's first, in the order of their first names.
    private static func records(of tree: FileTree, buildTime: Int64) throws(ErofsFault) -> [Record] {
        var records: [Record] = []
        var positions: [FileTree.InodeID: Int] = [:]
        var children: [Int: [DirectoryData.Entry]] = [:]
        var parents: [String: Int] = [:]
        for path in tree.sortedPaths() {
            guard let id = tree.identity(of: path) else { continue }
            let inode = tree[id]
            let position: Int
            if let known = positions[id] {
                position = known
                records[known].links += 1
            } else {
                position = records.count
                positions[id] = position
                records.append(
                    Record(
                        id: id, path: path, inode: inode, links: 1,
                        attributes: try ExtendedAttributeBody.encode(inode.extendedAttributes, path: path),
                        isCompact: false, size: inode.dataSize))
            }
            let slash = path.lastIndex(of: "/")
            let parentPath = slash.map { String(path[..<$0]) } ?? ""
            let name = Array(path[(slash.map { path.index(after: $0) } ?? path.startIndex)...].utf8)
            let parent = path.isEmpty ? position : parents[parentPath] ?? 0
            if case .directory = inode.kind {
                parents[path] = position
                children[position] = [
                    .init(name: Array(".".utf8), inode: position, type: 2),
                    .init(name: Array("..".utf8), inode: parent, type: 2),
                ]
                records[position].links = 2
                if !path.isEmpty { records[parent].links += 1 }
            }
            if !path.isEmpty {
                children[parent, default: []].append(.init(name: name, inode: position, type: inode.direntType))
            }
        }
        for index in records.indices {
            if let entries = children[index] {
                let data = DirectoryData(entries)
                records[index].directory = data
                records[index].size = Int64(data.size)
            }
            records[index].isCompact = fitsCompact(records[index], buildTime: buildTime)
        }
        return records
    }

    private static func fitsCompact(_ record: Record, buildTime: Int64) -> Bool {
        record.inode.modified == buildTime && record.size <= Int64(UInt32.max) && record.links <= Int(UInt16.max)
            && record.inode.owner <= UInt32(UInt16.max) && record.inode.group <= UInt32(UInt16.max)
    }
}

extension FileInode {
    /// Whether the inode has data in the image at all; a device has a number instead.
    var hasData: Bool {
        switch kind {
        case .directory, .regular, .symbolicLink: true
        case .characterDevice, .blockDevice, .fifo: false
        }
    }

    /// The length of the data but for directories, whose data the writer makes.
    var dataSize: Int64 {
        switch kind {
        case .regular(let content): content.size
        case .symbolicLink(let target): Int64(target.utf8.count)
        case .directory, .characterDevice, .blockDevice, .fifo: 0
        }
    }

    /// The type in a directory entry, as in `d_type` of the kernel's fs_types.h.
    var direntType: UInt8 {
        switch kind {
        case .regular: 1
        case .directory: 2
        case .characterDevice: 3
        case .blockDevice: 4
        case .fifo: 5
        case .symbolicLink: 7
        }
    }

    /// The device number as the kernel's new_encode_dev() packs it.
    var encodedDevice: UInt32? {
        switch kind {
        case .characterDevice(let major, let minor), .blockDevice(let major, let minor):
            minor & 0xFF | major << 8 | (minor & ~0xFF) << 12
        case .directory, .regular, .symbolicLink, .fifo: nil
        }
    }
}
