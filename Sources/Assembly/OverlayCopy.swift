import Cryptography
import Fault
import FileIO
import FileTree
import SystemPackage

/// Copies an overlay directory over the root.
///
/// Owners are root and modes 0755 or 0644, whatever the checkout has, unless the overlay's `.ballast-modes` says otherwise:
/// one line a path, `MODE OWNER GROUP /PATH`, with `#` for comments.
struct OverlayCopy {
    static let modesFile = ".ballast-modes"
    static let attributesFile = ".ballast-attributes"

    private struct Attributes {
        let permissions: UInt16
        let owner: String
        let group: String
    }

    let root: RootDirectory
    let accounts: Accounts

    private static func tree(of overlay: FilePath) throws(AssemblyFault) -> FileTree {
        try attempt("cannot read the overlay", at: .path(overlay.string)) {
            try FileTree(scanning: overlay, latestTime: 0)
        }
    }

    /// Files that say something about the overlay, and are no part of it.
    private static let settings: Set<String> = [modesFile, attributesFile]

    private static func usualPermissions(_ inode: FileInode) -> UInt16 {
        switch inode.kind {
        case .regular: inode.permissions & 0o111 == 0 ? 0o644 : 0o755
        case .directory, .symbolicLink, .characterDevice, .blockDevice, .fifo: 0o755
        }
    }

    /// The SHA-256 of what an overlay brings into an image, which is the same for every checkout of it: whoever owns the files
    /// there, and whatever umask they were made with.
    static func digest(of overlay: FilePath) throws(AssemblyFault) -> SHA256Digest {
        let scanned = try tree(of: overlay)
        var plain = FileTree(modified: 0)
        var archive = SHA256Hasher()
        try attempt("cannot read the overlay", at: .path(overlay.string)) {
            for path in scanned.sortedPaths() where !path.isEmpty {
                guard let inode = scanned[path] else { continue }
                try plain.insert(
                    FileInode(inode.kind, permissions: usualPermissions(inode), modified: 0), at: path)
            }
            try CpioWriter(plain).write { archive.update($0) }
        }
        return archive.finish()
    }

    /// The paths of what an overlay brings.
    static func paths(of overlay: FilePath) throws(AssemblyFault) -> [(path: String, kind: BroughtFiles.Kind)] {
        let tree = try tree(of: overlay)
        let modes = try modes(of: overlay)
        return tree.sortedPaths().filter { !$0.isEmpty && !settings.contains($0) }.map { path in
            switch tree[path]?.kind {
            case .directory: (path, modes[path] == nil ? .directory : .namedDirectory)
            case .regular: (path, .file)
            default: (path, .other)
            }
        }
    }

    func copy(_ overlay: FilePath) throws(AssemblyFault) {
        let tree = try Self.tree(of: overlay)
        let modes = try Self.modes(of: overlay)
        if let stranger = modes.keys.sorted().first(where: { tree[$0] == nil }) {
            throw AssemblyFault(
                .missing, "names '/\(stranger)', which the overlay does not have",
                at: .path(overlay.appending(Self.modesFile).string))
        }
        let attributes = try OverlayAttributes(of: overlay)
        if let stranger = attributes.paths.sorted().first(where: { tree[$0] == nil }) {
            throw AssemblyFault(
                .missing, "names '/\(stranger)', which the overlay does not have",
                at: .path(overlay.appending(Self.attributesFile).string))
        }
        for path in tree.sortedPaths() where !path.isEmpty && !Self.settings.contains(path) {
            guard let inode = tree[path] else { continue }
            let given = modes[path]
            let owner = try given.map { (a) throws(AssemblyFault) in try accounts.user(a.owner, at: .path(path)) } ?? 0
            let group = try given.map { (a) throws(AssemblyFault) in try accounts.group(a.group, at: .path(path)) } ?? 0
            switch inode.kind {
            case .directory:
                let isNew = try !root.exists(path)
                try root.makeDirectory(path)
                if isNew || given != nil {
                    try root.setAttributes(
                        ofDirectory: path, permissions: given?.permissions ?? 0o755, owner: owner, group: group)
                }
            case .regular(let content):
                try root.replaceFile(
                    path, with: content, permissions: given?.permissions ?? Self.usualPermissions(inode), owner: owner,
                    group: group)
            case .symbolicLink(let target):
                try root.removeFile(path)
                try root.makeSymbolicLink(path, to: target, owner: owner, group: group)
            case .characterDevice, .blockDevice, .fifo:
                throw AssemblyFault(
                    .invalidRequest, "an overlay holds files, directories and symbolic links only",
                    at: .path(overlay.appending(path).string))
            }
            for (name, value) in attributes[path] { try root.setExtendedAttribute(path, name, value) }
        }
    }

    private static func modes(of overlay: FilePath) throws(AssemblyFault) -> [String: Attributes] {
        let path = overlay.appending(modesFile)
        guard path.exists else { return [:] }
        let text = try attempt("cannot read the overlay's modes") { try path.text(limit: 1 << 20) }
        var modes: [String: Attributes] = [:]
        for (number, line) in text.split(separator: "\n", omittingEmptySubsequences: false).enumerated() {
            let fields = line.split(separator: " ", maxSplits: 3).map(String.init)
            if fields.isEmpty || line.hasPrefix("#") { continue }
            guard fields.count == 4, let mode = UInt16(fields[0], radix: 8), mode <= 0o7777, fields[3].hasPrefix("/"),
                fields[3] != "/"
            else {
                throw AssemblyFault(
                    .invalidRequest, "expected 'MODE OWNER GROUP /PATH', such as '0600 root root /etc/secret'",
                    at: .position(path: path.string, line: number + 1, column: 1))
            }
            modes[String(fields[3].dropFirst())] = Attributes(permissions: mode, owner: fields[1], group: fields[2])
        }
        return modes
    }
}
