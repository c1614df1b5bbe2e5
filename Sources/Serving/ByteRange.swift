/// What the `Range` header of a request asks for (RFC 9110, section 14).
package enum ByteRange: Equatable {
    /// Everything: there is no header, or one that a server may ignore.
    case whole
    /// These bytes, of which there is at least one.
    case part(Range<Int64>)
    /// Nothing that the file has.
    case unsatisfiable

    /// The answer to `header` for a file of `size` bytes. Several ranges in one request are answered with the whole file.
    package init(header: String?, size: Int64) {
        guard let header, header.lowercased().hasPrefix("bytes=") else {
            self = .whole
            return
        }
        let parts = header.dropFirst(6).split(separator: "-", omittingEmptySubsequences: false).map { part in
            String(part.drop { $0 == " " }.reversed().drop { $0 == " " }.reversed())
        }
        guard parts.count == 2, parts.allSatisfy({ $0.utf8.allSatisfy { 0x30...0x39 ~= $0 } }) else {
            self = .whole
            return
        }
        // A number too large for an integer is one beyond the end of any file.
        switch (parts[0].isEmpty, parts[1].isEmpty) {
        case (true, true): self = .whole
        case (true, false):
            let count = min(Int64(parts[1]) ?? .max, size)
            self = count > 0 ? .part(size - count..<size) : .unsatisfiable
        case (false, let isOpen):
            let first = Int64(parts[0]) ?? .max
            let last = isOpen ? size - 1 : min(Int64(parts[1]) ?? .max, size - 1)
            if !isOpen, let end = Int64(parts[1]), end < first {
                self = .whole
            } else {
                self = first < size ? .part(first..<last + 1) : .unsatisfiable
            }
        }
    }
}
