import Cryptography
import Fault
import FileIO
import FileTree
import Glibc
import SystemPackage

/// Copies an overlay directory over the root.
///
/// Owners are root and modes 0755 or 0644, whatever the checkout has, unless the overlay's `.ballast-modes` says otherwise:
/// one line a path, `MODE OWNER GROUP /PATH` with spaces or tabs between, and `#` for comments.
struct OverlayCopy {
    static let modesFile = ".ballast-modes"
    static let attributesFile = ".ballast-attributes"

    private struct Attributes {
        let permissions: UInt16
        let owner: String
        let group: String
        /// The line that says so.
        let place: Place
    }

    let root: RootDirectory
    let accounts: Accounts

    private static func tree(of overlay: FilePath) throws(AssemblyFault) -> FileTree {
        try attempt("cannot read the overlay", at: .path(overlay.string)) {
            try FileTree(scanning: overlay, latestTime: 0, refusingSockets: true)
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
        let attributes = try OverlayAttributes(of: overlay)
        for (path, place) in modes.map({ ($0.key, $0.value.place) }).sorted(by: { $0.0 < $1.0 }) + attributes.places
        where tree[path] == nil {
            throw AssemblyFault(
                .missing, "names '/\(path)', which the overlay does not have", at: place,
                remedy: "correct the path, or take the line out")
        }
        for path in tree.sortedPaths() where !path.isEmpty && !Self.settings.contains(path) {
            guard let inode = tree[path] else { continue }
            let given = modes[path]
            let owner = try given.map { (a) throws(AssemblyFault) in try accounts.user(a.owner, at: a.place) } ?? 0
            let group = try given.map { (a) throws(AssemblyFault) in try accounts.group(a.group, at: a.place) } ?? 0
            try checkPlace(of: path, inode, in: overlay)
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

    /// Refuses a file of the overlay where the image has a directory, and a directory where it has a file.
    private func checkPlace(of path: String, _ inode: FileInode, in overlay: FilePath) throws(AssemblyFault) {
        let isDirectory = if case .directory = inode.kind { true } else { false }
        guard let there = try root.status(path, following: isDirectory),
            (there.st_mode & S_IFMT == S_IFDIR) != isDirectory
        else { return }
        throw AssemblyFault(
            .invalidRequest,
            isDirectory
                ? "'/\(path)' is a file in the image, and a directory in the overlay"
                : "'/\(path)' is a directory in the image, and no file can take its place",
            at: .path(overlay.appending(path).string), remedy: "choose another path")
    }

    private static func modes(of overlay: FilePath) throws(AssemblyFault) -> [String: Attributes] {
        let path = overlay.appending(modesFile)
        guard path.exists else { return [:] }
        let text = try attempt("cannot read the overlay's modes") { try path.text(limit: 1 << 20) }
        var modes: [String: Attributes] = [:]
        for (number, line) in text.split(omittingEmptySubsequences: false, whereSeparator: \.isNewline).enumerated() {
            let fields = line.split(maxSplits: 3, whereSeparator: \.isWhitespace).map(String.init)
            if fields.isEmpty || line.hasPrefix("#") { continue }
            let place = Place.position(path: path.string, line: number + 1, column: 1)
            func fault(_ message: String) -> AssemblyFault {
                AssemblyFault(
                    .invalidRequest, message, at: place,
                    remedy: "write a line like '0600 root root /etc/secret'")
            }
            guard fields.count == 4 else { throw fault("expected 'MODE OWNER GROUP /PATH'") }
            guard let mode = UInt16(fields[0], radix: 8), mode <= 0o7777 else {
                throw fault("'\(fields[0])' is not an octal mode")
            }
            guard fields[3].hasPrefix("/"), fields[3] != "/" else {
                throw fault("'\(fields[3])' is not the absolute path of a file in the overlay")
            }
            modes[String(fields[3].dropFirst())] = Attributes(
                permissions: mode, owner: fields[1], group: fields[2], place: place)
        }
        return modes
    }
}
