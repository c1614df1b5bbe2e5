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
        _ additions: String, packages: [String], keeping brought: Set<String> = [], to files: [String: String]
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
        try HostFiles(manifest: try Manifest.load(path), packages: locked).apply(
            to: &tree, keeping: brought, epoch: 0)
        return tree
    }

    private static func names(_ tree: FileTree) -> [String] {
        tree.sortedPaths().filter {
            if case .directory? = tree[$0]?.kind { return false }
            return !$0.hasPrefix("usr/lib/")
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
        let path = try #require(units.first)
        #expect(units.count == 1)
        let name = try #require(path.split(separator: "/").last?.split(separator: ".").first)
        #expect(name.hasPrefix("ballast-first-boot-etc-munge-key-"))
        let work = try TemporaryDirectory()
        let file = work.path.appending("\(name).service")
        let text = try tree.contents(of: path)
        try file.replaceContents(with: text)
        let outcome = try await Command("systemd-analyze", ["verify", "--man=no", file.string]).outcome()
        // The script is in the image, and not on this machine.
        let complaints = outcome.errorText.split(separator: "\n").filter {
            $0.contains("ballast-first-boot") && !$0.contains("Command /usr/lib/ballast/first-boot is not executable")
        }
        #expect(complaints.isEmpty, "\(complaints)")
        let lines = String(decoding: text, as: UTF8.self).split(separator: "\n")
        #expect(
            lines.contains(
                #"ExecStart="/usr/lib/ballast/first-boot" "\#(name)" "leave" "once" "/etc/munge/*.key" "/etc/munge/.[!.]*.key" "--" "/bin/sh" "-c" "echo \"$$HOME\" 100%% 'a\\b' > /etc/munge/munge.key""#
            ))
    }

    @Test("what links lead to and hidden names go too, and a host finds them by the same patterns")
    func linkedAndHidden() async throws {
        let additions = """
            first_boot:
              - remove: /etc/app/key
              - remove: /var/lib/thing/*
                run: [/bin/true]
            """
        let tree = try Self.applied(
            additions, packages: [],
            to: [
                "etc/app": "->../var/lib/app", "var/lib/app/key": "x", "var/lib/app/other": "x",
                "var/lib/thing/.hidden": "x", "var/lib/thing/plain": "x", "var/lib/thing.conf": "x",
            ])
        #expect(Self.names(tree) == ["etc/app", "var/lib/app/other", "var/lib/thing.conf"])
        let unit = try #require(tree.sortedPaths().first { $0.hasSuffix(".service") })
        let text = String(decoding: try tree.contents(of: unit), as: UTF8.self)
        #expect(text.contains(#" "/var/lib/thing/*" "/var/lib/thing/.[!.]*" "--" "/bin/true""#), "\(text)")
        // What is made is hidden: it is made once.
        let host = try TemporaryDirectory()
        let root = host.path
        try root.appending("var/lib/thing").makeDirectories()
        let script = String(decoding: try tree.contents(of: "usr/lib/ballast/first-boot"), as: UTF8.self)
        let words = [
            "thing", "leave", "once", "\(root)/var/lib/thing/*", "\(root)/var/lib/thing/.[!.]*", "--", "sh", "-c",
            "echo x >>\(root)/var/lib/thing/.key",
        ]
        for _ in 0..<2 { #expect(try await Self.run(script, words, in: root) == 0) }
        #expect(try root.appending("var/lib/thing/.key").text() == "x\n")
    }

    @Test("what the manifest itself brings stays")
    func brought() throws {
        let tree = try Self.applied(
            "", packages: ["openssh-server", "postgresql-17"],
            keeping: ["etc/ssh/ssh_host_ed25519_key", "etc/postgresql/17/main/conf.d/own.conf"],
            to: [
                "etc/ssh/ssh_host_ed25519_key": "x", "etc/ssh/ssh_host_rsa_key": "x",
                "etc/postgresql/17/main/conf.d/own.conf": "x", "etc/postgresql/17/main/postgresql.conf": "x",
            ])
        let own = Self.names(tree).filter { $0.hasPrefix("etc/") }
        #expect(own == ["etc/postgresql/17/main/conf.d/own.conf", "etc/ssh/ssh_host_ed25519_key"])
    }

    /// Runs the script of the image as a host with its root below a directory would.
    private static func run(
        _ script: String, _ arguments: [String], in root: FilePath, version: String = "1.0.0"
    ) async throws -> Int {
        let file = root.appending("script")
        try root.appending("os-release").replaceContents(with: "IMAGE_VERSION=\(version)\n")
        let text = script.replacing("/var/lib/ballast", with: "\(root)/var").replacing("sync -f /etc", with: "true")
            .replacing("/usr/lib/os-release", with: "\(root)/os-release")
        try file.replaceContents(with: text)
        return try await Command("sh", [file.string] + arguments).outcome().status
    }

    @Test("files are made once, again after an interruption, and come back where /etc is forgotten")
    func script() async throws {
        let tree = try Self.applied("etc: ephemeral\n", packages: ["openssh-server"], to: [:])
        let script = String(decoding: try tree.contents(of: "usr/lib/ballast/first-boot"), as: UTF8.self)
        let work = try TemporaryDirectory()
        let root = work.path
        let etc = root.appending("etc")
        for directory in [etc, root.appending("var")] { try directory.makeDirectories() }
        let make = "date +%N >\(etc)/a.key; date +%N >\(etc)/b.pem"
        let arguments = ["name", "keep", "once", "\(etc)/*.key", "\(etc)/b.pem", "--", "sh", "-c", make]
        func both() throws -> [String] { try ["a.key", "b.pem"].map { try etc.appending($0).text() } }

        #expect(try await Self.run(script, arguments, in: root) == 0)
        let first = try both()
        #expect(try await Self.run(script, arguments, in: root) == 0)
        #expect(try both() == first)
        for name in ["a.key", "b.pem"] { try etc.appending(name).removeTree() }
        #expect(try await Self.run(script, arguments, in: root) == 0)
        #expect(try both() == first, "what was kept came back")

        // A command that has made nothing is run again, once there is something to make.
        let late = [
            "idle", "keep", "once", "\(etc)/late", "--", "sh", "-c", "[ ! -e \(etc)/cause ] || echo made >\(etc)/late",
        ]
        #expect(try await Self.run(script, late, in: root) == 0)
        try etc.appending("cause").replaceContents(with: "")
        #expect(try await Self.run(script, late, in: root) == 0)
        #expect(try etc.appending("late").text() == "made\n")

        // An attempt that fails halfway is not taken for done.
        let other = root.appending("other")
        try other.makeDirectories()
        let failing = ["late", "leave", "once", "\(other)/*", "--", "sh", "-c", "echo half >\(other)/x; exit 1"]
        #expect(try await Self.run(script, failing, in: root) == 1)
        let working = [
            "late", "leave", "once", "\(other)/*", "--", "sh", "-c", "[ ! -e \(other)/x ] && echo whole >\(other)/x",
        ]
        #expect(try await Self.run(script, working, in: root) == 0)
        #expect(try other.appending("x").text() == "whole\n")
    }
    @Test("what is to be renewed is made anew by each other version, and stays over the boots of one")
    func renewal() async throws {
        let tree = try Self.applied(
            "first_boot: [{remove: /var/cache/x, run: [/bin/true], renew: true}]\n", packages: [], to: [:])
        let units = tree.sortedPaths().filter { $0.hasSuffix(".service") }
        #expect(try units.contains { String(decoding: try tree.contents(of: $0), as: UTF8.self).contains("\"renew\"") })
        let script = String(decoding: try tree.contents(of: "usr/lib/ballast/first-boot"), as: UTF8.self)
        let work = try TemporaryDirectory()
        let (root, cache) = (work.path, work.path.appending("cache"))
        for directory in [cache, root.appending("var")] { try directory.makeDirectories() }
        var made: [String: [String]] = [:]
        for mode in ["once", "renew"] {
            for version in ["1.0.0", "1.0.0", "1.1.0", "1.0.0"] {
                let arguments = [
                    mode, "leave", mode, "\(cache)/\(mode)", "--", "sh", "-c", "date +%N >\(cache)/\(mode)",
                ]
                #expect(try await Self.run(script, arguments, in: root, version: version) == 0)
                made[mode, default: []].append(try cache.appending(mode).text())
            }
        }
        #expect(Set(made["once"] ?? []).count == 1)
        let renewed = try #require(made["renew"])
        #expect(renewed[0] == renewed[1] && Set(renewed).count == 3)
        // A version that cannot make them leaves nothing that counts as made.
        let failing = [
            "renew", "leave", "renew", "\(cache)/renew", "--", "sh", "-c", "echo half >\(cache)/renew; exit 1",
        ]
        #expect(try await Self.run(script, failing, in: root, version: "2.0.0") == 1)
        let arguments = ["renew", "leave", "renew", "\(cache)/renew", "--", "sh", "-c", "echo whole >\(cache)/renew"]
        #expect(try await Self.run(script, arguments, in: root, version: "1.0.0") == 0)
        #expect(try cache.appending("renew").text() == "whole\n")
    }
}
