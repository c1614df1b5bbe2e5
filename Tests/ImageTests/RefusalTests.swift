import Assembly
import Command
import Cryptography
import DebianArchive
import Fault
import FileIO
import Glibc
import Manifest
import SystemPackage
import TestSupport
import Testing

/// What cannot be built leaves a sentence, and nothing in the output directory.
@Suite("Builds that must fail", .serialized, .timeLimit(.minutes(120)))
struct RefusalTests {
    private func fault(of build: ImageBuild) async -> String {
        do throws(AssemblyFault) {
            _ = try await build.run { _ in }
            return "it was built"
        } catch {
            return error.description
        }
    }

    private func expectNothing(in directory: FilePath) throws {
        let left = directory.exists ? try directory.directoryEntries() : []
        #expect(left == [])
    }

    @Test("an image larger than its slot is refused with the partition's name and the missing MiB")
    func tooLarge() async throws {
        let work = try TemporaryDirectory()
        let output = work.path.appending("out")
        let message = await fault(
            of: try await TestImage.build(in: work.path, output: output, additions: "disk: {slot: 128 MiB}\n"))
        #expect(message.contains("the root partition has 128.0 MiB and "), "\(message)")
        #expect(message.contains(" MiB are missing; raise 'disk.slot' in the manifest"), "\(message)")
        try expectNothing(in: output)
    }

