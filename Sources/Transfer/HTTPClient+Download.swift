public import Cryptography
public import Fault
import FileIO
import Glibc
public import SystemPackage

extension HTTPClient {
    /// Fetches `url` into the file `destination`, which appears whole and verified or not at all.
    ///
    /// What has come stays in `destination` + `.part` and the next call goes on there, also after this process ended. A
    /// partial file that turns out wrong is deleted and the transfer made once more from the first byte. Two processes that
    /// want the same file wait for each other.
    ///
    /// - Parameters:
    ///   - size: the exact number of bytes.
    ///   - digest: the SHA-256 of all of them.
    ///   - isCancelled: asked now and then; true ends the transfer and keeps the partial file.
    ///   - progress: called with the number of bytes that came to those before.
    public func download(
        _ url: String, to destination: FilePath, size: Int64, digest: SHA256Digest,
        isCancelled: () -> Bool = { false }, progress: (Int64) -> Void = { _ in }
    ) throws(TransferFault) {
        do {
            let partial = try PartialFile(for: destination)
            if try partial.isFinishedByAnother(size: size, digest: digest) {
                progress(size)
                return
            }
            if try fetch(
                url, into: partial, resuming: true, size: size, digest: digest, isCancelled: isCancelled,
                progress: progress)
            {
                return try partial.commit()
            }
            try partial.discard()
        } catch let fault as TransferFault {
            throw fault
        } catch {
            throw TransferFault(.file, "cannot be kept", at: .path(destination.string), cause: error)
        }
        throw TransferFault(
            .digestMismatch, "what the server has is not what SHA-256 \(digest) names",
            at: .url(WebAddress.redacted(url)),
            remedy: "ask who runs the server; the file was not kept")
    }

    /// - Returns: whether the partial file now has the right digest.
    private func fetch(
        _ url: String, into partial: borrowing PartialFile, resuming: Bool, size: Int64, digest: SHA256Digest,
        isCancelled: () -> Bool, progress: (Int64) -> Void
    ) throws -> Bool {
        let sink = HashingSink()
        if resuming { try partial.hashPresent(into: sink, limit: size) }
        let present = sink.position
        try partial.file.resize(to: present)
        progress(present)
        if present < size {
            try receive(url, range: present..<size, into: partial.file, through: sink, isCancelled, progress)
        }
        if sink.finish() == digest { return true }
        guard present > 0 else { return false }
        progress(-size)
        return try fetch(
            url, into: partial, resuming: false, size: size, digest: digest, isCancelled: isCancelled,
            progress: progress)
    }

    private func receive(
        _ url: String, range: Range<Int64>, into file: borrowing OpenFile, through sink: HashingSink,
        _ isCancelled: () -> Bool, _ progress: (Int64) -> Void
    ) throws(TransferFault) {
        // A closure cannot capture a borrowed file, but the descriptor stays open as long as the borrow lasts.
        let descriptor = file.descriptor
        let path = file.path
        try stream(url, range: range, limit: Int64(range.count), isCancelled: isCancelled) { bytes in
            try sink.write(bytes, to: descriptor, path: path)
            progress(Int64(bytes.count))
        }
    }
}
