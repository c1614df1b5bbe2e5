import Archive
import CLinux
import Fault
import FileIO
import Glibc
import Synchronization
import SystemPackage
import Terminal

/// Unpacks packages into the root directory, several at a time, as `dpkg --unpack` would leave them.
struct PackageUnpacker {
    /// What unpacking one package left to be written into dpkg's database.
    struct Unpacked: Sendable {
        let name: String
        let architecture: String
        let control: String
        let controlFiles: [String: [UInt8]]
        /// All paths of the package as dpkg lists them: with a leading slash, the root as `/.`.
        let paths: [String]
        /// The directories' attributes, applied in the order of the lock once all is unpacked.
        let directories: [Directory]
    }

    struct Directory: Sendable {
        let path: String
        let permissions: UInt16
        let owner: UInt32
        let group: UInt32
    }

    private struct Owner {
        let package: String
        let replaces: Set<String>
    }

    let root: FilePath
    let excludedPaths: PathPatterns
    private let owners = OwnerTable()

    init(root: FilePath, excludedPaths: PathPatterns) {
        self.root = root
        self.excludedPaths = excludedPaths
    }

    /// Which package wrote a path. Shared by the threads that unpack.
    private final class OwnerTable: Sendable {
        private struct Table {
            var owners: [String: Owner] = [:]
            /// Paths that a thread is writing: whoever replaces one finds it whole.
            var busy: Set<String> = []
        }
        private let table = Mutex(Table())

        /// Does `body` while no other thread writes `path`. Two packages with the same path are rare, and a wait is short.
        func whileHolding(_ path: String, _ body: () throws(AssemblyFault) -> Void) throws(AssemblyFault) {
            while !table.withLock({ $0.busy.insert(path).inserted }) { usleep(1_000) }
            defer { table.withLock { _ = $0.busy.remove(path) } }
            try body()
        }

        /// Claims `path`, unless another package keeps it.
        ///
        /// - Returns: nil where the path is free, otherwise who has it.
        func claim(_ path: String, by owner: Owner) -> Owner? {
            table.withLock { table in
                if let other = table.owners[path] { return other }
                table.owners[path] = owner
                return nil
            }
        }

        func take(_ path: String, for owner: Owner) { table.withLock { $0.owners[path] = owner } }
    }

    /// Unpacks all of `packages`, in the order of the lock as far as that can be seen afterwards.
    ///
    /// The package that has the root's own symbolic links (`/bin`, `/lib`) comes first and alone, so that every other
    /// path is resolved through them.
    func unpack(_ packages: [(name: String, file: FilePath)], width: Int) async throws -> [Unpacked] {
        let progress = Progress("unpacking", total: Int64(packages.count), unit: .items("packages"))
        defer { progress.finish() }
        var results: [Int: Unpacked] = [:]
        let first = packages.indices.filter { packages[$0].name == "base-files" }
        let rest = packages.indices.filter { packages[$0].name != "base-files" }
            // The largest first: the last to end is then a small one.
            .sorted { Self.size(of: packages[$0].file) > Self.size(of: packages[$1].file) }
        for index in first {
            results[index] = try unpack(packages[index].file)
            progress.advance(by: 1)
        }
        try await withThrowingTaskGroup(of: (Int, Unpacked).self) { group in
            var pending = rest[...]
            func startNext() {
                guard let index = pending.popFirst() else { return }
                group.addTask {
                    try Task.checkCancellation()
                    return (index, try unpack(packages[index].file))
                }
            }
            for _ in 0..<width { startNext() }
            while let (index, unpacked) = try await group.next() {
                results[index] = unpacked
                progress.advance(by: 1)
                startNext()
            }
        }
        let ordered = packages.indices.compactMap { results[$0] }
        try applyDirectories(ordered)
        return ordered
    }

    private static func size(of path: FilePath) -> Int64 { (try? FileStatus(of: path).size) ?? 0 }

    private func applyDirectories(_ packages: [Unpacked]) throws(AssemblyFault) {
        let root = try RootDirectory(root)
        var done: Set<String> = []
        for package in packages {
            for directory in package.directories where done.insert(directory.path).inserted {
                try root.setAttributes(
                    ofDirectory: directory.path, permissions: directory.permissions, owner: directory.owner,
                    group: directory.group)
            }
        }
    }

