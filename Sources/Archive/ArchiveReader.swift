import CArchive
public import Fault
import FileIO
public import SystemPackage

/// Reads an archive from front to back by libarchive: the formats it is given, whatever compression is around them.
///
/// libarchive never touches the file system here: paths are text until the caller has checked them.
public struct ArchiveReader: ~Copyable {
    /// A format that a reader accepts.
    public enum Format: Sendable, Hashable {
        case ar, tar, cpio
        /// No archive at all: the (compressed) bytes are one member.
        case raw
    }

    private let handle: OpaquePointer
    private let name: String
    /// Keeps the bytes alive that libarchive reads from.
    private let bytes: UnsafeMutableRawBufferPointer?
    /// Keeps the part of a file alive that libarchive reads from.
    private var part: FilePart?

    private init(handle: OpaquePointer, name: String, bytes: UnsafeMutableRawBufferPointer?) {
        self.handle = handle
        self.name = name
        self.bytes = bytes
    }

    deinit {
        archive_read_free(handle)
        bytes?.deallocate()
    }

    /// A reader of the file at `path`.
    public static func open(_ path: FilePath, format: Format) throws(ArchiveFault) -> ArchiveReader {
        let reader = try make(format: format, name: path.string, bytes: nil)
        guard archive_read_open_filename(reader.handle, path.string, 1 << 17) == ARCHIVE_OK else {
            throw reader.fault(.unreadable, "cannot open the archive")
        }
        return reader
    }

    /// A reader of the bytes `range` of the file at `path`, such as an archive inside another one. Errors call it `name`.
    public static func open(
        _ path: FilePath, range: Range<Int64>, name: String, format: Format
    ) throws(ArchiveFault) -> ArchiveReader {
        var reader = try make(format: format, name: name, bytes: nil)
        let part: FilePart
        do throws(FileIOFault) { part = FilePart(try OpenFile(reading: path), range) } catch {
            throw ArchiveFault(.unreadable, "cannot open the archive", at: .path(path.string), cause: error)
        }
        reader.part = part
        // libarchive calls back with the part's address, which lives as long as the reader.
        let status = archive_read_open(
            reader.handle, Unmanaged.passUnretained(part).toOpaque(), nil,
            { handle, context, block in
                guard let context else { return -1 }
                return Unmanaged<FilePart>.fromOpaque(context).takeUnretainedValue().next(handle, block)
            }, nil)
        guard status == ARCHIVE_OK else { throw reader.fault(.malformed, "cannot read the archive") }
        return reader
    }

    /// A reader of `bytes`, called `name` in errors.
    public static func open(_ bytes: [UInt8], name: String, format: Format) throws(ArchiveFault) -> ArchiveReader {
        let copy = UnsafeMutableRawBufferPointer.allocate(byteCount: max(bytes.count, 1), alignment: 16)
        copy.copyBytes(from: bytes)
        let reader = try make(format: format, name: name, bytes: copy)
        guard archive_read_open_memory(reader.handle, copy.baseAddress, bytes.count) == ARCHIVE_OK else {
            throw reader.fault(.malformed, "cannot read the archive")
        }
        return reader
    }

    private static func make(
        format: Format, name: String, bytes: UnsafeMutableRawBufferPointer?
    ) throws(ArchiveFault) -> ArchiveReader {
        guard let handle = archive_read_new() else {
            bytes?.deallocate()
            throw ArchiveFault(.unreadable, "libarchive has no memory left", at: .path(name))
        }
        archive_read_support_filter_all(handle)
        switch format {
        case .ar: archive_read_support_format_ar(handle)
        case .tar: archive_read_support_format_tar(handle)
        case .cpio: archive_read_support_format_cpio(handle)
        case .raw:
            archive_read_support_format_raw(handle)
            // Nothing at all is no member, also within a compression.
            archive_read_support_format_empty(handle)
        }
        return ArchiveReader(handle: handle, name: name, bytes: bytes)
    }

    private borrowing func fault(_ code: ArchiveFaultCode, _ what: String) -> ArchiveFault {
        let detail = archive_error_string(handle).map { ": " + String(cString: $0) } ?? ""
        return ArchiveFault(code, what + detail, at: .path(name))
    }

    /// Where the current member's data begins in the file, for an ar archive without extended names.
    public var arDataOffset: Int64 { archive_read_header_position(handle) + 60 }

