import Cryptography
import Fault
import FileIO
import SystemPackage
import Transfer

/// Fetches from addresses of an archive: http, https, or files of this machine.
struct ArchiveTransfer: Sendable {
    private let credentials: AptCredentials
    private let client = HTTPClient()

    init(_ credentials: AptCredentials = AptCredentials()) { self.credentials = credentials }

    /// The document at `address`, which may have `limit` bytes.
    func get(_ address: String, limit: Int) throws(TransferFault) -> [UInt8] {
        guard let file = Self.file(address) else {
            return try client.get(credentials.authorize(address), limit: limit, revalidate: true)
        }
        do throws(FileIOFault) { return try file.contents(limit: limit) } catch { throw Self.fault(error, address) }
    }

    /// Fetches `address` into `destination`, which appears whole and verified or not at all.
    func download(
        _ address: String, to destination: FilePath, size: Int64, digest: SHA256Digest,
        progress: (Int64) -> Void = { _ in }
    ) throws(TransferFault) {
        guard let file = Self.file(address) else {
            return try client.download(
                credentials.authorize(address), to: destination, size: size, digest: digest, progress: progress)
        }
        do throws(FileIOFault) {
            let source = try OpenFile(reading: file)
            let pending = try PendingFile(destination)
            var hasher = SHA256Hasher()
            var offset: Int64 = 0
            let end = try source.status().size
            while offset < min(end, size) {
                let piece = try source.bytes(at: offset, count: Int(min(1 << 20, min(end, size) - offset)))
                hasher.update(piece)
                try pending.file.append(piece)
                offset += Int64(piece.count)
                progress(Int64(piece.count))
            }
            guard end == size, hasher.finish() == digest else {
                progress(-offset)
                throw FileIOFault(.other, Self.mismatch, at: .path(file.string))
            }
            try pending.commit()
        } catch {
            guard error.message != Self.mismatch else {
                throw TransferFault(.digestMismatch, Self.mismatch, at: .url(address))
            }
            throw Self.fault(error, address)
        }
    }

    /// The size and digest of what is at `address`, up to `limit` bytes: to say what is there instead of what was expected.
    func measure(_ address: String, limit: Int64) -> (digest: SHA256Digest, size: Int64) {
        if let file = Self.file(address) { return (try? SHA256Digest.ofFile(file)) ?? (SHA256Digest(of: []), 0) }
        var hasher = SHA256Hasher()
        let size = (try? client.stream(credentials.authorize(address), limit: limit) { hasher.update($0) }) ?? 0
        return (hasher.finish(), size)
    }

    private static let mismatch = "what is there is not what the SHA-256 names"

    private static func fault(_ cause: FileIOFault, _ address: String) -> TransferFault {
        TransferFault(
            cause.code == .notFound ? .notFound : cause.code == .tooLarge ? .tooLarge : .file, "cannot be read",
            at: .url(address), cause: cause)
    }

    /// The file that a `file:` address names (RFC 8089).
    private static func file(_ address: String) -> FilePath? {
        guard address.hasPrefix("file:") else { return nil }
        var path = address.dropFirst("file:".count)
        if path.hasPrefix("//") { path = path.dropFirst(2).drop { $0 != "/" } }
        var bytes: [UInt8] = []
        var rest = Array(path.utf8)[...]
        while let byte = rest.popFirst() {
            if byte == UInt8(ascii: "%"), rest.count >= 2,
                let value = UInt8(String(decoding: rest.prefix(2), as: UTF8.self), radix: 16), value != 0
            {
                bytes.append(value)
                rest = rest.dropFirst(2)
            } else {
                bytes.append(byte)
            }
        }
        return FilePath(String(decoding: bytes, as: UTF8.self))
    }
}
