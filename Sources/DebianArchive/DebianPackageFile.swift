package import Archive
import Fault
package import SystemPackage

/// A binary package file (deb(5), format 2.0): an ar archive of `debian-binary`, `control.tar.*` and `data.tar.*`.
package struct DebianPackageFile: Sendable {
    /// The most bytes the control member may have, compressed or not.
    private static let controlLimit = 64 << 20
    /// How the names of the tar members end, by their compression.
    private static let compressions = ["", ".gz", ".xz", ".zst", ".bz2", ".lzma"]
    /// The most files the control member may have.
    private static let controlFileLimit = 1000
    /// Debian's maintainer scripts, which are executable whatever their archive says (dpkg checks that too).
    package static let scripts: Set<String> = ["preinst", "postinst", "prerm", "postrm", "config"]

    /// Where the file is.
    package let path: FilePath
    /// The name, as the control paragraph has it.
    package let name: String
    /// The version, as the control paragraph has it.
    package let version: String
    /// Debian's name of the architecture, or `all`.
    package let architecture: String
    /// The control paragraph.
    package let control: Deb822Paragraph
    /// The control paragraph as it stands in the file.
    package let controlText: String
    /// The control member's other files by name: scripts, conffiles, triggers, md5sums.
    package let controlFiles: [String: [UInt8]]
    /// The control archive as it is in the file.
    package let controlArchive: (name: String, bytes: [UInt8])
    /// Where the data archive is in the file.
    private let data: Range<Int64>

    /// Reads everything but the data.
    package init(_ path: FilePath) throws(DebianArchiveFault) {
        self.path = path
        do {
            var found: (name: String, bytes: [UInt8])?
            var data: Range<Int64>?
            var reader = try ArchiveReader.open(path, format: .ar)
            guard let format = try reader.next(), format.path == "debian-binary",
                try reader.contents(limit: 1024).starts(with: "2.".utf8)
            else {
                throw ArchiveFault(.malformed, "does not begin with a debian-binary 2.x", at: .path(path.string))
            }
            // The order is fixed; members whose names begin with `_` may come in between (deb(5)). dpkg ignores what follows the
            // data.
            while data == nil, let member = try reader.next() {
                if member.path.hasPrefix("_") { continue }
                let expected = found == nil ? "control.tar" : "data.tar"
                guard Self.compressions.contains(where: { member.path == expected + $0 }) else {
                    throw ArchiveFault(
                        .malformed, "has '\(member.path)' where \(expected) belongs", at: .path(path.string))
                }
                guard found != nil else {
                    found = (member.path, try reader.contents(limit: Self.controlLimit))
                    continue
                }
                let start = reader.arDataOffset
                let (end, overflows) = start.addingReportingOverflow(member.size)
                guard !overflows, member.size >= 0 else { break }
                data = start..<end
            }
            guard let controlArchive = found, let data else {
                throw ArchiveFault(.malformed, "control.tar or data.tar is missing", at: .path(path.string))
            }
            self.data = data
            self.controlArchive = controlArchive
            var files = try Self.files(in: controlArchive.bytes, name: "\(path) control.tar")
            guard let text = files.removeValue(forKey: "control") else {
                throw ArchiveFault(.malformed, "control.tar has no control file", at: .path(path.string))
            }
            var parser = Deb822Parser(text, source: "\(path) control")
            guard let paragraph = try parser.next() else {
                throw ArchiveFault(.malformed, "the control file is empty", at: .path(path.string))
            }
            control = paragraph
            controlText = String(decoding: text, as: UTF8.self)
            name = try paragraph.required("Package")
            version = try paragraph.required("Version")
            architecture = try paragraph.required("Architecture")
            controlFiles = files
        } catch {
            throw DebianArchiveFault(
                .malformed, "not a usable Debian package", at: .path(path.string),
                remedy: "remove the file and build again", cause: error)
        }
    }

    private static func files(in archive: [UInt8], name: String) throws(ArchiveFault) -> [String: [UInt8]] {
        var files: [String: [UInt8]] = [:]
        var total = 0
        var reader = try ArchiveReader.open(archive, name: name, format: .tar)
        while let member = try reader.next() {
            guard case .regular = member.kind, member.hardLink == nil else { continue }
            let short = member.path.hasPrefix("./") ? String(member.path.dropFirst(2)) : member.path
            guard !short.contains("/") else { continue }
            guard files.count < controlFileLimit else {
                throw ArchiveFault(.tooLarge, "more than \(controlFileLimit) control files", at: .path(name))
            }
            let content = try reader.contents(limit: controlLimit - total)
            total += content.count
            files[short] = content
        }
        return files
    }

    /// The size of the data archive, compressed, in bytes.
    package var size: Int64 { Int64(data.count) }

    /// A reader of the data archive.
    package func openData() throws(ArchiveFault) -> ArchiveReader {
        try ArchiveReader.open(path, range: data, name: "\(path) data.tar", format: .tar)
    }

    /// A reader whose one member is the data archive without its compression.
    package func openPlainData() throws(ArchiveFault) -> ArchiveReader {
        var reader = try ArchiveReader.open(path, range: data, name: "\(path) data.tar", format: .raw)
        guard try reader.next() != nil else {
            throw ArchiveFault(.malformed, "there is no data", at: .path(path.string))
        }
        return reader
    }

    /// Whether dpkg is to do something with a conffile beyond keeping it, such as `remove-on-upgrade` (deb-conffiles(5)).
    package var hasFlaggedConffiles: Bool {
        let lines = controlFiles["conffiles"]?.split(separator: UInt8(ascii: "\n")) ?? []
        return lines.contains { line in
            line.first != UInt8(ascii: "/") || line.last.map { $0 == 0x20 || $0 == 0x09 || $0 == 0x0D } ?? true
        }
    }

    /// The paths of the conffiles, without a leading slash.
    package var conffiles: Set<String> {
        Set(
            String(decoding: controlFiles["conffiles"] ?? [], as: UTF8.self).split(separator: "\n")
                .map { String($0.drop { $0 == "/" }) })
    }

    /// Whether all that the package says of triggers is which ones it is interested in or activates, a line each.
    package var hasPlainTriggers: Bool {
        String(decoding: controlFiles["triggers"] ?? [], as: UTF8.self).split(separator: "\n").allSatisfy { line in
            let words = line.split { $0 == " " || $0 == "\t" }
            return words.count == 2 && !line.contains("#")
                && (words[0].hasPrefix("interest") || words[0].hasPrefix("activate"))
        }
    }

    /// Whether every system needs it while other packages are installed (Debian policy, section 3.8).
    package var isEssential: Bool { control["Essential"] == "yes" }

    /// The name by which dpkg knows it: with the architecture where several of it may be installed together.
    package var databaseName: String { control["Multi-Arch"] == "same" ? "\(name):\(architecture)" : name }
}
