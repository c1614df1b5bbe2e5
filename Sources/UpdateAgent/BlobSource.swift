public import Fault
public import Fetching
public import Release
import Transfer
public import Trust

/// Where releases and their blobs come from.
public protocol BlobSource: Sendable {
    /// What is published now, verified from the root that the image brings.
    ///
    /// - Parameter isCancelled: asked about once a second; true ends it with a fault.
    func refresh(isCancelled: @escaping @Sendable () -> Bool) throws(UpdateAgentFault) -> TrustedRepository

    /// The bytes of the target `name` of `repository`, verified.
    ///
    /// - Throws: `transfer` or `mismatch` where nobody has what the signed metadata names; `untrusted` where that itself cannot be
    ///   used.
    func target(
        _ name: String, in repository: TrustedRepository, limit: Int, isCancelled: @escaping @Sendable () -> Bool
    ) throws(UpdateAgentFault) -> [UInt8]

    /// Gives the bytes of `blob` from `offset` to its end to `receiver`, or what the frames hold that they are.
    func stream(
        _ blob: Blob, from offset: Int64, form: FetchRequest.Form, into receiver: any BlobReceiver,
        isCancelled: @escaping @Sendable () -> Bool
    ) throws(UpdateAgentFault)

    /// Seconds until the servers want to be asked again; nil where they do not say.
    var retryAfter: Int64? { get }
}

extension BlobSource {
    /// All of a small blob, verified.
    func contents(of blob: Blob, isCancelled: @escaping @Sendable () -> Bool) throws(UpdateAgentFault) -> [UInt8] {
        let receiver = BytesReceiver(blob)
        try stream(blob, from: 0, form: .stored, into: receiver, isCancelled: isCancelled)
        return receiver.bytes
    }

    /// The release that the target `name` is.
    func release(
        _ name: ReleaseName, in repository: TrustedRepository, isCancelled: @escaping @Sendable () -> Bool
    ) throws(UpdateAgentFault) -> ReleaseDocument {
        let bytes = try target(
            name.description, in: repository, limit: ReleaseDocument.byteLimit, isCancelled: isCancelled)
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
        let (code, what): (UpdateAgentFaultCode, String) =
            switch fault.code {
            case .expired: (.expired, "the repository is not trusted")
            case .rolledBack: (.rolledBack, "the repository is not trusted")
            case .malformed, .unsigned, .wrongVersion, .key: (.untrusted, "the repository is not trusted")
            case .fetch: (.transfer, "the repository cannot be reached")
            // Nobody vouches for what is not there, nor for what is no metadata at all.
            case .missing, .foreign: (.transfer, "the repository is not there, or not complete")
            case .mismatch: (.mismatch, "the repository has something else than its signed metadata names")
            case .store: (.state, "the repository's metadata cannot be kept")
            }
        self.init(code, what, cause: fault)
    }

    /// What a failed transfer means for the agent.
    init(transfer fault: TransferFault) {
        switch fault.code {
        case .tooLarge, .wrongSize, .digestMismatch, .receiver:
            self.init(.mismatch, "what the server has is not what the release names", cause: fault)
        case .notFound, .http, .unavailable, .unreachable, .cut, .timeout, .tls, .cancelled, .refused, .file:
            self.init(.transfer, "the transfer failed; the next attempt goes on where it ended", cause: fault)
        }
    }
}
