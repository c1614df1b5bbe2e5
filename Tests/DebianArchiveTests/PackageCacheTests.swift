import Cryptography
import DebianArchive
import Fault
import FileIO
import Synchronization
import SystemPackage
import Testing

@Suite("The package cache")
struct PackageCacheTests {
    private static let content = (0..<300_000).map { UInt8(truncatingIfNeeded: $0 * 7 + ($0 >> 8)) }

    private func archive() async throws -> (LocalArchive, Lock, PackageCache) {
        let archive = try await LocalArchive()
        let index = PackageIndex(
            text: try Array(
                archive.index(
                    [.init(name: "a", content: Self.content)] + (0..<8).map { .init(name: "p\($0)") }, suite: "trixie"
                ).utf8), suite: "trixie", priority: 500, source: "test")
        let security = PackageIndex(
            text: try Array(archive.index([.init(name: "s")], suite: "trixie-security").utf8), suite: "trixie-security",
            priority: 500, source: "test")
        let digest = SHA256Digest(of: [])
        let lock = Lock(
            architecture: "amd64", suites: [],
            packages: [index, security].flatMap { index in
                index.entries.map { LockedPackage($0, suite: index.suite) }
            }, requestDigest: digest)
        return (archive, lock, PackageCache(archive.cache))
    }

    private func requests(_ archive: LocalArchive) -> [String] { archive.requests.filter { $0.hasSuffix(".deb") } }

    @Test("everything the lock names is fetched once, from the mirror its suite belongs to, and nothing else")
    func fetch() async throws {
        let (archive, lock, cache) = try await archive()
        #expect(cache.missing(of: lock.packages).count == 10)
        let counter = Counter()
        try await cache.fetch(lock.packages, from: PackageSources(mirror: archive.mirror)) { counter.add($0) }
        #expect(counter.value == lock.downloadSize)
        #expect(cache.missing(of: lock.packages).isEmpty)
        for package in lock.packages {
            #expect(throws: Never.self) { try cache.verify(package) }
            #expect(
                cache.path(of: package).string.hasSuffix(
                    "\(package.digest.description.prefix(2))/\(package.digest).deb"))
        }
        let expected = lock.packages.map { ($0.suite == "trixie" ? "/debian/" : "/debian-security/") + $0.path }
        #expect(requests(archive).sorted() == expected.sorted())
        try await cache.fetch(lock.packages, from: PackageSources(mirror: archive.mirror)) { counter.add($0) }
        #expect(requests(archive).count == 10)
        #expect(counter.value == lock.downloadSize)
    }

    @Test("a package that the mirror changed is refused by name, path and both digests, and not kept")
    func tampered() async throws {
        let (archive, lock, cache) = try await archive()
        var bytes = Self.content
        bytes[1000] ^= 1
        try archive.root.appending("debian/pool/main/a_1.deb").replaceContents(with: bytes)
        let fault = await #expect(throws: DebianArchiveFault.self) {
            try await cache.fetch(lock.packages, from: PackageSources(mirror: archive.mirror))
        }
        #expect(fault?.code == .digestMismatch)
        #expect(
            fault?.description.replacing(archive.mirror.main, with: "M")
                == "M/pool/main/a_1.deb: the package 'a' 1 is not what the lock names: expected SHA-256 "
                + "\(SHA256Digest(of: Self.content)) (300000 bytes), found \(SHA256Digest(of: bytes)) (300000 bytes); use "
                + "another mirror; if the archive itself changed it under the same version, run 'ballast lock' again")
        let package = try #require(lock.packages.first { $0.name == "a" })
        #expect(!cache.path(of: package).exists)
    }

    @Test("a package that was cut short, or an error page in its place, is refused by name")
    func otherLength() async throws {
        let (archive, lock, cache) = try await archive()
        for bytes in [Array(Self.content.dropLast()), Array("<html>".utf8), []] {
            try archive.root.appending("debian/pool/main/a_1.deb").replaceContents(with: bytes)
            let fault = await #expect(throws: DebianArchiveFault.self) {
                try await cache.fetch(lock.packages, from: PackageSources(mirror: archive.mirror))
            }
            #expect(fault?.message.contains("'a'") == true)
            let package = try #require(lock.packages.first { $0.name == "a" })
            #expect(!cache.path(of: package).exists)
        }
    }

    @Test("a fetch that was cut goes on with what is there, also where that is damaged")
    func resume() async throws {
        let (archive, lock, cache) = try await archive()
        let package = try #require(lock.packages.first { $0.name == "a" })
        let partial = FilePath(cache.path(of: package).string + ".part")
        try partial.removingLastComponent().makeDirectories()
        var beginning = Array(Self.content.prefix(200_000))
        for _ in 0..<2 {
            try partial.replaceContents(with: beginning)
            try await cache.fetch(lock.packages, from: PackageSources(mirror: archive.mirror))
            #expect(try cache.path(of: package).contents() == Self.content)
            #expect(!partial.exists)
            try cache.path(of: package).removeTree()
            beginning[5] ^= 1
        }
    }

    @Test("a package that was damaged in the cache is fetched anew")
    func damaged() async throws {
        let (archive, lock, cache) = try await archive()
        try await cache.fetch(lock.packages, from: PackageSources(mirror: archive.mirror))
        let package = try #require(lock.packages.first { $0.name == "a" })
        var bytes = Self.content
        bytes[7] ^= 1
        try cache.path(of: package).replaceContents(with: bytes)
        let fault = try #require(throws: DebianArchiveFault.self) { try cache.verify(package) }
        #expect(fault.message.hasPrefix("the package 'a' 1 is not what the lock names: expected SHA-256"))
        try await cache.fetch(lock.packages, from: PackageSources(mirror: archive.mirror))
        #expect(throws: Never.self) { try cache.verify(package) }
    }

    @Test("a package that the archive no longer has says what to do")
    func gone() async throws {
        let (archive, lock, cache) = try await archive()
        try archive.root.appending("debian/pool/main/p3_1.deb").removeTree()
        let fault = await #expect(throws: DebianArchiveFault.self) {
            try await cache.fetch(lock.packages, from: PackageSources(mirror: archive.mirror))
        }
        #expect(fault?.message == "the package 'p3' 1 cannot be fetched")
        #expect(fault?.remedy == "an archive drops old versions: use a snapshot mirror or run 'ballast lock' again")
    }
}

private final class Counter: Sendable {
    private let state = Mutex<Int64>(0)
    var value: Int64 { state.withLock { $0 } }
    func add(_ amount: Int64) { state.withLock { $0 += amount } }
}
