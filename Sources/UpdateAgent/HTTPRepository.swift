public import Fault
import FileIO
public import Release
import SystemPackage
public import Transfer
public import Trust

/// A repository behind a web server.
public struct HTTPRepository: BlobSource {
    private let address: String
    private let client: HTTPClient
    private let paths: HostPaths
    private let now: @Sendable () -> UTCTime

    /// The repository at `address`, trusted through the root metadata of the image at `paths`.
    public init(address: String, client: HTTPClient, paths: HostPaths, now: @escaping @Sendable () -> UTCTime) {
        self.address = address
        self.client = client
        self.paths = paths
        self.now = now
    }

    /// What is published now.
    public func refresh() throws(UpdateAgentFault) -> TrustedRepository {
        let root: [UInt8]
        do throws(FileIOFault) { root = try paths.trustedRoot.contents(limit: 1 << 20) } catch {
            throw UpdateAgentFault(
                .unconfigured, "the image brings no root metadata, so no repository is trusted",
                remedy: "set 'update.trusted_root' in the manifest and install an image with it", cause: error)
        }
        do throws(TrustFault) {
            return try MetadataClient(
                trustedRoot: root, source: Source(address: address, client: client), store: DirectoryStore(paths.trust)
            ).refresh(now: now())
        } catch {
            throw UpdateAgentFault(trust: error)
        }
    }

    /// The bytes of `blob` from `offset` on.
    public func stream(
        _ blob: Blob, from offset: Int64, isCancelled: () -> Bool,
        onData: (UnsafeRawBufferPointer) throws(UpdateAgentFault) -> Void
    ) throws(UpdateAgentFault) {
        var refusal: UpdateAgentFault?
        do throws(TransferFault) {
            try client.stream(
                "\(address)/\(blob.path)", range: offset..<max(offset, blob.size), isCancelled: isCancelled
            ) { bytes in
                do throws(UpdateAgentFault) { try onData(bytes) } catch {
                    refusal = error
                    throw error
                }
            }
        } catch {
            throw refusal ?? UpdateAgentFault(transfer: error)
        }
    }

    private struct Source: MetadataSource {
        let address: String
        let client: HTTPClient

        func fetch(_ path: String, limit: Int) throws -> [UInt8]? {
            do throws(TransferFault) {
                return try client.get("\(address)/\(path)", limit: limit, revalidate: true)
            } catch {
                if error.code == .notFound { return nil }
                throw error
            }
        }
    }
}
