import Command
import FileIO
import SystemPackage

/// An ordinary user with a range of subordinate IDs, who exists only for the commands run here: in a mount namespace whose
/// account files are other ones.
struct OrdinaryUser {
    private static let identifier = "4242"

    /// Its home, which everybody may enter.
    let home: FilePath
    private let accounts: FilePath

    /// Makes the account's files in `directory`.
    init(in directory: FilePath) async throws {
        home = directory.appending("home")
        accounts = directory.appending("accounts")
        for path in [home, accounts] { try path.makeDirectories() }
        let passwd =
            try FilePath("/etc/passwd").text() + "builder:x:\(Self.identifier):\(Self.identifier)::\(home):/bin/sh\n"
        try accounts.appending("passwd").replaceContents(with: passwd)
        let group = try FilePath("/etc/group").text() + "builder:x:\(Self.identifier):\n"
        try accounts.appending("group").replaceContents(with: group)
        for name in ["subuid", "subgid"] {
            try accounts.appending(name).replaceContents(with: "builder:300000:65536\n")
            try accounts.appending("no-\(name)").replaceContents(with: "")
        }
        // Private directories between here and there would hide the home from its owner.
        try await Command("chmod", ["0755", directory.string]).run()
    }

    /// Runs `program` as that user, with its home as the current directory.
    ///
    /// - Parameter hasRange: whether the user may use the subordinate IDs.
    func outcome(_ program: [String], hasRange: Bool = true) async throws -> Command.Outcome {
        try await Command("chown", ["-R", "\(Self.identifier):\(Self.identifier)", home.string]).run()
        let ranges = ["subuid", "subgid"].map { (hasRange ? $0 : "no-\($0)", $0) }
        let binds = ([("passwd", "passwd"), ("group", "group")] + ranges)
            .map { "touch /etc/\($1); mount --bind \(accounts)/\($0) /etc/\($1)\n" }.joined()
        let script =
            "set -eu\n\(binds)cd \(home)\nexec setpriv --reuid=\(Self.identifier) --regid=\(Self.identifier) --clear-groups "
            + "env HOME=\(home) TMPDIR=/var/tmp \"$@\""
        return try await Command("unshare", ["--mount", "sh", "-c", script, "sh"] + program).outcome()
    }
}
