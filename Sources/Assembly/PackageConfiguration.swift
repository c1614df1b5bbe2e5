import Fault
import FileIO
import SystemPackage

/// Brings unpacked packages to the state "installed": dpkg runs the maintainer scripts in the sandbox.
struct PackageConfiguration {
    let root: FilePath
    let epoch: Int64
    let work: FilePath

    /// What the maintainer scripts must not do in a tree that no machine runs: start services, or make an initrd. What they
    /// would do in vain: the modules are indexed once they are decompressed, and the journal's catalog lies in /var.
    private static let stubs = [
        ("usr/sbin/policy-rc.d", "#!/bin/sh\nexit 101\n"),
        ("usr/sbin/update-initramfs", "#!/bin/sh\nexit 0\n"),
        ("usr/sbin/depmod", "#!/bin/sh\nexit 0\n"),
        ("usr/bin/journalctl", "#!/bin/sh\nexit 0\n"),
    ]

    /// Configures all packages and checks that dpkg finds nothing left to do.
    func run() async throws(AssemblyFault) {
        let directory = try RootDirectory(root)
        var stubs: [(path: String, file: FilePath)] = []
        var placeholders: [String] = []
        for (path, text) in Self.stubs {
            let file = work.appending(FilePath.Component(FilePath(path).lastComponent?.string ?? "stub") ?? "stub")
            try attempt("cannot write the stub for \(path)") {
                try file.replaceContents(with: text, permissions: FilePermissions(rawValue: 0o755))
            }
            stubs.append((path, file))
            // A file can only be shown where there is one.
            if try !directory.exists(path) {
                try directory.replaceFile(path, with: "")
                placeholders.append(path)
            }
        }
        try prepareAccounts(in: directory)
        let sandbox = Sandbox(root: root, work: work, epoch: epoch, stubs: stubs)
        try await sandbox.run(
            "configure the packages",
            ["/usr/bin/dpkg", "--force-unsafe-io", "--force-confold", "--configure", "-a"])
        let audit = try await sandbox.run("audit the packages", ["/usr/bin/dpkg", "--audit"])
        guard audit.isEmpty else {
            throw AssemblyFault(.configuration, "dpkg --audit finds packages that are not whole:\n\(audit)")
        }
        for path in placeholders { try directory.removeFile(path) }
    }

    /// The accounts that every package counts on, before the first script runs: base-passwd's own script needs them too.
    private func prepareAccounts(in directory: RootDirectory) throws(AssemblyFault) {
        for (master, account) in [("passwd.master", "passwd"), ("group.master", "group")] {
            guard try !directory.exists("etc/\(account)"),
                let content = try directory.contents("usr/share/base-passwd/\(master)")
            else { continue }
            try directory.replaceFile("etc/\(account)", with: content)
        }
    }
}
