import BootControl
import Cryptography
import Fault
import FileIO
import Release
import SystemPackage

/// Takes a kernel image into a file of the agent, in which it waits until all of it is there: an update that is cut off goes on with what
/// has come. The boot partition gets it in one piece.
final class KernelReceiver: BlobReceiver {
    /// How many bytes have come, of this attempt and of earlier ones.
    private(set) var size: Int64 = 0
    /// Where they are.
    let path: FilePath

    private static let suffix = ".kernel"
    private static let margin: Int64 = 4 << 20

    private let blob: Blob
    private let checkpoint: Int64
    private let advance: (_ done: Int64, _ fetched: Int64) -> Void
    private let file: OpenFile
    private var hasher = SHA256Hasher()
    private var flushedSize: Int64 = 0
    /// Whether some of it is from an earlier attempt.
    private(set) var isTakenUp = false

    /// - Parameters:
    ///   - directory: where the file is.
    ///   - checkpoint: after how many bytes what came is flushed. So many come again after a power cut.
    ///   - advance: told how many bytes more there are, and how many of them were fetched.
    init(
        _ blob: Blob, in directory: FilePath, checkpoint: Int64,
        advance: @escaping (_ done: Int64, _ fetched: Int64) -> Void
    ) throws(UpdateAgentFault) {
        self.blob = blob
        self.checkpoint = checkpoint
        self.advance = advance
        let path = Self.path(of: blob, in: directory)
        self.path = path
        file = try UpdateAgentFault.keeping { () throws(FileIOFault) in
            try directory.makeDirectories()
            return try OpenFile(path, .readWrite, options: .create)
        }
        try takeUp()
    }

    static func path(of blob: Blob, in directory: FilePath) -> FilePath {
        directory.appending(blob.digest.description + suffix)
    }

    /// How many bytes an earlier attempt has left.
    static func size(of blob: Blob, in directory: FilePath) -> Int64 {
        let path = path(of: blob, in: directory)
        return path.exists ? (try? OpenFile(reading: path).status().size) ?? 0 : 0
    }

    /// Whether there is room for the rest of `blob`, and for what else the agent has to write meanwhile.
    static func hasRoom(for blob: Blob, in directory: FilePath) -> Bool {
        // Where nobody knows, it is tried.
        guard let space = try? directory.availableSpace() else { return true }
        return blob.size - size(of: blob, in: directory) + margin <= space
    }

    /// Removes what attempts have left.
    ///
    /// - Parameter blob: whose file stays.
    static func removeAll(in directory: FilePath, but blob: Blob? = nil) {
        let kept = blob.map { $0.digest.description + suffix }
        for name in (try? directory.directoryEntries()) ?? [] where name.hasSuffix(suffix) && name != kept {
            try? directory.appending(name).removeTree()
        }
    }

    /// Goes on after what an earlier attempt has left.
    private func takeUp() throws(UpdateAgentFault) {
        let left = try UpdateAgentFault.keeping { () throws(FileIOFault) in try file.status().size }
        guard left > 0, left <= blob.size else { return try empty() }
        do throws(UpdateAgentFault) {
            try read { piece throws(UpdateAgentFault) in
                hasher.update(piece)
                size += Int64(piece.count)
            }
        } catch {
            // What cannot be read any more is fetched anew; of it nothing has been told yet.
            size = 0
            return try empty()
        }
        flushedSize = size
        isTakenUp = true
        advance(size, 0)
    }

    private func empty() throws(UpdateAgentFault) {
        try UpdateAgentFault.keeping { () throws(FileIOFault) in try file.resize(to: 0) }
        hasher = SHA256Hasher()
        advance(-size, 0)
        (size, flushedSize, isTakenUp) = (0, 0, false)
    }

    /// Gives all that is there to `body`, piece by piece.
    func read(_ body: (UnsafeRawBufferPointer) throws(UpdateAgentFault) -> Void) throws(UpdateAgentFault) {
        let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 20, alignment: 4096)
        defer { buffer.deallocate() }
        var offset: Int64 = 0
        while true {
            let count = try UpdateAgentFault.keeping { () throws(FileIOFault) in
                try file.readPrefix(into: buffer, at: offset)
            }
            guard count > 0 else { return }
            try body(UnsafeRawBufferPointer(rebasing: buffer[..<count]))
            offset += Int64(count)
        }
    }

    func take(_ bytes: UnsafeRawBufferPointer, received: Int64) throws(UpdateAgentFault) {
        guard size + Int64(bytes.count) <= blob.size else { throw .mismatch(blob) }
        hasher.update(bytes)
        try UpdateAgentFault.keeping { () throws(FileIOFault) in
            try file.write(bytes, at: size)
            size += Int64(bytes.count)
            if size - flushedSize >= checkpoint {
                try file.flush()
                flushedSize = size
            }
        }
        advance(Int64(bytes.count), Int64(bytes.count))
    }

    func finish() throws(UpdateAgentFault) {
        guard size == blob.size, hasher.finish() == blob.digest else {
            guard isTakenUp else { throw .mismatch(blob) }
            // No mirror is to blame for what may have been damaged here.
            throw UpdateAgentFault(.state, "what an earlier attempt has left is damaged", at: .path(path.string))
        }
    }

    func resume(isDamaged: Bool) throws(UpdateAgentFault) -> Int64 {
        if isDamaged { try empty() }
        return size
    }
}

/// Takes a kernel image straight to the boot partition, where there is no room for it elsewhere. An update that is cut off begins with it
/// anew.
final class StraightKernelReceiver: BlobReceiver {
    private let blob: Blob
    private let open: () throws(UpdateAgentFault) -> any BootFileWriter
    private let advance: (Int64) -> Void
    private var writer: any BootFileWriter
    private var hasher = SHA256Hasher()
    private var size: Int64 = 0

    /// - Parameters:
    ///   - open: makes the file, empty.
    ///   - advance: told how many bytes more there are.
    init(
        _ blob: Blob, advance: @escaping (Int64) -> Void,
        open: @escaping () throws(UpdateAgentFault) -> any BootFileWriter
    ) throws(UpdateAgentFault) {
        self.blob = blob
        self.advance = advance
        self.open = open
        writer = try open()
    }

    func take(_ bytes: UnsafeRawBufferPointer, received: Int64) throws(UpdateAgentFault) {
        guard size + Int64(bytes.count) <= blob.size else { throw .mismatch(blob) }
        hasher.update(bytes)
        try UpdateAgentFault.booting { () throws(BootControlFault) in try writer.append(bytes) }
        size += Int64(bytes.count)
        advance(Int64(bytes.count))
    }

    func finish() throws(UpdateAgentFault) {
        guard size == blob.size, hasher.finish() == blob.digest else { throw .mismatch(blob) }
        try UpdateAgentFault.booting { () throws(BootControlFault) in try writer.flush() }
    }

    func resume(isDamaged: Bool) throws(UpdateAgentFault) -> Int64 {
        if isDamaged {
            writer = try open()
            hasher = SHA256Hasher()
            advance(-size)
            size = 0
        }
        return size
    }
}

extension Fault where Code == UpdateAgentFaultCode {
    /// What `body` returns; a failure of the agent's own files becomes one of the agent.
    static func keeping<Result: ~Copyable>(
        _ body: () throws(FileIOFault) -> Result
    ) throws(UpdateAgentFault) -> Result {
        do throws(FileIOFault) { return try body() } catch {
            throw UpdateAgentFault(
                error.code == .noSpace ? .noSpace : .state, "what was fetched cannot be kept", cause: error)
        }
    }
}
