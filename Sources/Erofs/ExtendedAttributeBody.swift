import Fault

/// The extended attributes that follow an inode: a 12-byte header, then the entries sorted by name, each padded to 4 bytes.
///
///     entry:  u8 length of the name's rest   u8 prefix   u16 length of the value   name's rest   value
enum ExtendedAttributeBody {
    private static let headerSize = 12
    private static let prefixes: [(text: String, index: UInt8)] = [
        ("system.posix_acl_access", 2), ("system.posix_acl_default", 3), ("user.", 1), ("trusted.", 4),
        ("security.", 6),
    ]

    /// The bytes for `attributes`: none for none.
    static func encode(_ attributes: [String: [UInt8]], path: String) throws(ErofsFault) -> [UInt8] {
        guard !attributes.isEmpty else { return [] }
        var body = [UInt8](repeating: 0, count: headerSize)
        for (name, value) in attributes.sorted(by: { $0.key.utf8.lexicographicallyPrecedes($1.key.utf8) }) {
            guard let prefix = prefixes.first(where: { name.hasPrefix($0.text) }) else {
                throw ErofsFault(
                    .unrepresentable, "EROFS has no place for the extended attribute '\(name)'", at: .path(path))
            }
            let rest = Array(name.utf8.dropFirst(prefix.text.utf8.count))
            guard let nameLength = UInt8(exactly: rest.count), let valueLength = UInt16(exactly: value.count) else {
                throw ErofsFault(
                    .unrepresentable, "the extended attribute '\(name)' is too long", at: .path(path))
            }
            body += [nameLength, prefix.index, UInt8(truncatingIfNeeded: valueLength), UInt8(valueLength >> 8)]
            body += rest + value
            body += [UInt8](repeating: 0, count: (4 - body.count % 4) % 4)
        }
        guard body.count <= OnDisk.blockSize - OnDisk.extendedInodeSize else {
            throw ErofsFault(
                .unrepresentable, "\(body.count) bytes of extended attributes do not fit beside the inode",
                at: .path(path),
                remedy: "remove some of the file's extended attributes")
        }
        return body
    }
}
