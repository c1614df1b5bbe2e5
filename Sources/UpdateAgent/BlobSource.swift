import Cryptography
public import Fault
import FileIO
public import Release
import Transfer
public import Trust

/// Where releases and their blobs come from.
public protocol BlobSource: Sendable {
    /// What is published now, verified from the root that the image brings.
    func refresh() throws(UpdateAgentFault) -> TrustedRepository

    /// Gives the bytes of `blob` from `offset` to its end to `onData`, each once and in order. They are not verified.
    ///
    /// - Parameter isCancelled: asked about once a second; true ends it with a fault.
    func stream(
        _ blob: Blob, from offset: Int64, isCancelled: () -> Bool,
        onData: (UnsafeRawBufferPointer) throws(UpdateAgentFault) -> Void
    ) throws(UpdateAgentFault)
}

extension BlobSource {
    /// All of a small blob, verified.
    func contents(of blob: Blob) throws(UpdateAgentFault) -> [UInt8] {
        var bytes: [UInt8] = []
        try stream(blob, from: 0, isCancelled: { false }) { piece throws(UpdateAgentFault) in
            guard bytes.count + piece.count <= blob.size else { throw Self.mismatch(blob) }
            bytes.append(contentsOf: piece)
        }
        guard bytes.count == blob.size, SHA256Digest(of: bytes) == blob.digest else { throw Self.mismatch(blob) }
        return bytes
    }

    static func mismatch(_ blob: Blob) -> UpdateAgentFault {
        UpdateAgentFault(
            .mismatch, "is not the file that the release names: its length or SHA-256 differs", at: .path(blob.path),
            remedy: "try again; if it stays, the repository or a cache on the way is damaged")
    }

    /// The release that the target `name` is.
    func release(_ name: ReleaseName, in repository: TrustedRepository) throws(UpdateAgentFault) -> ReleaseDocument {
        let bytes: [UInt8]
        do throws(TrustFault) {
            bytes = try repository.fetch(name.description, limit: ReleaseDocument.byteLimit)
        } catch {
            throw UpdateAgentFault(trust: error)
        }
        do throws(ReleaseFault) {
            let release = try ReleaseDocument(parsing: bytes, source: name.description)
            // A document under another's name would bring one version where another was decided for.
            guard ReleaseName(release) == name else {
                throw ReleaseFault(.malformed, "is that of another release than its name says")
            }
            return release
        } catch {
            throw UpdateAgentFault(
                error.code == .unsupported ? .unsupported : .untrusted, "the release cannot be used",
                at: .named(name.description), cause: error)
        }
    }
}

extension Fault where Code == UpdateAgentFaultCode {
    /// What a refused or missing repository means for the agent.
    init(trust fault: TrustFault) {
        let code: UpdateAgentFaultCode =
            switch fault.code {
            case .expired: .expired
            case .rolledBack: .rolledBack
            case .fetch: .transfer
            case .store: .state
            case .malformed, .unsigned, .wrongVersion, .mismatch, .missing, .key: .untrusted
            }
        let what =
            switch code {
            case .transfer: "the repository cannot be reached"
            case .state: "the repository's metadata cannot be kept"
            default: "the repository is not trusted"
            }
        self.init(code, what, cause: fault)
    }

    /// What a failed transfer means for the agent.
    init(transfer fault: TransferFault) {
        switch fault.code {
        case .tooLarge, .wrongSize, .digestMismatch:
            self.init(.mismatch, "what the server has is not what the release names", cause: fault)
        case .notFound, .http, .unreachable, .cut, .timeout, .tls, .cancelled, .refused, .receiver, .file:
            self.init(.transfer, "the transfer failed; the next attempt goes on where it ended", cause: fault)
        }
    }
}
