import Cryptography
import Fault
import FileIO
import SystemPackage
import Trust

/// A repository's files, as the one who publishes sees them.
struct RepositoryDirectory: Sendable {
    let path: FilePath

    var metadata: FilePath { path.appending("metadata") }
    var targets: FilePath { path.appending("targets") }
    var blobs: FilePath { path.appending("blobs") }
    var lockPath: FilePath { path.appending(".lock") }

    /// Makes the directories and keeps other processes from changing the repository for as long as the result lives.
    ///
    /// - Parameter isNew: whether there need not be a repository yet.
    func lock(isNew: Bool = false) throws(PublishingFault) -> FileLock {
        if !isNew { try requireRoot() }
        let lock: FileLock?
        do throws(FileIOFault) {
            for directory in [metadata, targets, blobs] { try directory.makeDirectories() }
            lock = try FileLock.ifFree(lockPath)
        } catch {
            throw PublishingFault(.file, "the repository cannot be written", cause: error)
        }
        guard let lock else {
            throw PublishingFault(
                .busy, "another process changes this repository at the moment", at: .path(path.string),
                remedy: "wait for it and try again")
        }
        do throws(FileIOFault) {
            // Nobody else writes now, so these belong to someone who was killed.
            for directory in [targets, blobs] {
                for name in try directory.directoryEntries() where name.hasPrefix(PendingBlob.prefix) {
                    try directory.appending(name).removeTree()
                }
            }
            return lock
        } catch {
            throw PublishingFault(.file, "the repository cannot be written", cause: error)
        }
    }

    private func requireRoot() throws(PublishingFault) {
        guard !metadata.appending("root.json").exists else { return }
        throw PublishingFault(
            .badRepository, "there is no repository: metadata/root.json is missing", at: .path(path.string),
            remedy: "make one with 'ballast repo init'")
    }

    /// The current metadata, verified as a client does, whose times to live do not matter here: an expired repository must
    /// still be one that can be refreshed.
    func load() throws(PublishingFault) -> TrustedRepository {
        do {
            let root = try metadata.appending("root.json").contents(limit: MetadataRole.root.sizeLimit)
            return try MetadataClient(trustedRoot: root, source: self, store: NoStore()).refresh(
                now: UTCTime(seconds: 0))
        } catch {
            try requireRoot()
            // What the fault advises is meant for hosts, which ask again.
            let fault = error as? any AnyFault
            let text = fault.map { "\($0.place.map { "\($0): " } ?? "")\($0.message)" } ?? "\(error)"
            throw PublishingFault(
                .badRepository, "the repository's metadata is damaged: \(text)", at: .path(path.string),
                remedy: "put back what was there when it was last published, from a copy")
        }
    }

    /// Puts `bytes` under `name` in `metadata/`.
    func put(_ bytes: [UInt8], _ name: String) throws(PublishingFault) {
        do throws(FileIOFault) {
            try metadata.appending(name).replaceContents(with: bytes)
        } catch {
            throw PublishingFault(.file, "the metadata cannot be written", cause: error)
        }
    }
}

extension RepositoryDirectory: MetadataSource {
    func fetch(_ path: String, limit: Int) throws -> [UInt8]? {
        do throws(FileIOFault) {
            return try self.path.appending(path).contents(limit: limit)
        } catch {
            if error.code == .notFound { return nil }
            throw error
        }
    }
}

/// Nothing is remembered: who publishes has no earlier run to compare with.
private struct NoStore: MetadataStore {
    func load(_ document: StoredDocument) throws(TrustFault) -> [UInt8]? { nil }
    func save(_ bytes: [UInt8], as document: StoredDocument) throws(TrustFault) {}
    func remove(_ document: StoredDocument) throws(TrustFault) {}
}
