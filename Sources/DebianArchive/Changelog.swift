package import Archive
import Fault

/// The changelog that a package carries (deb-changelog(5)).
package struct Changelog: Sendable, Hashable {
    /// What one version changed.
    package struct Entry: Sendable, Hashable {
        /// The source package's version.
        package let version: String
        /// When it was made, as the entry says.
        package let date: String
        /// The lines between heading and signature, without empty lines around them.
        package let text: String
    }

    /// The entries, newest first.
    package let entries: [Entry]

    /// Reads the text of a changelog, as far as it can be read.
    package init(_ text: String) {
        var entries: [Entry] = []
        var version: String?
        var lines: [Substring] = []
        for line in text.split(separator: "\n", omittingEmptySubsequences: false) {
            if let found = Self.version(line) {
                version = found
                lines = []
            } else if line.hasPrefix(" -- ") {
                guard let current = version else { continue }
                let date = line.firstRange(of: ">  ").map { String(line[$0.upperBound...]) } ?? ""
                entries.append(Entry(version: current, date: date, text: Self.body(lines)))
                version = nil
            } else if version != nil {
                lines.append(line)
            }
        }
        self.entries = entries
    }

    /// The version in a heading such as `zlib (1:1.3-1) unstable; urgency=medium`.
    private static func version(_ line: Substring) -> String? {
        guard let first = line.first, !first.isWhitespace, let open = line.firstIndex(of: "("),
            let close = line[open...].firstIndex(of: ")"), line[close...].contains(";")
        else { return nil }
        return String(line[line.index(after: open)..<close])
    }

    private static func body(_ lines: [Substring]) -> String {
        let isEmpty: (Substring) -> Bool = { $0.allSatisfy(\.isWhitespace) }
        var lines = lines.drop(while: isEmpty)
        while lines.last.map(isEmpty) == true { lines.removeLast() }
        return lines.joined(separator: "\n")
    }

    /// The numbers of vulnerabilities that a text names, sorted.
    package static func vulnerabilities(in text: String) -> [String] {
        var found: Set<String> = []
        let bytes = Array(text.utf8)
        let prefix = Array("CVE-".utf8)
        for start in bytes.indices where bytes[start...].starts(with: prefix) {
            let rest = bytes[(start + prefix.count)...]
            let year = rest.prefix { Self.isDigit($0) }
            guard year.count == 4, rest.dropFirst(4).first == UInt8(ascii: "-") else { continue }
            let number = rest.dropFirst(5).prefix { Self.isDigit($0) }
            guard (4...12).contains(number.count) else { continue }
            found.insert("CVE-" + String(decoding: year, as: UTF8.self) + "-" + String(decoding: number, as: UTF8.self))
        }
        return found.sorted { $0.count == $1.count ? $0 < $1 : $0.count < $1.count }
    }

    private static func isDigit(_ byte: UInt8) -> Bool { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) }

    private static let sizeLimit = 64 << 20

    /// The changelog in a package's own documentation, or nil where that has none.
    package static func read(_ package: DebianPackageFile) throws(ArchiveFault) -> Changelog? {
        var found: (rank: Int, text: [UInt8])?
        let directory = "usr/share/doc/\(package.name)/"
        var reader = try package.openData()
        while let member = try reader.next() {
            let path = member.path.hasPrefix("./") ? member.path.dropFirst(2) : Substring(member.path)
            guard case .regular = member.kind, member.hardLink == nil, path.hasPrefix(directory) else { continue }
            // A native package has no other one; elsewhere this is the upstream's.
            let rank =
                switch path.dropFirst(directory.count) {
                case "changelog.Debian.gz", "changelog.Debian": 0
                case "changelog.gz", "changelog": 1
                default: 2
                }
            guard rank < min(2, found?.rank ?? 2), member.size <= Int64(sizeLimit) else { continue }
            let bytes = try reader.contents(limit: sizeLimit)
            found = (
                rank,
                path.hasSuffix(".gz")
                    ? try ArchiveReader.decompress(bytes, name: String(path), limit: sizeLimit) : bytes
            )
            if rank == 0 { break }
        }
        return found.map { Changelog(String(decoding: $0.text, as: UTF8.self)) }
    }
}
