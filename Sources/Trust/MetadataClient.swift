import Cryptography
public import Fault

/// A client of a TUF repository (TUF 1.0, section 5): from the root that the image brings to a list of what is published.
public struct MetadataClient {
    private static let rootUpdateLimit = 256

    private let trustedRoot: [UInt8]
    private let source: any MetadataSource
    private let store: any MetadataStore

    /// A client of what `source` has.
    ///
    /// - Parameters:
    ///   - trustedRoot: the bytes of a root document that is trusted because of where it comes from; any version of which
    ///     the repository still has the successors.
    ///   - store: what earlier runs have accepted.
    public init(trustedRoot: [UInt8], source: any MetadataSource, store: any MetadataStore) {
        self.trustedRoot = trustedRoot
        self.source = source
        self.store = store
    }

    /// Brings the metadata up to date and returns what is published now.
    ///
    /// Each document is kept as soon as it has passed all of its own checks and not before, so that one that was refused
    /// leaves no trace.
    ///
    /// - Parameter now: the time that the whole run goes by.
    public func refresh(now: UTCTime) throws(TrustFault) -> TrustedRepository {
        var metadata = try TrustedMetadata(trustedRoot: trustedRoot, source: "trusted root", now: now)
        try updateRoot(&metadata)
        try forgetAfterKeyRotation(metadata.root)
        try updateTimestamp(&metadata)
        try updateSnapshot(&metadata)
        try updateTargets(&metadata)
        guard let timestamp = metadata.timestamp, let snapshot = metadata.snapshot, let targets = metadata.targets
        else {
            throw TrustFault(.missing, "the repository's metadata is not complete")
        }
        return TrustedRepository(
            root: metadata.root, timestamp: timestamp, snapshot: snapshot, targets: targets, source: source)
    }

    /// Section 5.3. What earlier runs found is walked again from the image's own root: nothing outside the image is trusted
    /// for where it lies.
    private func updateRoot(_ metadata: inout TrustedMetadata) throws(TrustFault) {
        for _ in 0..<Self.rootUpdateLimit {
            let version = metadata.root.version + 1
            let path = MetadataRole.root.path(version: version)
            if let known = try store.load(.root(version: version)),
                (try? metadata.update(root: known, source: path)) != nil
            {
                continue
            }
            guard let bytes = try fetchIfPresent(path, .root) else { break }
            try metadata.update(root: bytes, source: path)
            try store.save(bytes, as: .root(version: version))
        }
        try metadata.finishRoot(source: MetadataRole.root.path(version: metadata.root.version))
    }

    /// Section 5.3.11: when the online keys have changed, what their predecessors signed is forgotten, so that a thief who
    /// signed huge version numbers cannot keep hosts from updating.
    ///
    /// The keys are compared with those of the last run, not of the root before: a new image may bring a newer root with it.
    private func forgetAfterKeyRotation(_ root: RootDocument) throws(TrustFault) {
        let keys = [MetadataRole.timestamp, .snapshot].map { role in
            let role = root.keys(of: role)
            return "\(role.threshold) \(role.identifiers.sorted().joined(separator: " "))\n"
        }.joined()
        guard try store.load(.onlineKeys) != Array(keys.utf8) else { return }
        try store.remove(.timestamp)
        try store.remove(.snapshot)
        try store.save(Array(keys.utf8), as: .onlineKeys)
    }

    private func updateTimestamp(_ metadata: inout TrustedMetadata) throws(TrustFault) {
        let path = MetadataRole.timestamp.path(version: 0)
        if let known = try store.load(.timestamp) { metadata.recall(timestamp: known, source: path) }
        let bytes = try fetch(path, .timestamp)
        if try metadata.update(timestamp: bytes, source: path) { try store.save(bytes, as: .timestamp) }
    }

    private func updateSnapshot(_ metadata: inout TrustedMetadata) throws(TrustFault) {
        guard let expected = metadata.timestamp?.snapshot else { return }
        let path = MetadataRole.snapshot.path(version: expected.version)
        if let known = try store.load(.snapshot) {
            metadata.recall(snapshot: known, source: path)
            if (try? metadata.update(snapshot: known, source: path)) != nil { return }
        }
        let bytes = try fetch(path, .snapshot, expected.length)
        try metadata.update(snapshot: bytes, source: path)
        try store.save(bytes, as: .snapshot)
    }

    private func updateTargets(_ metadata: inout TrustedMetadata) throws(TrustFault) {
        guard let expected = metadata.snapshot?.targets else { return }
        let path = MetadataRole.targets.path(version: expected.version)
        if let known = try store.load(.targets), (try? metadata.update(targets: known, source: path)) != nil { return }
        let bytes = try fetch(path, .targets, expected.length)
        try metadata.update(targets: bytes, source: path)
        try store.save(bytes, as: .targets)
    }

    private func fetch(_ path: String, _ role: MetadataRole, _ length: Int? = nil) throws(TrustFault) -> [UInt8] {
        guard let bytes = try fetchIfPresent(path, role, length) else {
            throw TrustFault(
                .missing, "the repository does not have it", at: .path(path),
                remedy: "check the repository's address and that it was published completely")
        }
        return bytes
    }

    private func fetchIfPresent(
        _ path: String, _ role: MetadataRole, _ length: Int? = nil
    ) throws(TrustFault) -> [UInt8]? {
        let limit = min(length ?? role.sizeLimit, role.sizeLimit)
        do {
            guard let bytes = try source.fetch(path, limit: limit) else { return nil }
            // A source that forgets its limit must not weaken ours.
            guard bytes.count <= limit else {
                throw TrustFault(.mismatch, "more than the \(limit) bytes that are allowed", at: .path(path))
            }
            return bytes
        } catch let fault as TrustFault {
            throw fault
        } catch {
            throw TrustFault(.fetch, "could not be fetched", at: .path(path), cause: error)
        }
    }
}
