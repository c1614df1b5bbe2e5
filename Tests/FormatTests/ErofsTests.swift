import Command
import Cryptography
import Erofs
import Fault
import FileIO
import FileTree
import SystemPackage
import TestSupport
import Testing
import Verity

@Suite("EROFS")
struct ErofsTests {
    static func write(_ tree: FileTree, to path: FilePath) throws -> ErofsLayout {
        let layout = try ErofsLayout(tree, buildTime: Fixture.buildTime)
        let writer = try ErofsWriter(layout, uuid: Array(0..<16), volumeName: "fixture")
        let file = try PendingFile(path)
        try writer.write { bytes throws(ErofsFault) in
            do throws(FileIOFault) { try file.file.append(bytes) } catch {
                throw ErofsFault(.unwritable, "cannot write the image", cause: error)
            }
        }
        try file.commit()
        return layout
    }

    @Test("fsck.erofs accepts the image and reads every file back")
    func fsck() async throws {
        let work = try TemporaryDirectory()
        let image = work.path.appending("image.erofs")
        let layout = try Self.write(try Fixture.tree(), to: image)
        #expect(try FileStatus(of: image).size == layout.imageSize)
        try await Command("fsck.erofs", ["--extract=\(work.path.appending("out"))", image.string]).run()
        let read = try work.path.appending("out/sizes/f3000000").contents()
        #expect(read == Fixture.pattern(3_000_000))
    }

    @Test("the kernel mounts the image and shows every byte, mode, owner, time, link and attribute of the tree")
    func mount() async throws {
        let work = try TemporaryDirectory()
        let image = work.path.appending("image.erofs")
        let tree = try Fixture.tree()
        _ = try Self.write(tree, to: image)
        let mountPoint = work.path.appending("mnt")
        try mountPoint.makeDirectories()
        try await Command("mount", ["-t", "erofs", "-o", "loop,ro", image.string, mountPoint.string]).run()
        let differences: [String]
        do {
            differences = try TreeComparison.differences(expected: tree, found: mountPoint)
        } catch {
            _ = try? await Command("umount", [mountPoint.string]).run()
            throw error
        }
        try await Command("umount", [mountPoint.string]).run()
        #expect(differences == [])
    }

    @Test("the same tree gives the same bytes, in whatever order it was put together")
    func reproducible() throws {
        let work = try TemporaryDirectory()
        let tree = try Fixture.tree()
        var shuffled = FileTree(modified: Fixture.buildTime)
        for path in tree.sortedPaths().reversed() where !path.hasPrefix("hard/") {
            if let inode = tree[path] { try shuffled.insert(inode, at: path) }
        }
        if let hard = tree["hard"] { try shuffled.insert(hard, at: "hard") }
        try shuffled.link("hard/third", to: "sizes/f4097")
        try shuffled.link("hard/second", to: "sizes/f4097")
        _ = try Self.write(tree, to: work.path.appending("a"))
        _ = try Self.write(shuffled, to: work.path.appending("b"))
        let a = try SHA256Digest.ofFile(work.path.appending("a"))
        let b = try SHA256Digest.ofFile(work.path.appending("b"))
        #expect(a.digest == b.digest)
    }

    @Test("the map of extents covers every byte of every file exactly once, at the place where the image holds it")
    func extents() throws {
        let work = try TemporaryDirectory()
        let image = work.path.appending("image.erofs")
        let tree = try Fixture.tree()
        let layout = try Self.write(tree, to: image)
        let bytes = try image.contents()
        var rebuilt: [String: [UInt8]] = [:]
        for extent in layout.extents.sorted(by: { ($0.path, $0.fileOffset) < ($1.path, $1.fileOffset) }) {
            #expect(Int64(rebuilt[extent.path, default: []].count) == extent.fileOffset)
            rebuilt[extent.path, default: []] +=
                bytes[Int(extent.imageOffset)..<Int(extent.imageOffset + extent.length)]
        }
        var seen: Set<FileTree.InodeID> = []
        for path in tree.sortedPaths() {
            guard let id = tree.identity(of: path), seen.insert(id).inserted else { continue }
            guard case .regular(let content) = tree[id].kind else { continue }
            #expect(rebuilt[path, default: []] == (try content.load()), "\(path)")
        }
    }

    @Test("what the format cannot hold is refused, not cut")
    func refusals() throws {
        var tree = FileTree()
        try tree.insert(
            FileInode(.fifo, permissions: 0o600, extendedAttributes: ["system.unknown": []]), at: "pipe")
        #expect(throws: ErofsFault.self) { try ErofsLayout(tree, buildTime: 0) }
        tree.modify("pipe") { $0.extendedAttributes = ["user.big": [UInt8](repeating: 0, count: 5000)] }
        #expect(throws: ErofsFault.self) { try ErofsLayout(tree, buildTime: 0) }
    }

    @Test(
        "veritysetup verifies the tree over any number of blocks and refuses a flipped bit",
        arguments: [1, 2, 128, 129, 16_385])
    func verity(blocks: Int) async throws {
        let work = try TemporaryDirectory()
        let data = work.path.appending("data")
        let hashes = work.path.appending("hash")
        var bytes = [UInt8](repeating: 0, count: blocks * 4096)
        for block in 0..<blocks { bytes[block * 4096] = UInt8(truncatingIfNeeded: block &* 31) }
        var hasher = VerityHasher(try VerityParameters(salt: Array(1...32), uuid: Array(16..<32)))
        bytes.withUnsafeBytes { hasher.update($0) }
        let tree = hasher.finish()
        try data.replaceContents(with: bytes)
        try hashes.replaceContents(with: tree.hashDevice())
        #expect(tree.hashDevice().count == VerityParameters.hashDeviceSize(dataBlocks: blocks))
        let command = Command("veritysetup", ["verify", data.string, hashes.string, tree.rootHash.description])
        try await command.run()
        bytes[bytes.count - 1] ^= 1
        try data.replaceContents(with: bytes)
        #expect(try await command.outcome().status != 0)
    }
}
