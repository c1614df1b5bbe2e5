import CLinux
import Fault
import FileIO
import Glibc
import SystemPackage

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
                let count = Int(data.upperBound - from)
                let copied = ballast_copy_range(
                    source.descriptor.rawValue, &from, pending.file.descriptor.rawValue, &to, count)
                if copied > 0 { continue }
                // Few file systems copy to another kind of file system (copy_file_range(2)).
                guard copied == 0 || [EXDEV, EINVAL, ENOSYS, EOPNOTSUPP].contains(errno) else {
                    throw .last("cannot deliver to \(destination)", at: file)
                }
                let bytes = try source.bytes(at: from, count: min(count, 1 << 20))
                try pending.file.write(bytes, at: from)
                from += Int64(bytes.count)
                to = from
            }
            position = data.upperBound
        }
        try pending.commit()
        try file.removeTree()
    }
}
