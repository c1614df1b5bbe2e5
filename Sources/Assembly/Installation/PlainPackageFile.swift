import Archive
import DebianArchive
import Fault
import FileIO
import SystemPackage

/// Writes a package file again with its data archive decompressed: dpkg has one processor busy with a package at a time, and
/// this is done beside it.
enum PlainPackageFile {
    /// The header of a member of an ar archive (ar(5)).
    ///
    /// | offset | bytes | field |
    /// |---:|---:|---|
    /// | 0 | 16 | name |
    /// | 16 | 12 | time |
    /// | 28 | 6 | owner |
    /// | 34 | 6 | group |
    /// | 40 | 8 | mode, octal |
    /// | 48 | 10 | size, decimal |
    /// | 58 | 2 | a backquote and a newline |
    private static func header(_ name: String, size: Int64) -> [UInt8] {
        func field(_ text: String, _ width: Int) -> String {
            text + String(repeating: " ", count: max(0, width - text.utf8.count))
        }
        return Array(
            (field(name, 16) + field("0", 12) + field("0", 6) + field("0", 6) + field("100644", 8)
                + field("\(size)", 10) + "`\n").utf8)
    }

    /// What ten digits hold.
    private static let sizeLimit: Int64 = 9_999_999_999

    /// Writes `package` to `path`.
    static func write(_ package: DebianPackageFile, to path: FilePath) throws {
        let file = try OpenFile(
            path, .writeOnly, options: [.create, .exclusiveCreate, .noFollow],
            permissions: FilePermissions(rawValue: 0o600))
        try file.append(Array("!<arch>\n".utf8))
        try append("debian-binary", Array("2.0\n".utf8), to: file)
        try append(package.controlArchive.name, package.controlArchive.bytes, to: file)
        let start = try file.status().size
        try file.append(header("data.tar", size: 0))
        var reader = try package.openPlainData()
        var size: Int64 = 0
        try reader.read(
            { (bytes) throws(any Error) in
                size += Int64(bytes.count)
                guard size <= sizeLimit else {
                    throw FileIOFault(
                        .tooLarge, "the package has more than \(sizeLimit) bytes of data",
                        at: .path(package.path.string))
                }
                try file.append(bytes)
            }, wrap: { $0 })
        // A tar archive has blocks of 512 bytes, so that nothing is needed to make its end even.
        try header("data.tar", size: size).withUnsafeBytes { try file.write($0, at: start) }
    }

    private static func append(_ name: String, _ bytes: [UInt8], to file: borrowing OpenFile) throws {
        try file.append(header(name, size: Int64(bytes.count)) + bytes + (bytes.count % 2 == 0 ? [] : [0x0A]))
    }
}
