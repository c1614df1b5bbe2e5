import Assembly
import FileTree
import Testing

@Suite("What an image brings for /var")
struct VarFactoryTests {
    /// A tree with the accounts `svc` (990) and `www` (33), and tmpfiles.d of a package.
    private func tree(package settings: String = "") throws -> FileTree {
        var tree = FileTree()
        for (path, text) in [
            ("etc/passwd", "root:x:0:0::/:/bin/sh\nsvc:x:990:990::/:\nwww:x:33:33::/:\n"),
            ("etc/group", "root:x:0:\nsvc:x:990:\nwww:x:33:\n"), ("usr/lib/tmpfiles.d/package.conf", settings),
        ] {
            try tree.insert(file(text), at: path)
        }
        return tree
    }

    private func file(_ text: String, permissions: UInt16 = 0o644, owner: UInt32 = 0) -> FileInode {
        FileInode(
            .regular(.bytes(Array(text.utf8))), permissions: permissions, owner: owner, group: owner, modified: 0)
    }

    private func directory(owner: UInt32, permissions: UInt16 = 0o755) -> FileInode {
        FileInode(.directory, permissions: permissions, owner: owner, group: owner, modified: 0)
    }

    /// The lines for what no package makes, and those that go before a package's.
    private func lines(of tree: inout FileTree) throws -> (after: [String], before: [String]) {
        try VarFactory(accounts: tree, epoch: 0).replaceVar(in: &tree)
        #expect(tree["var"] == nil)
        func lines(_ name: String) throws -> [String] {
            let path = "usr/lib/tmpfiles.d/\(name)-ballast-var.conf"
            guard tree[path] != nil else { return [] }
            return String(decoding: try tree.contents(of: path), as: UTF8.self).split(separator: "\n").map(String.init)
                .filter { !$0.hasPrefix("#") }
        }
        return (try lines("zz"), try lines("00"))
    }

