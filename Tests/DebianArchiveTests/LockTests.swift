import Cryptography
import DebianArchive
import Fault
import FileIO
import JSON
import Manifest
import SystemPackage
import Testing

@Suite("The lock")
struct LockTests {
    private static let digest = SHA256Digest(of: Array("x".utf8))

    private static func package(_ name: String, _ version: String = "1.0-1") -> LockedPackage {
        LockedPackage(
            name: name, version: version, architecture: "amd64", path: "pool/main/\(name)_\(version)_amd64.deb",
            size: 100, digest: digest, suite: "trixie")
    }

    private static let lock = Lock(
        architecture: "amd64",
        suites: [
            .init(
                name: "trixie", date: 1_789_199_741, digest: digest, keys: ["4D64FEC119C2029067D6E791F8D2585B8783D481"]),
            .init(name: "trixie-security", date: 1_795_222_383, digest: digest, keys: []),
        ],
        packages: [package("b"), package("a", "1:2~rc1+b1")],
        accounts: LockedAccounts(
            users: ["postgres": .init(uid: 100, gid: 102), "sshd": .init(uid: 101, gid: 65534)],
            groups: ["postgres": 102]),
        requestDigest: digest)

    private func parse(_ text: String) throws -> Lock { try Lock(parsing: Array(text.utf8), source: "m.lock") }

    @Test("what is written reads back the same, one package a line, sorted, with the newest date as epoch")
    func roundTrip() throws {
        let lock = Self.lock
        let text = lock.text
        #expect(try parse(text) == lock)
        #expect(lock.epoch == 1_795_222_383)
        #expect(lock.packages.map(\.name) == ["a", "b"])
        #expect(text.hasSuffix("}\n"))
        let rows = text.split(separator: "\n").filter { $0.contains("\"name\": \"a\"") }
        #expect(rows.count == 1 && rows.first?.contains("\"version\": \"1:2~rc1+b1\"") == true)
    }

