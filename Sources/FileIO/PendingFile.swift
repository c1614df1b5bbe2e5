public import Fault
public import Glibc
public import SystemPackage

/// A file that appears under its name whole or not at all: written beside it under a temporary name, flushed, and renamed
/// by `commit`. Whatever ends before that leaves nothing behind.
public struct PendingFile: ~Copyable {
    /// The open temporary file.
    public let file: OpenFile
    private let destination: FilePath
    private let temporary: FilePath

    /// Begins a file that is to become `destination`. Its directory must exist.
    public init(_ destination: FilePath, permissions: FilePermissions = [.ownerReadWrite, .groupRead, .otherRead])
        throws(FileIOFault)
    {
        let name = destination.lastComponent?.string ?? ""
        temporary = destination.removingLastComponent().appending(
            ".\(name).\(getpid())-\(UInt32.random(in: 0...(.max)))")
        self.destination = destination
        file = try OpenFile(
            temporary, .readWrite, options: [.create, .exclusiveCreate], permissions: permissions)
    }

    /// Whose unfinished file `name` is, by the number of the process; nil where it is none.
    public static func process(_ name: String) -> pid_t? {
        guard name.hasPrefix("."), let dot = name.lastIndex(of: ".") else { return nil }
        let parts = name[name.index(after: dot)...].split(separator: "-", omittingEmptySubsequences: false)
        guard parts.count == 2, let process = pid_t(parts[0]), process > 0, UInt32(parts[1]) != nil else { return nil }
        return process
    }

    /// Gives the file its name, replacing what was there, and returns when file and name are on the medium.
    public consuming func commit() throws(FileIOFault) {
        try file.flush()
        guard rename(temporary.string, destination.string) == 0 else {
            throw .last("cannot put the finished file in place", at: destination)
        }
        let directory = destination.removingLastComponent()
        try OpenFile(reading: directory.isEmpty ? "." : directory).flush()
    }

    /// Gives the file its name without waiting for the medium: for work that is thrown away if the machine stops.
    public consuming func commitWithoutFlush() throws(FileIOFault) {
        guard rename(temporary.string, destination.string) == 0 else {
            throw .last("cannot put the finished file in place", at: destination)
        }
    }

    deinit { unlink(temporary.string) }
}

extension FilePath {
    /// Makes `bytes` the whole content of the file at this path, atomically.
    public func replaceContents(
        with bytes: [UInt8], permissions: FilePermissions = [.ownerReadWrite, .groupRead, .otherRead]
    ) throws(FileIOFault) {
        let pending = try PendingFile(self, permissions: permissions)
        try pending.file.append(bytes)
        try pending.commit()
    }

    /// Makes `text` the whole content of the file at this path, atomically.
    public func replaceContents(
        with text: String, permissions: FilePermissions = [.ownerReadWrite, .groupRead, .otherRead]
    ) throws(FileIOFault) {
        try replaceContents(with: Array(text.utf8), permissions: permissions)
    }

    /// The whole content of the file.
    ///
    /// - Throws: `tooLarge` when there are more than `limit` bytes; nothing is allocated for them.
    public func contents(limit: Int = 64 << 20) throws(FileIOFault) -> [UInt8] {
        let file = try OpenFile(reading: self)
        let status = try file.status()
        guard status.size <= limit else {
            throw FileIOFault(
                .tooLarge, "\(status.size) bytes, and at most \(limit) are expected", at: .path(string))
        }
        // Files of /proc and /sys say that they are empty, so the end is where reading ends.
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: max(Int(status.size) + 1, 4096))
        while true {
            var failure: FileIOFault?
            let count = chunk.withUnsafeMutableBytes { buffer -> Int in
                do throws(FileIOFault) { return try file.readPrefix(into: buffer, at: Int64(bytes.count)) } catch {
                    failure = error
                    return 0
                }
            }
            if let failure { throw failure }
            // Usually the first time brings all, which then is not copied.
            if bytes.isEmpty, count < chunk.count, count <= limit {
                chunk.removeLast(chunk.count - count)
                return chunk
            }
            bytes.append(contentsOf: chunk[..<count])
            guard bytes.count <= limit else {
                throw FileIOFault(.tooLarge, "more than \(limit) bytes", at: .path(string))
            }
            if count < chunk.count { return bytes }
        }
    }

    /// The whole content of the file as text; bytes that are not UTF-8 become U+FFFD.
    public func text(limit: Int = 64 << 20) throws(FileIOFault) -> String {
        String(decoding: try contents(limit: limit), as: UTF8.self)
    }
}
