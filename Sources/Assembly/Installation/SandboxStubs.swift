import Fault
import FileIO
import Glibc
import SystemPackage

/// What scripts must not do in a tree that no machine runs: start services, or make an initrd. What they would do in vain:
/// the modules are indexed once they are decompressed, and the journal's catalog lies in /var.
struct SandboxStubs {
    let root: RootDirectory
    /// A directory for the stubs' files.
    let work: FilePath

    private static let policy = (path: "usr/sbin/policy-rc.d", text: "#!/bin/sh\nexit 101\n")
    private static let stubs = [
        policy,
        ("usr/sbin/update-initramfs", "#!/bin/sh\nexit 0\n"),
        ("usr/sbin/depmod", "#!/bin/sh\nexit 0\n"),
        ("usr/bin/journalctl", "#!/bin/sh\nexit 0\n"),
    ]

    /// Runs `body` with a sandbox in which the stubs are in the place of the programs.
    func show(in sandbox: Sandbox, _ body: (Sandbox) async throws -> Void) async throws {
        var sandbox = sandbox
        var placeholders: [String] = []
        var displaced: [(path: String, other: String)] = []
        for (path, text) in Self.stubs {
            let file = work.appending(FilePath(path).lastComponent?.string ?? "stub")
            try file.replaceContents(with: text, permissions: FilePermissions(rawValue: 0o755))
            sandbox.shown.append(.init(path: "/" + path, file: file))
            // A file can only be mounted over a file. Mounted over a symbolic link, it would hide the link's target: depmod is a
            // link to kmod, and so are modinfo and modprobe.
            let status = try root.status(path)
            let isLink = status.map { $0.st_mode & S_IFMT == S_IFLNK } ?? false
            if isLink {
                let name = FilePath(path).lastComponent?.string ?? ""
                let other = FilePath(path).removingLastComponent().appending(".ballast-\(name)").string
                try root.move(path, to: other)
                displaced.append((path, other))
            }
            if isLink || status == nil {
                try root.replaceFile(path, with: "")
                placeholders.append(path)
            }
        }
        try await body(sandbox)
        root.forgetParents()
        for path in placeholders { try root.removeFile(path) }
        for (path, other) in displaced { try root.move(other, to: path) }
    }

    /// Runs `body`, which may replace or remove any program of the tree, with services kept from starting.
    func keepServicesDown(_ body: () async throws -> Void) async throws {
        let (path, text) = Self.policy
        guard try !root.exists(path) else { return try await body() }
        try root.replaceFile(path, with: text, permissions: 0o755)
        try await body()
        root.forgetParents()
        if try root.contents(path) == Array(text.utf8) { try root.removeFile(path) }
    }
}
