import Assembly
import Command
import Cryptography
import DebianArchive
import Fault
import FileIO
import FileTree
import JSON
import Manifest
import SystemPackage
import TestSupport
import Testing

/// The real image of real packages, judged by other people's programs.
@Suite("The containerd image", .serialized, .timeLimit(.minutes(15)))
struct RealImageTests {
    /// `build.json` without the one part that two builds of the same inputs do not share.
    private static func report(in directory: FilePath) throws -> JSONValue {
        guard
            case .object(var members) = try JSONValue(
                parsing: directory.appending("build.json").text(), source: "build.json")
        else { return .null }
        #expect(members.removeValue(forKey: "stages") != nil)
        return .object(members)
    }

    @Test("foreign readers accept every part, and a second build elsewhere gives the same bytes")
    func image() async throws {
        let work = try TemporaryDirectory()
        let first = work.path.appending("first")
        var build = try await TestImage.build(in: work.path, output: first)
        build.inspect = { tree, image in
            let mountPoint = image.removingLastComponent().appending("mounted")
            try mountPoint.makeDirectories()
            try await Command("mount", ["-t", "erofs", "-o", "loop,ro", image.string, mountPoint.string]).run()
            let differences = Result { try TreeComparison.differences(expected: tree, found: mountPoint) }
            let audit = try await Command(
                "dpkg", ["--admindir=\(mountPoint)/usr/lib/sysimage/dpkg", "--audit"]
            ).outcome()
            let installed = try await Command(
                "dpkg-query", ["--admindir=\(mountPoint)/usr/lib/sysimage/dpkg", "-W", "-f", "${db:Status-Status}\n"]
            ).run().outputText.split(separator: "\n")
            try await Command("umount", [mountPoint.string]).run()
            #expect(try differences.get() == [])
            #expect(tree.count > 5000)
            #expect(audit.status == 0 && audit.output.isEmpty && audit.errorText.isEmpty)
            #expect(installed.count > 150 && installed.allSatisfy { $0 == "installed" })
        }
        let report = try await build.run { _ in }
        let root = try #require(report.outputs["root.erofs"])
        let name = report.identity.fileStem
        let delivered = { (suffix: String) in first.appending("\(name).\(suffix)").string }

        try await Command("fsck.erofs", [delivered("root.erofs")]).run()
        try await Command(
            "veritysetup", ["verify", delivered("root.erofs"), delivered("root.verity"), report.rootHash.description]
        ).run()
        let table = try await Command("sgdisk", ["-v", delivered("raw")]).run().outputText
        #expect(table.contains("No problems found"))
        let sections = try await Command("objdump", ["-h", delivered("efi")]).run().outputText
        for section in [".osrel", ".cmdline", ".initrd", ".uname", ".sbat", ".linux"] {
            #expect(sections.contains(" \(section) "), "the unified kernel image lacks \(section)")
        }
        #expect(report.initrdSize < 16_000_000)
        #expect(try SHA256Digest.ofFile(FilePath(delivered("root.erofs"))).digest == root.digest)

        let second = work.path.appending("elsewhere/second")
        try await Task.sleep(for: .seconds(1.1))
        build.inspect = nil
        let again = ImageBuild(
            manifest: build.manifest, lock: build.lock, lockPath: build.lockPath, version: build.version,
            cache: build.cache, agent: build.agent, output: second)
        _ = try await again.run { _ in }
        for file in try first.directoryEntries() where file != "build.json" {
            let left = try SHA256Digest.ofFile(first.appending(file)).digest
            let right = try SHA256Digest.ofFile(second.appending(file)).digest
            #expect(left == right, "\(file) differs between two builds")
        }
        #expect(try first.directoryEntries() == second.directoryEntries())
        #expect(try Self.report(in: first) == Self.report(in: second))
    }
}
