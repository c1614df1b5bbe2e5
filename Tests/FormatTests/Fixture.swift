import Command
import FileIO
import FileTree
import SystemPackage

/// A tree with everything an image can hold, in awkward sizes, and the same tree as a directory's description.
enum Fixture {
    static let buildTime: Int64 = 1_750_000_000

    static func tree() throws -> FileTree {
        var tree = FileTree(modified: buildTime)
        try tree.insert(FileInode(.directory, permissions: 0o755, modified: buildTime), at: "")
        // Sizes around every boundary that the layout treats differently.
        for size in [0, 1, 31, 32, 4031, 4032, 4064, 4065, 4095, 4096, 4097, 8191, 8192, 12_289, 1_048_577, 3_000_000] {
            try tree.insert(
                FileInode(.regular(.bytes(pattern(size))), permissions: 0o644, modified: buildTime - Int64(size % 3)),
                at: "sizes/f\(size)")
        }
        for index in 0..<700 {
            try tree.insert(
                FileInode(
                    .regular(.bytes(pattern(index * 7))), permissions: 0o600, owner: UInt32(index), modified: buildTime),
                at: "many/a-rather-long-file-name-to-fill-blocks-\(index)")
        }
        try tree.insert(
            FileInode(.symbolicLink(target: "sizes/f1"), permissions: 0o777, modified: buildTime), at: "link")
        try tree.insert(
            FileInode(
                .symbolicLink(target: String(repeating: "x/", count: 2000)), permissions: 0o777, modified: buildTime),
            at: "long-link")
        try tree.link("hard/second", to: "sizes/f4097")
        try tree.link("hard/third", to: "sizes/f4097")
        try tree.insert(
            FileInode(.characterDevice(major: 1, minor: 3), permissions: 0o666, modified: buildTime), at: "dev/null")
        try tree.insert(FileInode(.blockDevice(major: 259, minor: 70_000), permissions: 0o660, group: 6), at: "dev/big")
        try tree.insert(FileInode(.fifo, permissions: 0o600, modified: buildTime), at: "dev/pipe")
        try tree.insert(
            FileInode(
                .regular(.bytes(pattern(5000))), permissions: 0o4755, owner: 70_000, group: 100_000, modified: 12,
                extendedAttributes: [
                    "security.capability": [1, 0, 0, 2, 0, 32, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
                    "user.note": Array("héllo".utf8), "user.empty": [],
                    "trusted.long": [UInt8](repeating: 7, count: 300),
                ]), at: "bin/ping")
        try tree.insert(FileInode(.directory, permissions: 0o1777, modified: buildTime), at: "tmp")
        try tree.insert(
            FileInode(.regular(.bytes(pattern(9))), permissions: 0o644, modified: buildTime), at: "ünïcode/文件")
        return tree
    }

    static func pattern(_ size: Int) -> [UInt8] {
        var state = UInt32(truncatingIfNeeded: size) &* 2_654_435_761 | 1
        return (0..<size).map { _ in
            state = state &* 1_664_525 &+ 1_013_904_223
            return UInt8(truncatingIfNeeded: state >> 24)
        }
    }
}
