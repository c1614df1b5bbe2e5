import Archive
import CLinux
import DebianArchive
import Fault
import FileIO
import Glibc
import SystemPackage

/// A package whose files are decompressed into a directory of their own, so that several can be done at once and each is
/// then put into the root directory by a few renames.
struct StagedPackage: Sendable {
    /// One file of the package, other than what is left out.
    struct Member: Sendable {
        enum Kind: Sendable {
            case directory
            /// The file in the staging directory.
            case regular(FilePath)
            case symbolicLink(target: String)
            /// Another name of the member with this path.
            case hardLink(to: String)
        }
        /// The path from the image's root, without a leading slash.
        let path: String
        let kind: Kind
        let permissions: UInt16
        let owner: UInt32
        let group: UInt32
        let modified: Int64
    }

    let package: DebianPackageFile
    let members: [Member]
    /// All paths of the package as dpkg lists them: with a leading slash, the root as `/.`.
    let paths: [String]
    /// Whether nothing in the package but its files changes what dpkg would make of it. Any other one is dpkg's.
    let isPlain: Bool
    /// The package as dpkg is to read it, where it is dpkg's to begin with.
    let file: FilePath?
}

/// Decompresses packages.
struct PackageStager: Sendable {
    /// Where each package gets a directory of its own.
    let directory: FilePath
    let excludedPaths: PathPatterns
    /// An archive's names of owners come before its numbers.
    let accounts: Accounts

    /// What dpkg makes itself for a package that has none.
    private static let neededControlFile = "md5sums"

    /// Decompresses `package`: into files, or, where dpkg has to unpack it and need not be there to do so, into a package file.
    func stage(_ package: DebianPackageFile, isBase: Bool) throws(AssemblyFault) -> StagedPackage {
        let isPlain =
            package.controlFiles["preinst"] == nil && package.controlFiles[Self.neededControlFile] != nil
            && !package.hasFlaggedConffiles && package.hasPlainTriggers && package.controlFiles["list"] == nil
        return isPlain || isBase ? try unpack(package, isPlain: isPlain) : try rewrite(package)
    }

    private func rewrite(_ package: DebianPackageFile) throws(AssemblyFault) -> StagedPackage {
        let file = directory.appending("\(package.name).deb")
        do {
            try PlainPackageFile.write(package, to: file)
            // dpkg takes any path, and only the sandbox would keep it in.
            var reader = try DebianPackageFile(file).openData()
            while let member = try reader.next() { try Self.check(member) }
        } catch {
            throw fault(of: package, error)
        }
        return StagedPackage(package: package, members: [], paths: [], isPlain: false, file: file)
    }

    /// Refuses what no image holds, and returns the member's path.
    @discardableResult
    private static func check(_ member: ArchiveMember) throws(AssemblyFault) -> String {
        let path = try RootDirectory.components(of: member.path).joined(separator: "/")
        if let target = member.hardLink { _ = try RootDirectory.components(of: target) }
        // What is not UTF-8 was repaired when it was read.
        guard !path.unicodeScalars.contains(where: { $0 == "\n" || $0 == "\u{FFFD}" }) else {
            throw AssemblyFault(
                .badPackage, "a file name with a newline, or that is not UTF-8", at: .path(path),
                remedy: "take the package out")
        }
        guard !(member.symbolicLink ?? "").unicodeScalars.contains("\u{FFFD}") else {
            throw AssemblyFault(
                .badPackage, "a symbolic link whose target is not UTF-8", at: .path(path),
                remedy: "take the package out")
        }
        switch member.kind {
        case .characterDevice, .blockDevice:
            throw AssemblyFault(
                .badPackage, "a device node, which no image holds: a host has its own", at: .path(path),
                remedy: "take the package out")
        case .regular, .directory, .symbolicLink, .fifo, .socket: return path
        }
    }

    private func fault(of package: DebianPackageFile, _ error: any Error) -> AssemblyFault {
        if error is CancellationError { return .during("", error) }
        if let fault = error as? FileIOFault {
            return AssemblyFault(
                .inputOutput, "cannot unpack '\(package.name)'",
                remedy: fault.code == .noSpace ? RootDirectory.roomRemedy(directory) : nil, cause: fault)
        }
        return AssemblyFault(
            .badPackage, "cannot unpack the package '\(package.name)'", at: .path(package.path.string), cause: error)
    }

    private func unpack(_ package: DebianPackageFile, isPlain: Bool) throws(AssemblyFault) -> StagedPackage {
        var members: [StagedPackage.Member] = []
        var paths: [String] = []
        var regular: Set<String> = []
        var isPlain = isPlain
        let own = directory.appending(package.name)
        do {
            try own.makeDirectories(permissions: FilePermissions(rawValue: 0o700))
            var reader = try package.openData()
            while let member = try reader.next() {
                try Task.checkCancellation()
                let path = try Self.check(member)
                paths.append(path.isEmpty ? "/." : "/" + path)
                if path.isEmpty { continue }
                let kind: StagedPackage.Member.Kind
                if let target = member.hardLink {
                    if excludedPaths.excludes(path) { continue }
                    let target = try RootDirectory.components(of: target).joined(separator: "/")
                    guard regular.contains(target) else {
                        isPlain = false
                        continue
                    }
                    // dpkg unpacks conffiles under another name first.
                    if package.conffiles.contains(path) || package.conffiles.contains(target) { isPlain = false }
                    kind = .hardLink(to: target)
                } else {
                    switch member.kind {
                    case .directory: kind = .directory
                    case .symbolicLink:
                        if excludedPaths.excludes(path) { continue }
                        kind = .symbolicLink(target: member.symbolicLink ?? "")
                    case .regular:
                        if excludedPaths.excludes(path) { continue }
                        let file = own.appending("\(members.count)")
                        try write(member, to: file, &reader)
                        regular.insert(path)
                        kind = .regular(file)
                    case .characterDevice, .blockDevice, .fifo, .socket:
                        isPlain = false
                        continue
                    }
                }
                members.append(
                    .init(
                        path: path, kind: kind, permissions: member.permissions, owner: owner(of: member),
                        group: group(of: member), modified: member.modified))
            }
        } catch {
            throw fault(of: package, error)
        }
        return StagedPackage(package: package, members: members, paths: paths, isPlain: isPlain, file: nil)
    }

    private func owner(of member: ArchiveMember) -> UInt32 { accounts.users[member.ownerName] ?? member.owner }
    private func group(of member: ArchiveMember) -> UInt32 { accounts.groups[member.groupName] ?? member.group }

    private func write(_ member: ArchiveMember, to path: FilePath, _ reader: inout ArchiveReader) throws {
        let file = try OpenFile(
            path, .writeOnly, options: [.create, .exclusiveCreate, .noFollow, .closeOnExec],
            permissions: FilePermissions(rawValue: 0o600))
        try reader.read({ (bytes) throws(any Error) in try file.append(bytes) }, wrap: { $0 })
        let descriptor = file.descriptor.rawValue
        // The owner before the mode: changing the owner clears set-user-ID bits.
        guard fchown(descriptor, owner(of: member), group(of: member)) == 0,
            fchmod(descriptor, mode_t(member.permissions)) == 0
        else { throw FileIOFault.last("cannot set the mode and owner", at: path) }
        var times = [timespec](repeating: timespec(tv_sec: Int(member.modified), tv_nsec: 0), count: 2)
        _ = futimens(descriptor, &times)
    }
}
