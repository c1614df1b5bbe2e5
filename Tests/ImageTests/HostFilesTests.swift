import Assembly
import Command
import Cryptography
import DebianArchive
import FileIO
import FileTree
import Manifest
import SystemPackage
import Testing

/// What each host makes for itself.
@Suite("Files of one host") struct HostFilesTests {
    private static func applied(
        _ additions: String, packages: [String], to files: [String: String]
    ) throws -> FileTree {
        let work = try TemporaryDirectory()
        let path = work.path.appending("image.yaml")
        try path.replaceContents(with: "product: test\n\(additions)")
        var tree = FileTree(modified: 0)
        for (path, content) in files {
            let kind: FileInode.Kind =
                content.hasPrefix("->") ? .symbolicLink(target: String(content.dropFirst(2))) : .regular(.bytes([1]))
            try tree.insert(FileInode(kind, permissions: 0o644), at: path)
        }
        let locked = packages.map {
            LockedPackage(
                name: $0, version: "1", architecture: "amd64", path: "pool/x.deb", size: 1,
                digest: SHA256Digest(of: []), suite: "trixie")
        }
        try HostFiles(manifest: try Manifest.load(path), packages: locked).apply(to: &tree, epoch: 0)
        return tree
    }

    private static func names(_ tree: FileTree) -> [String] {
        tree.sortedPaths().filter {
            if case .directory? = tree[$0]?.kind { return false }
            return !$0.hasPrefix("usr/lib/systemd")
        }
    }

    @Test("what a known package has made goes, with links named after it, and only then")
    func known() throws {
        let files = [
            "etc/ssh/ssh_host_rsa_key": "x", "etc/ssh/ssh_host_rsa_key.pub": "x", "etc/ssh/sshd_config": "x",
            "etc/ssl/private/ssl-cert-snakeoil.key": "x", "etc/ssl/certs/ssl-cert-snakeoil.pem": "x",
            "etc/ssl/certs/0123abcd.0": "->ssl-cert-snakeoil.pem", "etc/ssl/certs/4567abcd.0": "->other.pem",
            "etc/ssl/certs/other.pem": "x", "var/lib/postgresql/17/main/PG_VERSION": "x",
            "etc/postgresql/17/main/postgresql.conf": "x", "etc/postgresql-common/createcluster.conf": "x",
        ]
        let all = try Self.applied("", packages: [], to: files)
        #expect(Self.names(all).count == files.count)
        let tree = try Self.applied("", packages: ["openssh-server", "ssl-cert", "postgresql-17"], to: files)
        #expect(
            Self.names(tree) == [
                "etc/postgresql-common/createcluster.conf", "etc/ssh/sshd_config", "etc/ssl/certs/4567abcd.0",
                "etc/ssl/certs/other.pem",
            ])
    }

    @Test("systemd accepts the unit that makes them, whatever is in its command")
    func unit() async throws {
        let additions = #"""
            first_boot:
              - remove: /etc/munge/*.key
                run: [/bin/sh, -c, "echo \"$HOME\" 100% 'a\\b' > /etc/munge/munge.key"]
              - remove: /var/lib/thing/cookie
            """#
        let tree = try Self.applied(
            additions, packages: [],
            to: ["etc/munge/munge.key": "x", "etc/munge/deep/x.key": "x", "var/lib/thing/cookie": "x"])
        #expect(Self.names(tree) == ["etc/munge/deep/x.key"])
        let units = tree.sortedPaths().filter {
            $0.hasSuffix(".service") && !$0.contains(".wants/") && !$0.contains(".requires/")
        }
        #expect(units == ["usr/lib/systemd/system/ballast-first-boot-1.service"])
        let work = try TemporaryDirectory()
        let file = work.path.appending("ballast-first-boot-1.service")
        let text = try tree.contents(of: units[0])
        try file.replaceContents(with: text)
        let outcome = try await Command("systemd-analyze", ["verify", "--man=no", file.string]).outcome()
        #expect(outcome.status == 0 && !outcome.errorText.contains("ballast-first-boot"), "\(outcome.errorText)")
        let lines = String(decoding: text, as: UTF8.self).split(separator: "\n")
        #expect(lines.contains("ConditionPathExistsGlob=!/etc/munge/*.key"))
        #expect(
            lines.contains(
                #"ExecStart="/bin/sh" "-c" "echo \"$$HOME\" 100%% 'a\\b' > /etc/munge/munge.key""#))
    }

    @Test("where /etc is forgotten, what a host has made is kept beside it", arguments: ["ephemeral", "persistent"])
    func kept(etc: String) throws {
        let tree = try Self.applied(
            "etc: \(etc)\n", packages: ["openssh-server"], to: ["etc/ssh/ssh_host_rsa_key": "x"])
        let unit = String(
            decoding: try tree.contents(of: "usr/lib/systemd/system/ballast-first-boot-1.service"), as: UTF8.self)
        #expect(unit.contains("/usr/lib/ballast/first-boot") == (etc == "ephemeral"))
        #expect((tree["usr/lib/ballast/first-boot"] != nil) == (etc == "ephemeral"))
    }
}