    @Test(
        "a lock that was edited is refused and says so",
        arguments: [
            ("\"size\": 100", "\"size\": 101"), ("\"version\": \"1.0-1\"", "\"version\": \"1.0-2\""),
            ("\"path\": \"pool/main/b", "\"path\": \"pool/other/b"), ("\"name\": \"b\"", "\"name\": \"c\""),
            ("\"request\": \"2d7", "\"request\": \"3d7"),
        ])
    func edited(old: String, new: String) throws {
        let text = Self.lock.text
        #expect(text.contains(old))
        let fault = try #require(throws: DebianArchiveFault.self) { try parse(text.replacing(old, with: new)) }
        #expect(fault.code == .lockDamaged)
        #expect("\(fault)".hasPrefix("m.lock: the lock was changed after it was written: its digest says "))
        #expect(
            "\(fault)".hasSuffix(
                "; restore the lock from version control; without it, remove the file and run 'ballast lock': accounts then get "
                    + "new numbers"))
    }

    @Test("a row that was taken out is noticed")
    func removedRow() throws {
        var lines = Self.lock.text.split(separator: "\n", omittingEmptySubsequences: false)
        let row = try #require(lines.firstIndex { $0.contains("\"name\": \"a\"") })
        lines.remove(at: row)
        let fault = try #require(throws: DebianArchiveFault.self) { try parse(lines.joined(separator: "\n")) }
        #expect(fault.message.hasPrefix("the lock was changed after it was written"))
    }

    /// A lock whose own digest is right, so that only the rule under test can refuse it.
    private func sealed(_ change: (inout Lock) -> Void) -> String {
        var lock = Self.lock
        change(&lock)
        return lock.text
    }

    @Test(
        "paths that leave the mirror are refused, even with a right digest",
        arguments: [
            "../etc/x.deb", "/etc/x.deb", "pool//x.deb", "pool/./x.deb", "pool/a/../../x.deb", "pool/x.deb?y", "pool/x",
            "pool/a b.deb", "pool/\u{0}.deb", "",
        ])
    func paths(path: String) throws {
        let text = sealed { $0.packages[0].path = path }
        let fault = try #require(throws: DebianArchiveFault.self) { try parse(text) }
        #expect(
            fault.message == "packages[0]: 'a' has a name, version or path that no package has")
        #expect(fault.code == .lockDamaged)
    }

    @Test("doubled packages, strange suites and architectures, and sizes beyond reason are refused")
    func values() throws {
        func message(_ change: (inout Lock) -> Void) throws -> String {
            let text = sealed(change)
            return try #require(throws: DebianArchiveFault.self) { try parse(text) }.message
        }
        #expect(try message { $0.packages[1].name = "a" } == "packages[1]: 'a' stands twice, as 1:2~rc1+b1 and 1.0-1")
        #expect(
            try message { $0.packages[0].suite = "sid" }
                == "packages[0]: 'a' is of the suite 'sid', which the lock does not have")
        #expect(
            try message { $0.packages[0].architecture = "arm64" }
                == "packages[0]: 'a' is for arm64, and the lock for amd64")
        #expect(try message { $0.packages[0].size = 0 } == "packages[0].size: 0 is outside 1...4294967296")
        #expect(
            try message { $0.packages[0].version = "1;rm" }
                == "packages[0]: 'a' has a name, version or path that no package has")
    }

    @Test("numbers that no account may have, or that two have, are refused")
    func accounts() throws {
        func message(_ accounts: LockedAccounts) throws -> String {
            let text = sealed { $0.accounts = accounts }
            return try #require(throws: DebianArchiveFault.self) { try parse(text) }.message
        }
        #expect(
            try message(LockedAccounts(users: ["app": .init(uid: 0, gid: 100)]))
                == "accounts.users[0].uid: 0 is outside 100...59999")
        #expect(
            try message(LockedAccounts(groups: ["a": 998, "b": 998])) == "accounts: two accounts have the same number")
        #expect(try message(LockedAccounts(groups: ["a:b": 998])).hasSuffix("is not the name of an account"))
        #expect(throws: DebianArchiveFault.self) { try parse(sealed { $0.suites[0].name = "../x" }) }
    }

    @Test("a suite that is older than the one of the old lock is refused")
    func older() throws {
        var older = Self.lock
        older.suites[1].date -= 1
        try Self.lock.requireNotOlder(than: older)
        let fault = #expect(throws: DebianArchiveFault.self) { try older.requireNotOlder(than: Self.lock) }
        #expect(
            fault?.description
                == "the Release file of 'trixie-security' is dated 2026-11-21T00:53:02Z, and the lock was made from that of "
                + "2026-11-21T00:53:03Z; use a mirror that is up to date, or give --allow-older")
    }

    @Test("what is no lock is refused with its place", arguments: ["", "{", "[]", "{\"format\": 3}", "<<<<<<< HEAD\n"])
    func noLock(text: String) throws {
        let fault = try #require(throws: DebianArchiveFault.self) { try parse(text) }
        #expect(fault.code == .lockDamaged)
        #expect("\(fault)".hasPrefix("m.lock"))
    }

    @Test("a lock cut anywhere is refused", arguments: Array(stride(from: 0, to: 1200, by: 37)))
    func cut(length: Int) {
        let text = Self.lock.text
        guard length < text.count - 1 else { return }
        #expect(throws: DebianArchiveFault.self) { try parse(String(text.prefix(length))) }
    }

    @Test("no lock, and a lock for another manifest, say what to do")
    func missingAndStale() throws {
        let missing = try #require(throws: DebianArchiveFault.self) { try Lock.load("/nonexistent/m.lock") }
        #expect("\(missing)" == "/nonexistent/m.lock: there is no lock; run 'ballast lock MANIFEST' first")
        let stale = try #require(throws: DebianArchiveFault.self) {
            try Self.lock.requireFresh(for: SHA256Digest(of: []), path: "m.lock", of: "m.yaml")
        }
        #expect(
            "\(stale)"
                == "m.lock: what the manifest says of packages has changed since this lock was made; run 'ballast lock m.yaml' again"
        )
        try Self.lock.requireFresh(for: Self.digest, path: "m.lock")
    }

    @Test("changes between two locks are one line each")
    func changes() {
        var new = Self.lock
        new.packages = [Self.package("a", "2"), Self.package("c")]
        #expect(
            LockChanges(from: Self.lock, to: new).lines(size: { "\($0) B" })
                == [" a 1:2~rc1+b1 -> 2 (+0 B)", "-b 1.0-1 (100 B)", "+c 1.0-1 (100 B)"])
        #expect(LockChanges(from: new, to: new).changes == [])
    }

    private func manifest(_ archive: LocalArchive, _ text: String) throws -> Manifest {
        let path = archive.root.appending("m.yaml")
        try path.replaceContents(with: text)
        return try Manifest.load(path)
    }

    private static func moves(from old: Lock, to new: Lock) -> [String] {
        LockChanges(from: old, to: new).changes.map {
            "\($0.name) \($0.old?.version ?? "none") -> \($0.new?.version ?? "none")"
        }
    }

    @Test("a lock takes from each suite what is newest, and an update moves only what it names")
    func update() async throws {
        let archive = try await LocalArchive()
        try await archive.publish([
            .init(name: "base-files", fields: ["Essential": "yes"]), .init(name: "kernel"), .init(name: "aa"),
            .init(name: "bb"),
        ])
        try await archive.publish(
            [.init(name: "aa", version: "2"), .init(name: "bb", version: "2")], suite: "trixie-security")
        let text = "product: x\nkernel: {package: kernel}\npackages: {install: [aa, bb]}\n"
        let manifest = try manifest(archive, text + "distribution: {suites: [trixie, trixie-security]}\n")
        let both = ["trixie", "trixie-security"]
        let old = try await Lock.resolve(manifest, suites: ["trixie"], from: archive.client())
        #expect(old.packages.map { "\($0.name) \($0.version)" } == ["aa 1", "base-files 1", "bb 1", "kernel 1"])
        #expect(old.requestDigest == manifest.requestDigest)
        let moved = try await Lock.resolve(
            manifest, suites: both, from: archive.client(), replacing: old, updating: ["bb"])
        #expect(Self.moves(from: old, to: moved) == ["bb 1 -> 2"])
        #expect(moved.packages.first { $0.name == "bb" }?.suite == "trixie-security")
        let new = try await Lock.resolve(manifest, from: archive.client())
        #expect(Self.moves(from: old, to: new) == ["aa 1 -> 2", "bb 1 -> 2"])
        let fault = await #expect(throws: DebianArchiveFault.self) {
            try await Lock.resolve(
                manifest, suites: both, from: archive.client(), replacing: old, updating: ["base-file"])
        }
        #expect(
            fault?.description
                == "'base-file' is to be updated and is not in the lock; did you mean 'base-files'?")
    }
}
