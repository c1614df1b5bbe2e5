import CLinux
import FileIO
import Glibc
import SystemPackage

/// A regular file inside the served directory, opened so that no name and no symbolic link leads out of it.
struct ServedFile: ~Copyable {
    let file: OpenFile
    let size: Int64
    /// A strong validator (RFC 9110, section 8.8.3): other bytes always have another one.
    let entityTag: String
    /// Whether the name is made of the content's hash or has a version, so that the content never changes.
    let isImmutable: Bool
    let contentType: String

    /// Opens what the path of a request stands for below `root`, or nil where nothing is to be shown.
    init?(requestPath: String, root: FilePath) {
        guard let path = requestPath.prefix(while: { $0 != "?" }).removingPercentEncoding(), path.utf8.first == 0x2F,
            !path.utf8.contains(0)
        else { return nil }
        let components = path.split(separator: "/", omittingEmptySubsequences: true)
        // Hidden files are locks and what is being written; `.` and `..` begin with a dot too.
        guard let name = components.last, components.allSatisfy({ !$0.hasPrefix(".") }) else { return nil }
        guard let directory = try? OpenFile(root, .readOnly, options: [.directory]) else { return nil }
        let descriptor = ballast_open_in_root(
            directory.descriptor.rawValue, components.joined(separator: "/"), O_RDONLY | O_CLOEXEC | O_NONBLOCK, 0)
        guard descriptor >= 0 else { return nil }
        let file = OpenFile(
            owning: FileDescriptor(rawValue: descriptor), path: root.appending(String(path.dropFirst())))
        guard let status = try? file.status(), status.kind == .regular else { return nil }
        size = status.size
        let hash = name.prefix { $0 != "." }
        let isHash = hash.utf8.count == 64 && hash.allSatisfy { $0.isHexDigit }
        // Metadata with its version in its name never changes either.
        let isNumbered = !hash.isEmpty && hash.utf8.allSatisfy { 0x30...0x39 ~= $0 } && name.hasSuffix(".json")
        isImmutable = isHash || isNumbered
        // Files appear by rename: a new one has another inode, also within the same second.
        let version = [status.size, status.modified, Int64(bitPattern: status.inode)].map { String($0, radix: 16) }
        entityTag = isHash ? "\"\(hash)\"" : "\"\(version.joined(separator: "-"))\""
        contentType = name.hasSuffix(".json") ? "application/json" : "application/octet-stream"
        self.file = file
    }

    /// How long others may keep it (RFC 9111, RFC 8246). What has a fixed name is asked for again each time.
    var cacheControl: String { isImmutable ? "public, max-age=31536000, immutable" : "no-cache" }

    /// Whether a header with one or more tags names this file's content.
    func matches(_ header: String, isStrong: Bool) -> Bool {
        if header == "*" { return !isStrong }
        return header.split(separator: ",").contains { tag in
            let tag = tag.drop { $0 == " " }.prefix { $0 != " " }
            return tag == entityTag || (!isStrong && tag == "W/\(entityTag)")
        }
    }
}

extension Substring {
    /// The text with each `%2F` and its like taken for what it stands for, or nil where it is not UTF-8 or breaks off.
    func removingPercentEncoding() -> String? {
        var bytes: [UInt8] = []
        var rest = utf8[...]
        while let byte = rest.popFirst() {
            guard byte == UInt8(ascii: "%") else {
                bytes.append(byte)
                continue
            }
            guard let high = rest.popFirst().flatMap({ Character(Unicode.Scalar($0)).hexDigitValue }),
                let low = rest.popFirst().flatMap({ Character(Unicode.Scalar($0)).hexDigitValue })
            else { return nil }
            bytes.append(UInt8(high << 4 | low))
        }
        return String(validating: bytes, as: UTF8.self)
    }
}