    private func unpack(_ file: FilePath) throws(AssemblyFault) -> Unpacked {
        let package = try DebianPackageFile(file)
        guard let name = package.field("Package"), let architecture = package.field("Architecture") else {
            throw AssemblyFault(.badPackage, "the control file names no package", at: .path(file.string))
        }
        let owner = Owner(package: name, replaces: Self.names(in: package.field("Replaces") ?? ""))
        let root = try RootDirectory(root)
        var paths: [String] = []
        var directories: [Directory] = []
        do throws(ArchiveFault) {
            var reader = try package.openData()
            while let member = try reader.next() {
                do throws(AssemblyFault) {
                    let path = try RootDirectory.components(of: member.path).joined(separator: "/")
                    paths.append(path.isEmpty ? "/." : "/" + path)
                    if path.isEmpty { continue }
                    if member.kind == .directory {
                        if excludedPaths.excludes(path, isDirectory: true) { continue }
                        try root.makeDirectory(path)
                        directories.append(
                            Directory(
                                path: path, permissions: member.permissions, owner: member.owner, group: member.group))
                    } else if !excludedPaths.excludes(path, isDirectory: false) {
                        try owners.whileHolding(path) { () throws(AssemblyFault) in
                            try write(member, at: path, into: root, owner: owner, reader: &reader)
                        }
                    }
                } catch {
                    throw ArchiveFault(.malformed, "cannot unpack '\(member.path)'", cause: error)
                }
            }
        } catch {
            if let fault = error.cause as? AssemblyFault, fault.code != .badPackage { throw fault }
            throw AssemblyFault(.badPackage, "cannot unpack the package", at: .path(file.string), cause: error)
        }
        return Unpacked(
            name: name, architecture: architecture, control: package.control, controlFiles: package.controlFiles,
            paths: paths, directories: directories)
    }

    private func write(
        _ member: ArchiveMember, at path: String, into root: RootDirectory, owner: Owner, reader: inout ArchiveReader
    ) throws(AssemblyFault) {
        if let other = owners.claim(path, by: owner) {
            // dpkg's rule: the one that declares Replaces wins, whichever comes first.
            if other.replaces.contains(owner.package) { return }
            guard owner.replaces.contains(other.package) else {
                throw AssemblyFault(
                    .badPackage, "is also in the package '\(other.package)'", at: .path("/" + path),
                    remedy: "remove one of '\(owner.package)' and '\(other.package)' from the manifest")
            }
            try root.removeFile(path)
            owners.take(path, for: owner)
        }
        if let target = member.hardLink {
            let target = try RootDirectory.components(of: target).joined(separator: "/")
            // A hard link to a file that is left out has nothing to share.
            if excludedPaths.excludes(target, isDirectory: false) { return }
            try root.makeHardLink(path, to: target)
            return
        }
        let device = ballast_make_device(member.device.major, member.device.minor)
        switch member.kind {
        case .regular:
            try root.writeFile(
                path, permissions: member.permissions, owner: member.owner, group: member.group,
                modified: member.modified, extendedAttributes: member.extendedAttributes
            ) { (write) throws(AssemblyFault) in
                try reader.read(write) { AssemblyFault(.badPackage, "damaged data", at: .path(path), cause: $0) }
            }
        case .symbolicLink:
            try root.makeSymbolicLink(
                path, to: member.symbolicLink ?? "", owner: member.owner, group: member.group, modified: member.modified
            )
        case .characterDevice:
            try root.makeNode(
                path, mode: 0o020000 | UInt32(member.permissions), device: device, owner: member.owner,
                group: member.group)
        case .blockDevice:
            try root.makeNode(
                path, mode: 0o060000 | UInt32(member.permissions), device: device, owner: member.owner,
                group: member.group)
        case .fifo:
            try root.makeNode(
                path, mode: 0o010000 | UInt32(member.permissions), device: 0, owner: member.owner, group: member.group)
        case .directory, .socket: break
        }
    }

    /// The package names of a relationship field, without versions and architectures.
    private static func names(in field: String) -> Set<String> {
        Set(
            field.split(whereSeparator: { $0 == "," || $0 == "|" || $0 == "\n" }).compactMap { part in
                part.split(whereSeparator: { $0 == " " || $0 == "(" || $0 == ":" }).first.map(String.init)
            })
    }
}
