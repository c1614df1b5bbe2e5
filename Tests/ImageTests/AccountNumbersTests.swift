import Assembly
import DebianArchive
import Fault
import FileIO
import FileTree
import Manifest
import SystemPackage
import TestSupport
import Testing

@Suite("Numbers of accounts")
struct AccountNumbersTests {
    private static let passwd = """
        root:x:0:0:root:/root:/bin/sh
        www-data:x:33:33:www-data:/var/www:/usr/sbin/nologin
        avahi:x:100:102::/run/avahi:/usr/sbin/nologin
        postgres:x:101:103::/var/lib/postgresql:/bin/bash
        redis:x:102:104::/var/lib/redis:/usr/sbin/nologin

        """
    private static let group = """
        root:x:0:
        www-data:x:33:
        avahi:x:102:
        postgres:x:103:redis
        redis:x:104:

        """

    private func tree(passwd: String = passwd, group: String = group) throws -> FileTree {
        var tree = FileTree(modified: 0)
        for (path, text) in [("etc/passwd", passwd), ("etc/group", group)] {
            try tree.insert(FileInode(.regular(.bytes(Array(text.utf8))), permissions: 0o644), at: path)
        }
        // tag, permissions and number: user 101 and group 104 may read.
        let list: [UInt8] = [
            2, 0, 0, 0, 1, 0, 6, 0, 255, 255, 255, 255, 2, 0, 4, 0, 101, 0, 0, 0, 8, 0, 4, 0, 104, 0, 0, 0,
        ]
        try tree.insert(
            FileInode(
                .regular(.bytes([])), permissions: 0o600, owner: 101, group: 103,
                extendedAttributes: ["system.posix_acl_access": list]), at: "var/lib/postgresql/data")
        try tree.insert(FileInode(.directory, permissions: 0o755, owner: 100, group: 104), at: "var/lib/other")
        return tree
    }

    private func manifest(_ additions: String = "") throws -> Manifest {
        let directory = try TemporaryDirectory()
        let path = directory.path.appending("m.yaml")
        try path.replaceContents(with: "product: x\n" + additions)
        return try Manifest.load(path)
    }

    private func text(_ path: String, _ tree: FileTree) throws -> String {
        String(decoding: try tree.contents(of: path), as: UTF8.self)
    }

    @Test("a first build keeps what its scripts gave, and locks all but Debian's own numbers")
    func first() throws {
        var tree = try tree()
        let accounts = try AccountNumbers(LockedAccounts(), manifest: manifest()).apply(to: &tree)
        #expect(try text("etc/passwd", tree) == Self.passwd)
        #expect(accounts.groups == ["avahi": 102, "postgres": 103, "redis": 104])
        #expect(accounts.users["redis"] == .init(uid: 102, gid: 104))
        #expect(accounts.users.keys.sorted() == ["avahi", "postgres", "redis"])
    }

