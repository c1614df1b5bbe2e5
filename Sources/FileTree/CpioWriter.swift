import FileIO

/// Writes a tree as the cpio archive that the kernel unpacks as its first root file system (`newc`; Linux:
/// Documentation/driver-api/early-userspace/buffer-format.rst). Extended attributes have no place in it.
public struct CpioWriter: Sendable {
    private let tree: FileTree

    /// A writer of `tree`.
    public init(_ tree: FileTree) { self.tree = tree }

    /// Gives the archive to `sink` in order.
    public func write(to sink: ([UInt8]) throws -> Void) throws {
        var numbers: [FileTree.InodeID: Int] = [:]
        var links: [FileTree.InodeID: Int] = [:]
        let paths = tree.sortedPaths().filter { !$0.isEmpty }
        for path in paths { if let id = tree.identity(of: path) { links[id, default: 0] += 1 } }
        for path in paths {
            guard let id = tree.identity(of: path) else { continue }
            let isFirst = numbers[id] == nil
            let number = numbers[id, default: numbers.count + 1]
            numbers[id] = number
            let inode = tree[id]
            var data: [UInt8] = []
            switch inode.kind {
            // The data of a file with several names comes with the first, as the kernel takes it from any one.
            case .regular(let content): if isFirst { data = try content.load() }
            case .symbolicLink(let target): data = Array(target.utf8)
            case .directory, .characterDevice, .blockDevice, .fifo: break
            }
            try sink(header(path, inode, number: number, links: links[id] ?? 1, size: data.count))
            try sink(data + Self.padding(data.count))
        }
        try sink(header("TRAILER!!!", nil, number: 0, links: 1, size: 0))
    }

    private static func padding(_ count: Int) -> [UInt8] { [UInt8](repeating: 0, count: (4 - count % 4) % 4) }

    private func header(_ path: String, _ inode: FileInode?, number: Int, links: Int, size: Int) -> [UInt8] {
        var device: (major: UInt32, minor: UInt32) = (0, 0)
        if case .characterDevice(let major, let minor)? = inode?.kind { device = (major, minor) }
        if case .blockDevice(let major, let minor)? = inode?.kind { device = (major, minor) }
        let mode = inode.map { Int($0.typeBits | $0.permissions) } ?? 0
        let fields = [
            number, mode, Int(inode?.owner ?? 0), Int(inode?.group ?? 0), links, Int(inode?.modified ?? 0), size, 0, 0,
            Int(device.major), Int(device.minor), path.utf8.count + 1, 0,
        ]
        var bytes = Array("070701".utf8)
        for field in fields {
            let digits = String(UInt32(truncatingIfNeeded: field), radix: 16)
            bytes += Array(repeating: UInt8(ascii: "0"), count: 8 - digits.utf8.count) + Array(digits.utf8)
        }
        bytes += Array(path.utf8) + [0]
        return bytes + Self.padding(bytes.count)
    }
}