    @Test("files come with mode and owner by name, and their names are escaped")
    func plain() throws {
        var tree = try tree()
        try tree.insert(directory(owner: 990, permissions: 0o2750), at: "var/lib/svc")
        try tree.insert(file("x", permissions: 0o600, owner: 990), at: "var/lib/svc/100% \"a\\b\".txt")
        try tree.insert(FileInode(.symbolicLink(target: "a b"), permissions: 0o777, modified: 0), at: "var/lib/link")
        try tree.insert(file("log"), at: "var/log/old.log")
        try tree.insert(directory(owner: 33), at: "var/log/www")
        let lines = try lines(of: &tree)
        #expect(
            lines.after == [
                "d /var/lib :0755 :root :root -", "L /var/lib/link - - - - a\\x20b",
                "d /var/lib/svc :2750 :svc :svc -",
                "C /var/lib/svc/100%%\\x20\\x22a\\x5cb\\x22.txt :0600 :svc :svc - "
                    + "/usr/share/factory/var/lib/svc/100%%\\x20\\x22a\\x5cb\\x22.txt",
                "d /var/log :0755 :root :root -", "d /var/log/www :0755 :www :www -",
            ])
        #expect(lines.before == [])
        #expect(tree["usr/share/factory/var/lib/svc"]?.permissions == 0o2750)
        #expect(try tree.contents(of: "usr/share/factory/var/lib/svc/100% \"a\\b\".txt") == Array("x".utf8))
        #expect(tree["usr/share/factory/var/log"] == nil)
    }

    @Test(
        "a file that a package would make empty comes before it, and what it makes whole is left to it",
        arguments: [
            ("f /var/lib/site 0644 root root", true), ("f /var/lib/site 0644 root root - -", true),
            ("f /var/lib/site 0644 root root - its own", false), ("C /var/lib/site", false),
            ("z /var/lib/site 0644", nil),
        ])
    func made(settings: String, comesBefore: Bool?) throws {
        var tree = try tree(package: "d /var/lib\n" + settings + "\n")
        try tree.insert(file("of the image"), at: "var/lib/site")
        let lines = try lines(of: &tree)
        let line = ["C /var/lib/site :0644 :root :root - /usr/share/factory/var/lib/site"]
        #expect(lines.after == (comesBefore == nil ? line : []))
        #expect(lines.before == (comesBefore == true ? line : []))
    }

    @Test("what the manifest brings comes before whatever a package makes of the path")
    func brought() throws {
        var tree = try tree(
            package: "d /var/lib\nd /var/srv 0755 root root\nC /var/lib/site\nL /var/lib/link - - - - /a\n")
        try tree.insert(directory(owner: 33, permissions: 0o2775), at: "var/srv")
        try tree.insert(file("of the manifest"), at: "var/lib/site")
        try tree.insert(FileInode(.symbolicLink(target: "b"), permissions: 0o777, modified: 0), at: "var/lib/link")
        try VarFactory(accounts: tree, epoch: 0, keeping: ["var/srv", "var/lib/site", "var/lib/link"])
            .replaceVar(in: &tree)
        let text = String(decoding: try tree.contents(of: "usr/lib/tmpfiles.d/00-ballast-var.conf"), as: UTF8.self)
        #expect(
            text.split(separator: "\n").dropFirst() == [
                "L /var/lib/link - - - - b", "C /var/lib/site :0644 :root :root - /usr/share/factory/var/lib/site",
                "d /var/srv :2775 :www :www -",
            ])
    }

    @Test("a file of the same name in /etc takes the place of a package's settings")
    func masked() throws {
        var tree = try tree(package: "d /var/lib\nC /var/lib/site\n")
        try tree.insert(
            FileInode(.symbolicLink(target: "/dev/null"), permissions: 0o777, modified: 0),
            at: "etc/tmpfiles.d/package.conf")
        try tree.insert(file("of the image"), at: "var/lib/site")
        #expect(
            try lines(of: &tree).after == [
                "d /var/lib :0755 :root :root -", "C /var/lib/site :0644 :root :root - /usr/share/factory/var/lib/site",
            ])
    }

    @Test(
        "a directory of one account below one of another is copied as a whole",
        arguments: [("", UInt32(990)), ("d /var/lib/svc 0755 svc svc\n", 0), ("d /var/lib/svc :0755 :990 990\n", 0)])
    func foreign(settings: String, owner: UInt32) throws {
        var tree = try tree(package: "d /var/lib\n" + settings)
        try tree.insert(directory(owner: owner), at: "var/lib/svc")
        try tree.insert(file("top"), at: "var/lib/svc/top")
        try tree.insert(file("deep"), at: "var/lib/svc/sub/deep/file")
        try tree.insert(directory(owner: 33), at: "var/lib/svc/sub/empty")
        let made = settings.isEmpty ? ["d /var/lib/svc :0755 :svc :svc -"] : []
        #expect(
            try lines(of: &tree).after == made + [
                "C /var/lib/svc/sub - - - - /usr/share/factory/var/lib/svc/sub",
                "C /var/lib/svc/top :0644 :root :root - /usr/share/factory/var/lib/svc/top",
            ])
        #expect(tree["usr/share/factory/var/lib/svc/sub/empty"]?.owner == 33)
        #expect(try tree.contents(of: "usr/share/factory/var/lib/svc/sub/deep/file") == Array("deep".utf8))
    }

    @Test("a directory below one of root's, or of the same account, is no such directory")
    func own() throws {
        var tree = try tree(package: "d /var/lib\n")
        try tree.insert(directory(owner: 990), at: "var/lib/svc")
        try tree.insert(directory(owner: 990), at: "var/lib/svc/sub")
        #expect(
            try lines(of: &tree).after == [
                "d /var/lib/svc :0755 :svc :svc -", "d /var/lib/svc/sub :0755 :svc :svc -",
            ])
    }
}
