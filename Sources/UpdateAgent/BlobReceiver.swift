import Cryptography
public import Fault
import Release

/// Where the bytes of a blob go, from one mirror or from several in turn.
public protocol BlobReceiver: AnyObject {
    /// Takes the next bytes.
    ///
    /// - Parameter received: how many bytes of what is stored have come since the transfer began or went on.
    /// - Throws: `mismatch` where they are not what the release names: another mirror may have the right ones. Anything else ends
    ///   the transfer.
    func take(_ bytes: UnsafeRawBufferPointer, received: Int64) throws(UpdateAgentFault)

    /// All bytes have come.
    ///
    /// - Throws: as `take`.
    func finish() throws(UpdateAgentFault)

    /// The transfer was cut off, or what came was damaged, and goes on.
    ///
    /// - Returns: from which byte of what is stored.
    func resume(isDamaged: Bool) throws(UpdateAgentFault) -> Int64
}

/// Takes a small blob into memory.
final class BytesReceiver: BlobReceiver {
    private(set) var bytes: [UInt8] = []
    private let blob: Blob

    init(_ blob: Blob) { self.blob = blob }

    func take(_ piece: UnsafeRawBufferPointer, received: Int64) throws(UpdateAgentFault) {
        guard bytes.count + piece.count <= blob.size else { throw .mismatch(blob) }
        bytes.append(contentsOf: piece)
    }

    func finish() throws(UpdateAgentFault) {
        guard bytes.count == blob.size, SHA256Digest(of: bytes) == blob.digest else { throw .mismatch(blob) }
    }

    func resume(isDamaged: Bool) -> Int64 {
        if isDamaged { bytes = [] }
        return Int64(bytes.count)
    }
}

extension Fault where Code == UpdateAgentFaultCode {
    static func mismatch(_ blob: Blob) -> UpdateAgentFault {
        UpdateAgentFault(
            .mismatch, "is not the file that the release names: its length or SHA-256 differs", at: .path(blob.path),
            remedy: "try again; if it stays, the repository or a cache on the way is damaged")
    }
}
