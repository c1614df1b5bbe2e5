import CLinux
import Fault
import FileIO
import Glibc
import SystemPackage

/// The outputs' paths while they are made.
struct OutputNames {
    let disk: FilePath
    let root: FilePath
    let hashes: FilePath
    let kernel: FilePath
    let packages: FilePath

    /// The files' names.
    var all: Set<String> { Set([disk, root, hashes, kernel, packages].compactMap { $0.lastComponent?.string }) }

    init(directory: FilePath, identity: ImageIdentity) {
        let stem = identity.fileStem
        disk = directory.appending("\(stem).raw")
        root = directory.appending("\(stem).root.erofs")
        hashes = directory.appending("\(stem).root.verity")
        kernel = directory.appending("\(stem).efi")
        packages = directory.appending("packages.json")
    }
}

/// Brings finished files to where they are wanted.
enum Delivery {
    /// Moves `file` into `directory`: by rename within a file system, otherwise by a copy that appears whole and keeps holes.
    static func move(_ file: FilePath, into directory: FilePath) throws(FileIOFault) {
        guard let name = file.lastComponent else { return }
        let destination = directory.appending(name)
        // An older build's file is not replaced but removed: a file system that makes a replacement safe writes it out at once.
        // Nobody takes the directory for whole meanwhile, since 'build.json' goes first and comes last.
        try destination.removeTree()
        if rename(file.string, destination.string) == 0 { return }
        guard errno == EXDEV else { throw .last("cannot deliver to \(destination)", at: file) }
        let source = try OpenFile(reading: file)
        let size = try source.status().size
        let pending = try PendingFile(destination)
        try pending.file.resize(to: size)
        var position: Int64 = 0
        while let data = source.nextData(after: position), !data.isEmpty {
            var from = data.lowerBound
            var to = from
            while from < data.upperBound {
                let copied = ballast_copy_range(
                    source.descriptor.rawValue, &from, pending.file.descriptor.rawValue, &to,
                    Int(data.upperBound - from))
                guard copied > 0 else { throw .last("cannot deliver to \(destination)", at: file) }
            }
            position = data.upperBound
        }
        try pending.commit()
        try file.removeTree()
    }
}
