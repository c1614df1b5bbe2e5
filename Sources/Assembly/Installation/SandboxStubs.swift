import Fault
import FileIO
import SystemPackage

/// What scripts must not do in a tree that no machine runs: start services, or make an initrd. What they would do in vain:
/// the modules are indexed once they are decompressed, and the journal's catalog lies in /var.
struct SandboxStubs {
    let root: RootDirectory
    /// A directory for the stubs' files.
    let work: FilePath

    private static let stubs = [
        ("usr/sbin/policy-rc.d", "#!/bin/sh\nexit 101\n"),
        ("usr/sbin/update-initramfs", "#!/bin/sh\nexit 0\n"),
        ("usr/sbin/depmod", "#!/bin/sh\nexit 0\n"),
        ("usr/bin/journalctl", "#!/bin/sh\nexit 0\n"),
    ]

    /// Runs `body` with a sandbox in which the stubs are in the place of the programs.
    func show(in sandbox: Sandbox, _ body: (Sandbox) async throws -> Void) async throws {
        var sandbox = sandbox
        var placeholders: [String] = []
        for (path, text) in Self.stubs {
            let file = work.appending(FilePath(path).lastComponent?.string ?? "stub")
            try file.replaceContents(with: text, permissions: FilePermissions(rawValue: 0o755))
            sandbox.shown.append(.init(path: "/" + path, file: file))
            // A file can only be shown where there is one.
            if try root.status(path) == nil {
                try root.replaceFile(path, with: "")
                placeholders.append(path)
            }
        }
        try await body(sandbox)
        root.forgetParents()
        for path in placeholders { try root.removeFile(path) }
    }
}