    /// Steps to the next member, or returns nil at the end of the archive.
    public mutating func next() throws(ArchiveFault) -> ArchiveMember? {
        var entry: OpaquePointer?
        let status = archive_read_next_header(handle, &entry)
        if status == ARCHIVE_EOF { return nil }
        // A warning says that libarchive could not represent something, such as a name: never let that pass.
        guard status == ARCHIVE_OK, let entry else { throw fault(.malformed, "not a valid archive") }
        guard let pathname = archive_entry_pathname(entry) else { throw fault(.malformed, "a member has no name") }
        let kind: ArchiveMember.Kind
        switch UInt32(archive_entry_filetype(entry)) {
        case 0o100000, 0: kind = .regular
        case 0o040000: kind = .directory
        case 0o120000: kind = .symbolicLink
        case 0o020000: kind = .characterDevice
        case 0o060000: kind = .blockDevice
        case 0o010000: kind = .fifo
        default: kind = .socket
        }
        guard let owner = UInt32(exactly: archive_entry_uid(entry)),
            let group = UInt32(exactly: archive_entry_gid(entry))
        else { throw fault(.malformed, "a member's owner is out of range") }
        return ArchiveMember(
            path: String(cString: pathname), kind: kind,
            hardLink: archive_entry_hardlink(entry).map { String(cString: $0) },
            symbolicLink: archive_entry_symlink(entry).map { String(cString: $0) },
            permissions: UInt16(archive_entry_mode(entry) & 0o7777), owner: owner, group: group,
            ownerName: archive_entry_uname(entry).map { String(cString: $0) } ?? "",
            groupName: archive_entry_gname(entry).map { String(cString: $0) } ?? "",
            size: archive_entry_size(entry), modified: Int64(archive_entry_mtime(entry)),
            device: (UInt32(archive_entry_rdevmajor(entry)), UInt32(archive_entry_rdevminor(entry))),
            extendedAttributes: Self.extendedAttributes(of: entry))
    }

    private static func extendedAttributes(of entry: OpaquePointer) -> [String: [UInt8]] {
        var attributes: [String: [UInt8]] = [:]
        archive_entry_xattr_reset(entry)
        var name: UnsafePointer<CChar>?
        var value: UnsafeRawPointer?
        var size = 0
        while archive_entry_xattr_next(entry, &name, &value, &size) == ARCHIVE_OK {
            guard let name else { continue }
            attributes[String(cString: name)] = Array(UnsafeRawBufferPointer(start: value, count: size))
        }
        return attributes
    }

    /// Gives the current member's data to `sink` in pieces.
    public mutating func read<E: Error>(
        _ sink: (UnsafeRawBufferPointer) throws(E) -> Void, wrap: (ArchiveFault) -> E
    ) throws(E) {
        var position: Int64 = 0
        while true {
            var block: UnsafeRawPointer?
            var size = 0
            var offset: Int64 = 0
            let status = archive_read_data_block(handle, &block, &size, &offset)
            if status == ARCHIVE_EOF { return }
            guard status == ARCHIVE_OK else { throw wrap(fault(.malformed, "a member's data is damaged")) }
            guard offset == position else { throw wrap(fault(.malformed, "a sparse member is not expected here")) }
            try sink(UnsafeRawBufferPointer(start: block, count: size))
            position += Int64(size)
        }
    }

    /// All of the current member's data.
    ///
    /// - Throws: `tooLarge` when there are more than `limit` bytes.
    public mutating func contents(limit: Int) throws(ArchiveFault) -> [UInt8] {
        var bytes: [UInt8] = []
        let name = name
        try read(
            { (block) throws(ArchiveFault) in
                guard bytes.count + block.count <= limit else {
                    throw ArchiveFault(.tooLarge, "a member has more than \(limit) bytes", at: .path(name))
                }
                bytes += block
            }, wrap: { $0 })
        return bytes
    }

    /// Decompresses `bytes`, whatever compression they have.
    public static func decompress(_ bytes: [UInt8], name: String, limit: Int) throws(ArchiveFault) -> [UInt8] {
        var reader = try open(bytes, name: name, format: .raw)
        guard try reader.next() != nil else { throw ArchiveFault(.malformed, "there is no data", at: .path(name)) }
        return try reader.contents(limit: limit)
    }
}

/// A part of a file, read from front to back.
private final class FilePart {
    private let file: OpenFile
    private var range: Range<Int64>
    private let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 17, alignment: 16)

    init(_ file: consuming OpenFile, _ range: Range<Int64>) {
        self.file = file
        self.range = range
    }

    deinit { buffer.deallocate() }

    /// libarchive's `archive_read_callback`: the next bytes, 0 at the end, or -1.
    func next(_ handle: OpaquePointer?, _ block: UnsafeMutablePointer<UnsafeRawPointer?>?) -> Int {
        let piece = UnsafeMutableRawBufferPointer(rebasing: buffer[..<min(buffer.count, range.count)])
        guard !piece.isEmpty else { return 0 }
        do throws(FileIOFault) { try file.read(into: piece, at: range.lowerBound) } catch { return -1 }
        range = range.lowerBound + Int64(piece.count)..<range.upperBound
        block?.pointee = UnsafeRawPointer(piece.baseAddress)
        return piece.count
    }
}
