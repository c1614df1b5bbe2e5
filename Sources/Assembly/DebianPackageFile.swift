import Archive
import Fault
import SystemPackage

/// A binary package file (deb(5), format 2.0): an ar archive of `debian-binary`, `control.tar.*` and `data.tar.*`.
struct DebianPackageFile {
    /// The most bytes a compressed data member may have: several times the largest kernel package.
    private static let dataLimit = 2 << 30
    private static let controlLimit = 64 << 20

    /// The control paragraph, as text.
    let control: String
    /// The control member's other files by name: scripts, conffiles, triggers, md5sums.
    let controlFiles: [String: [UInt8]]
    private let data: [UInt8]
    private let path: FilePath

    init(_ path: FilePath) throws(AssemblyFault) {
        self.path = path
        var controlArchive: [UInt8]?
        var dataArchive: [UInt8]?
        do throws(ArchiveFault) {
            var reader = try ArchiveReader.open(path, format: .ar)
            while let member = try reader.next() {
                if member.path.hasPrefix("control.tar") {
                    controlArchive = try reader.contents(limit: Self.controlLimit)
                } else if member.path.hasPrefix("data.tar") {
                    dataArchive = try reader.contents(limit: Self.dataLimit)
                }
            }
            guard let controlArchive, let dataArchive else {
                throw ArchiveFault(.malformed, "control.tar or data.tar is missing", at: .path(path.string))
            }
            data = dataArchive
            var files = try Self.files(in: controlArchive, name: "\(path) control.tar")
            guard let paragraph = files.removeValue(forKey: "control") else {
                throw ArchiveFault(.malformed, "control.tar has no control file", at: .path(path.string))
            }
            control = String(decoding: paragraph, as: UTF8.self)
            controlFiles = files
        } catch {
            throw AssemblyFault(
                .badPackage, "not a usable Debian package", at: .path(path.string),
                remedy: "remove the file and build again",
                cause: error)
        }
    }

    private static func files(in archive: [UInt8], name: String) throws(ArchiveFault) -> [String: [UInt8]] {
        var files: [String: [UInt8]] = [:]
        var reader = try ArchiveReader.open(archive, name: name, format: .tar)
        while let member = try reader.next() {
            guard case .regular = member.kind, member.hardLink == nil else { continue }
            let short = member.path.hasPrefix("./") ? String(member.path.dropFirst(2)) : member.path
            guard !short.contains("/") else { continue }
            files[short] = try reader.contents(limit: controlLimit)
        }
        return files
    }

    /// A reader of the data archive.
    func openData() throws(ArchiveFault) -> ArchiveReader {
        try ArchiveReader.open(data, name: "\(path) data.tar", format: .tar)
    }

    /// The value of a field of the control paragraph, folded lines joined; nil where there is none.
    func field(_ name: String) -> String? {
        var value: String?
        for line in control.split(separator: "\n", omittingEmptySubsequences: false) {
            if let current = value {
                guard line.first == " " || line.first == "\t" else { return current }
                value = current + "\n" + line
            } else if let colon = line.firstIndex(of: ":"), line[..<colon].lowercased() == name.lowercased() {
                value = String(line[line.index(after: colon)...].drop { $0 == " " || $0 == "\t" })
            }
        }
        return value
    }
}
