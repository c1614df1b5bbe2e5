import CLinux
public import Fault
import FileIO
import Glibc
public import SystemPackage

/// The directory `EFI/Linux` of a mounted boot partition.
public struct BootDirectory: BootFiles {
    private let path: FilePath

    /// The directory itself.
    public init(_ path: FilePath) {
        self.path = path
    }

    /// The directory below `/efi` or `/boot`, wherever systemd mounts the partition.
    public init(prefix: FilePath = "/") throws(BootControlFault) {
        for place in ["efi", "boot"] {
            let directory = prefix.appending(place).appending("EFI/Linux")
            if (try? FileStatus(following: directory))?.kind == .directory {
                self.init(directory)
                return
            }
        }
        throw BootControlFault(
            .notOurs, "neither /efi nor /boot has a directory EFI/Linux",
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

    private func file(_ name: String) throws(BootControlFault) -> FilePath {
        guard let component = FilePath.Component(name), component.kind == .regular else {
            throw BootControlFault(.notFound, "'\(name)' is no file's name", at: .path(path.string))
        }
        return path.appending(component)
    }

    /// The files' names.
    public func names() throws(BootControlFault) -> [String] {
        try attempt { () throws(FileIOFault) in try path.directoryEntries() }
    }

    /// The size of a file in bytes.
    public func size(of name: String) throws(BootControlFault) -> Int64 {
        let file = try file(name)
        return try attempt { () throws(FileIOFault) in try FileStatus(of: file).size }
    }

    /// Gives the content of a file to `body`, piece by piece.
    public func read(_ name: String, _ body: (UnsafeRawBufferPointer) -> Void) throws(BootControlFault) {
        let path = try file(name)
        try attempt { () throws(FileIOFault) in
            let file = try OpenFile(reading: path)
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
        try attempt { () throws(FileIOFault) in try path.availableSpace() }
    }

    /// Begins a file, replacing one of the same name.
    public func create(_ name: String) throws(BootControlFault) -> any BootFileWriter {
        let file = try file(name)
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

    /// Gives a file another name, replacing one that has it.
    public func rename(_ name: String, to other: String) throws(BootControlFault) {
        let from = try file(name)
        let to = try file(other)
        try attempt { () throws(FileIOFault) in try from.rename(to: to) }
    }

    /// Removes a file. None there is no error.
    public func remove(_ name: String) throws(BootControlFault) {
        let file = try file(name)
        guard unlink(file.string) != 0, errno != ENOENT else { return }
        try attempt { () throws(FileIOFault) in throw .last("cannot remove", at: file) }
    }

    /// Returns when everything written is on the medium.
    public func flush() throws(BootControlFault) {
        try attempt { () throws(FileIOFault) in
            let directory = try OpenFile(reading: path)
            try directory.flush()
            // FAT has no journal: the allocation table and the directory are on the medium only when all of it is.
            guard ballast_sync_file_system(directory.descriptor.rawValue) == 0 else {
                throw .last("cannot flush", at: path)
            }
        }
    }
}