    @Test(
        "what would lie where nothing of an image can be is refused with its line",
        arguments: [
            ("files: [{path: /run/app/x, content: x}]\n", 16, "/run/app/x", "each boot of a host begins it anew"),
            ("files: [{path: /tmp/x, content: x}]\n", 16, "/tmp/x", "each boot of a host begins it anew"),
            (
                "files: [{path: /boot/x, content: x}]\n", 16, "/boot/x",
                "boot files are on a partition of their own there"
            ),
            ("files: [{path: /etc/machine-id, content: x}]\n", 16, "/etc/machine-id", "each host has its own"),
            (
                "files: [{path: /usr/bin/ballastctl, content: x}]\n", 16, "/usr/bin/ballastctl",
                "the build itself writes it"
            ),
            ("files: [{path: /var/lib/dpkg/x, content: x}]\n", 16, "/var/lib/dpkg/x", "only the build reads it"),
            (
                "files: [{path: /etc/x/d/own, content: x}]\nfirst_boot: [{remove: /etc/x/*, run: [/bin/true], renew: true}]\n",
                16, "/etc/x/d/own", "a host's first boot removes what '/etc/x/*' of 'first_boot' covers"
            ),
            ("overlays: [tree]\n", 12, "/run/app", "each boot of a host begins it anew"),
        ])
    func noPlace(additions: String, column: Int, path: String, reason: String) async throws {
        let work = try TemporaryDirectory()
        let output = work.path.appending("out")
        try work.path.appending("tree/run/app").makeDirectories()
        let manifest = work.path.appending("image.yaml")
        try manifest.replaceContents(with: "product: x\n" + additions)
        let lockPath = work.path.appending("image.lock")
        try lockPath.replaceContents(with: "")
        let build = ImageBuild(
            manifest: try Manifest.load(manifest),
            lock: Lock(architecture: "amd64", suites: [], packages: [], requestDigest: SHA256Digest(of: [])),
            lockPath: lockPath, version: "1.0.0", cache: PackageCache(TestImage.cache), agent: try TestImage.agent(),
            output: output)
        let message = await fault(of: build)
        #expect(
            message.contains("image.yaml:2:\(column): '\(path)' would not be in the image: \(reason); "), "\(message)")
        try expectNothing(in: output)
    }

    @Test("what a build that was killed left is removed, and what one uses is not")
    func abandoned() throws {
        let parent = try TemporaryDirectory()
        let dead = parent.path.appending("build-1-2")
        let other = parent.path.appending("builder")
        let link = parent.path.appending("build-link")
        for directory in [dead.appending("root/usr"), other] { try directory.makeDirectories() }
        try #require(symlink(other.string, link.string) == 0)
        let live = try TemporaryDirectory(prefix: "build", in: parent.path)
        #expect(TemporaryDirectory.removeAbandoned(prefix: "build", in: parent.path) == [])
        #expect(TemporaryDirectory.removeAbandoned(prefix: "build", in: parent.path, age: 0) == [dead])
        #expect(
            try parent.path.directoryEntries().sorted()
                == [live.path.lastComponent?.string ?? "", "build-link", "builder"].sorted())
    }

    @Test("a directory that holds another build is refused before anything is unpacked, and stays as it is")
    func otherBuild() async throws {
        let work = try TemporaryDirectory()
        let output = work.path.appending("out")
        try output.makeDirectories()
        let report = #"{"product": "containerd", "version": "0.9.0"}"#
        try output.appending("build.json").replaceContents(with: report)
        var build = try await TestImage.build(in: work.path, output: output)
        build.scratch = work.path.appending("no such directory")
        #expect(
            await fault(of: build)
                == "\(output): holds containerd 0.9.0 already; name another directory with -o, or remove it")
        #expect(try output.directoryEntries() == ["build.json"])
        #expect(try output.appending("build.json").text() == report)
        let sources = work.path.appending("sources")
        try sources.makeDirectories()
        try sources.appending("notes.txt").replaceContents(with: "mine")
        build = try await TestImage.build(in: work.path, output: sources)
        build.scratch = work.path.appending("no such directory")
        #expect(
            await fault(of: build)
                == "\(sources): holds 'notes.txt', and no finished build; name a directory of its own with -o, or remove it"
        )
        #expect(try sources.directoryEntries() == ["notes.txt"])
    }

    @Test("a package with one flipped byte is refused before anything of it is used")
    func tamperedPackage() async throws {
        let work = try TemporaryDirectory()
        let output = work.path.appending("out")
        let (manifest, lock, lockPath) = try await TestImage.prepare(in: work.path)
        let source = PackageCache(TestImage.cache)
        let copy = PackageCache(work.path.appending("cache"))
        for package in lock.packages {
            let target = copy.path(of: package)
            try target.removingLastComponent().makeDirectories()
            try await Command("ln", ["-s", source.path(of: package).string, target.string]).run()
        }
        let victim = try #require(lock.packages.first { $0.name == "dash" })
        var bytes = try source.path(of: victim).contents()
        bytes[bytes.count / 2] ^= 1
        try copy.path(of: victim).removeTree()
        try copy.path(of: victim).replaceContents(with: bytes)
        let message = await fault(
            of: ImageBuild(
                manifest: manifest, lock: lock, lockPath: lockPath, version: "1.0.0", cache: copy,
                agent: try TestImage.agent(), output: output))
        #expect(message.contains("dash") && message.contains(victim.digest.description), "\(message)")
        try expectNothing(in: output)
    }

    @Test("a disk that fills during the build ends it with what to do, and leaves nothing half-made")
    func fullDisk() async throws {
        let work = try TemporaryDirectory()
        let small = work.path.appending("small")
        let output = work.path.appending("out")
        try small.makeDirectories()
        try await Command("mount", ["-t", "tmpfs", "-o", "size=200m", "tmpfs", small.string]).run()
        var build = try await TestImage.build(in: work.path, output: output)
        build.scratch = small
        let message = await fault(of: build)
        let left = try small.directoryEntries()
        try await Command("umount", [small.string]).run()
        #expect(message.contains("No space left on device"), "\(message)")
        #expect(message.contains("; free space on the file system of '\(small)"), "\(message)")
        // Which write is the first without room is chance: where it is a program's, there is a log.
        let log = small.appending("ballast-build-containerd_1.0.0_amd64.log")
        #expect(left == (message.hasSuffix("; the whole log is in \(log)") ? [log.lastComponent?.string] : []))
        try expectNothing(in: output)
    }

    @Test("outputs that their disk has no room for leave an earlier build and the lock as they were")
    func fullOutput() async throws {
        let work = try TemporaryDirectory()
        let small = work.path.appending("small")
        try small.makeDirectories()
        try await Command("mount", ["-t", "tmpfs", "-o", "size=100m", "tmpfs", small.string]).run()
        let build = try await TestImage.build(in: work.path, output: small)
        let earlier = [
            "build.json": #"{"product": "containerd", "version": "1.0.0"}"#, "containerd_1.0.0_amd64.efi": "kernel",
            "packages.json": "[]",
        ]
        for (name, text) in earlier { try small.appending(name).replaceContents(with: text) }
        let lock = try build.lockPath.text()
        let message = await fault(of: build)
        let left = try Dictionary(
            uniqueKeysWithValues: small.directoryEntries().map { ($0, try small.appending($0).text(limit: 1 << 30)) })
        try await Command("umount", [small.string]).run()
        #expect(
            message.contains("No space left on device") && message.contains("free space on that file system"),
            "\(message)")
        #expect(left == earlier)
        #expect(try build.lockPath.text() == lock)
    }

    @Test("root metadata that is not there is named before anything is unpacked")
    func missingTrustedRoot() async throws {
        let work = try TemporaryDirectory()
        let output = work.path.appending("out")
        let root = work.path.appending("nowhere.json")
        try root.replaceContents(with: "{}")
        var build = try await TestImage.build(
            in: work.path, output: output, additions: "update: {trusted_root: nowhere.json}\n")
        try root.removeTree()
        // A build that began would fail here, and say so.
        build.scratch = work.path.appending("no such directory")
        let message = await fault(of: build)
        #expect(message.hasPrefix("cannot read the root metadata that the hosts are to trust: "), "\(message)")
        #expect(
            message.hasSuffix(
                "nowhere.json: cannot open: No such file or directory; correct 'update.trusted_root' in the manifest, or make "
                    + "the repository with 'ballast repo init'"), "\(message)")
        try expectNothing(in: output)
    }

    @Test("a version that no file or partition label can carry is refused")
    func badVersion() async throws {
        let work = try TemporaryDirectory()
        let output = work.path.appending("out")
        let message = await fault(of: try await TestImage.build(in: work.path, output: output, version: "1.0/../x"))
        #expect(message.contains("--version: '1.0/../x' is no version; use 1 to 64"), "\(message)")
        try expectNothing(in: output)
    }
}
