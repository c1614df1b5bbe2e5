import CLinux
import Fault
import FileIO
import Glibc
import SystemPackage

/// Brings finished files to where they are wanted: all of them, or none.
///
/// They are brought to the destination's file system first, into a hidden directory that goes with this value. Where there is
/// no room for all of them, what an earlier build left stays as it was.
struct Delivery: ~Copyable {
    private static let prefix = ".ballast-delivery"

    private let destination: FilePath
    private let staged: TemporaryDirectory
    private let names: [FilePath.Component]

    /// Brings `files` near `destination`, a directory: by rename within a file system, otherwise by copies that keep holes.
    init(of files: [FilePath], to destination: FilePath) throws(FileIOFault) {
        _ = TemporaryDirectory.removeAbandoned(prefix: Self.prefix, in: destination)
        let directory = try TemporaryDirectory(prefix: Self.prefix, in: destination)
        for file in files { try Self.bring(file, into: directory.path) }
        staged = directory
        self.destination = destination
        names = files.compactMap(\.lastComponent)
    }

    private static func bring(_ file: FilePath, into directory: FilePath) throws(FileIOFault) {
        guard let name = file.lastComponent else { return }
        let target = directory.appending(name)
        if rename(file.string, target.string) == 0 { return }
        guard errno == EXDEV else { throw .last("cannot bring to \(directory)", at: file) }
        try copy(file, to: target)
        try file.removeTree()
    }

    /// Puts the files in their places, and then the `index`, which says what is there: where it is, all are.
    ///
    /// - Parameter name: the index's name.
    consuming func commit(index: String, name: String) throws(FileIOFault) {
        let (new, old) = (staged.path.appending(name), destination.appending(name))
        try new.replaceContents(with: index)
        try old.removeTree()
        for name in names {
            let path = destination.appending(name)
            // An older build's file is not replaced but removed: a file system that makes a replacement safe writes it out at
            // once.
            try path.removeTree()
            try staged.path.appending(name).rename(to: path)
        }
        // Once the index is there, a power cut must not take what it names.
        let directory = try OpenFile(reading: destination)
        guard ballast_sync_file_system(directory.descriptor.rawValue) == 0 else {
            throw .last("cannot flush the outputs", at: destination)
        }
        try new.rename(to: old)
        try directory.flush()
    }

    private static func copy(_ file: FilePath, to target: FilePath) throws(FileIOFault) {
        let source = try OpenFile(reading: file)
        let size = try source.status().size
        let pending = try PendingFile(target)
        try pending.file.resize(to: size)
        var position: Int64 = 0
        while let data = source.nextData(after: position), !data.isEmpty {
            var from = data.lowerBound
            var to = from
            while from < data.upperBound {
                let count = Int(data.upperBound - from)
                let copied = ballast_copy_range(
                    source.descriptor.rawValue, &from, pending.file.descriptor.rawValue, &to, count)
                if copied > 0 { continue }
                // Few file systems copy to another kind of file system (copy_file_range(2)).
                guard copied == 0 || [EXDEV, EINVAL, ENOSYS, EOPNOTSUPP].contains(errno) else {
                    throw .last("cannot copy to \(target)", at: file)
                }
                let bytes = try source.bytes(at: from, count: min(count, 1 << 20))
                try pending.file.write(bytes, at: from)
                from += Int64(bytes.count)
                to = from
            }
            position = data.upperBound
        }
        try pending.commitWithoutFlush()
    }
}
