import BootLoader
import CLinux
public import Fault
import FileIO
import Glibc
public import SystemPackage

/// A mounted EFI system partition.
public struct BootDirectory: BootFiles {
    private let root: FilePath

    /// The partition that is mounted at `root`.
    public init(_ root: FilePath) {
        self.root = root
    }

    /// The partition at `/efi` or `/boot`, wherever systemd mounts it.
    public init(prefix: FilePath = "/") throws(BootControlFault) {
        for place in ["efi", "boot"] {
            let root = prefix.appending(place)
            if (try? FileStatus(following: root.appending(BootEntryName.directory)))?.kind == .directory {
                self.init(root)
                return
            }
        }
        throw BootControlFault(
            .notOurs, "neither /efi nor /boot has a directory \(BootEntryName.directory)",
            remedy: "mount the EFI system partition at /efi")
    }

    private func attempt<Result>(_ body: () throws(FileIOFault) -> Result) throws(BootControlFault) -> Result {
        try Self.attempt(body)
    }

    static func attempt<Result>(_ body: () throws(FileIOFault) -> Result) throws(BootControlFault) -> Result {
        do throws(FileIOFault) { return try body() } catch {
            let code: BootControlFaultCode =
                switch error.code {
                case .noSpace: .noSpace
                case .notFound: .notFound
                case .notPermitted, .exists, .tooLarge, .truncated, .other: .inputOutput
                }
            throw BootControlFault(code, "the boot partition cannot be used", cause: error)
        }
    }

    private func file(_ path: String) throws(BootControlFault) -> FilePath {
        let relative = FilePath(path)
        guard !relative.isEmpty, relative.isRelative, relative.components.allSatisfy({ $0.kind == .regular }) else {
            throw BootControlFault(.notFound, "'\(path)' is no file's path", at: .path(root.string))
        }
        return root.appending(relative.components)
    }

    /// The names in a directory; the root is "".
    public func names(in directory: String) throws(BootControlFault) -> [String] {
        let path = directory.isEmpty ? root : try file(directory)
        return try attempt { () throws(FileIOFault) in try path.directoryEntries() }
    }

    /// The size of a file in bytes.
    public func size(of path: String) throws(BootControlFault) -> Int64 {
        let file = try file(path)
        return try attempt { () throws(FileIOFault) in try FileStatus(of: file).size }
    }

    /// Gives the content of a file to `body`, piece by piece, as it is on the medium.
    public func read(_ path: String, _ body: (UnsafeRawBufferPointer) -> Void) throws(BootControlFault) {
        let path = try file(path)
        try attempt { () throws(FileIOFault) in
            let file = try OpenFile(reading: path)
            // What is in memory may not be what was written.
            _ = posix_fadvise(file.descriptor.rawValue, 0, 0, POSIX_FADV_DONTNEED)
            let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 18, alignment: 4096)
            defer { buffer.deallocate() }
            var offset: Int64 = 0
            while true {
                let count = try file.readPrefix(into: buffer, at: offset)
                if count == 0 { return }
                body(UnsafeRawBufferPointer(rebasing: buffer[..<count]))
                offset += Int64(count)
            }
        }
    }

    /// Bytes that can still be written.
    public func availableSpace() throws(BootControlFault) -> Int64 {
        try attempt { () throws(FileIOFault) in try root.availableSpace() }
    }

    /// Begins a file, replacing one of the same name.
    public func create(_ path: String) throws(BootControlFault) -> any BootFileWriter {
        let file = try file(path)
        return try attempt { () throws(FileIOFault) in
            Writer(
                file: try OpenFile(
                    file, .writeOnly, options: [.create, .truncate],
                    permissions: [.ownerReadWrite, .groupRead, .otherRead]))
        }
    }

    private final class Writer: BootFileWriter {
        private let file: OpenFile

        init(file: consuming OpenFile) { self.file = file }

        func append(_ bytes: UnsafeRawBufferPointer) throws(BootControlFault) {
            try BootDirectory.attempt { () throws(FileIOFault) in try file.append(bytes) }
        }

        func flush() throws(BootControlFault) {
            try BootDirectory.attempt { () throws(FileIOFault) in try file.flush() }
        }
    }

    /// Removes a file. None there is no error.
    public func remove(_ path: String) throws(BootControlFault) {
        let file = try file(path)
        guard unlink(file.string) != 0, errno != ENOENT else { return }
        try attempt { () throws(FileIOFault) in throw .last("cannot remove", at: file) }
    }

    /// Returns when all changes are on the medium.
    public func flush() throws(BootControlFault) {
        try attempt { () throws(FileIOFault) in
            let directory = try OpenFile(reading: root)
            // FAT has no journal: file contents, tables and directories are written by the first call, and the disk's own cache is
            // flushed by the second.
            guard ballast_sync_file_system(directory.descriptor.rawValue) == 0 else {
                throw .last("cannot flush", at: root)
            }
            try directory.flush()
        }
    }
}