    @Test("later builds have the numbers of the first, in files, lists and account files, and a new account a free one")
    func later() throws {
        // As a first image without avahi had them; memcached is in no image any more.
        let locked = LockedAccounts(
            users: [
                "postgres": .init(uid: 100, gid: 102), "redis": .init(uid: 101, gid: 103),
                "memcached": .init(uid: 999, gid: 998),
            ], groups: ["postgres": 102, "redis": 103, "memcached": 998])
        var tree = try tree()
        let accounts = try AccountNumbers(locked, manifest: manifest()).apply(to: &tree)
        #expect(
            try text("etc/passwd", tree) == """
                root:x:0:0:root:/root:/bin/sh
                www-data:x:33:33:www-data:/var/www:/usr/sbin/nologin
                avahi:x:998:999::/run/avahi:/usr/sbin/nologin
                postgres:x:100:102::/var/lib/postgresql:/bin/bash
                redis:x:101:103::/var/lib/redis:/usr/sbin/nologin

                """)
        #expect(
            try text("etc/group", tree)
                == "root:x:0:\nwww-data:x:33:\navahi:x:999:\npostgres:x:102:redis\nredis:x:103:\n")
        let data = try #require(tree["var/lib/postgresql/data"])
        #expect(data.owner == 100 && data.group == 102)
        #expect(
            data.extendedAttributes["system.posix_acl_access"] == [
                2, 0, 0, 0, 1, 0, 6, 0, 255, 255, 255, 255, 2, 0, 4, 0, 100, 0, 0, 0, 8, 0, 4, 0, 103, 0, 0, 0,
            ])
        let other = try #require(tree["var/lib/other"])
        #expect(other.owner == 998 && other.group == 103)
        #expect(accounts.users["memcached"] == .init(uid: 999, gid: 998))
        #expect(accounts.users["avahi"] == .init(uid: 998, gid: 999))
        // What is locked now stays.
        var again = try self.tree()
        #expect(try AccountNumbers(accounts, manifest: manifest()).apply(to: &again) == accounts)
        #expect(try text("etc/passwd", again) == text("etc/passwd", tree))
    }

    @Test("an account gets the number that the manifest asks for, whoever had it while the scripts ran")
    func asked() throws {
        // 'web' is made after the scripts and has what is left; 100 is avahi's by then.
        var tree = try tree(
            passwd: Self.passwd + "web:x:998:998::/:/bin/sh\nworker:x:1000:1000::/:/bin/sh\n",
            group: Self.group + "web:x:998:\nworker:x:1000:\n")
        try tree.insert(FileInode(.regular(.bytes([])), permissions: 0o600, owner: 998, group: 998), at: "srv/web")
        let locked = LockedAccounts(users: ["gone": .init(uid: 1000, gid: 1000)])
        let manifest = try manifest("users: [{name: web, uid: 100}]\n")
        let accounts = try AccountNumbers(locked, manifest: manifest).apply(to: &tree)
        let lines = try text("etc/passwd", tree).split(separator: "\n").suffix(5).map(String.init)
        #expect(
            lines == [
                "avahi:x:999:102::/run/avahi:/usr/sbin/nologin", "postgres:x:101:103::/var/lib/postgresql:/bin/bash",
                "redis:x:102:104::/var/lib/redis:/usr/sbin/nologin", "web:x:100:100::/:/bin/sh",
                "worker:x:1001:1000::/:/bin/sh",
            ])
        let file = try #require(tree["srv/web"])
        #expect(file.owner == 100 && file.group == 100)
        #expect(accounts.users["web"] == .init(uid: 100, gid: 100))
        let again = try self.manifest("users: [{name: www-data, uid: 40}]\n")
        #expect {
            var tree = try self.tree()
            _ = try AccountNumbers(LockedAccounts(), manifest: again).apply(to: &tree)
        } throws: {
            "\($0)".hasSuffix(
                "the user 'www-data' cannot have the number 40: it has 33 wherever it is installed; leave its number out"
            )
        }
    }

    @Test("a number that the manifest or Debian itself gives and the lock has not is refused by the account's name")
    func refused() throws {
        func message(_ locked: LockedAccounts, _ additions: String = "", passwd: String = Self.passwd) -> String {
            do {
                var tree = try tree(passwd: passwd)
                _ = try AccountNumbers(locked, manifest: manifest(additions)).apply(to: &tree)
                return "no fault"
            } catch { return "\(error)" }
        }
        #expect(
            message(
                LockedAccounts(users: ["redis": .init(uid: 150, gid: 104)]), "users: [{name: redis, uid: 102}]\n"
            ).hasSuffix(
                "m.yaml:2:28: the user 'redis' would get the number 102, and the lock has 150 for it: what hosts have below "
                    + "/var belongs to 150; leave its number out, or give the image another name"))
        #expect(
            message(
                LockedAccounts(users: ["gone": .init(uid: 102, gid: 104)]), "users: [{name: redis, uid: 102}]\n"
            ).hasSuffix(
                "m.yaml:2:28: the user 'redis' cannot have the number 102, which the lock has given to 'gone'; choose another "
                    + "number for 'redis', or leave it out"))
        let fixed = Self.passwd + "libuuid:x:64045:102::/:/bin/sh\n"
        #expect(
            message(LockedAccounts(users: ["libuuid": .init(uid: 120, gid: 120)]), passwd: fixed).hasPrefix(
                "libuuid: the user 'libuuid' would get the number 64045, and the lock has 120 for it"))
    }
}
