import Cryptography
public import Fault
import FileIO
import JSON
import Release
public import SystemPackage
public import Trust

/// A repository that this process may sign for: static files in a directory, which any HTTP server can serve while it
/// changes. Everything appears by rename, and what names a file appears after it; the timestamp comes last.
public struct Repository: Sendable {
    let directory: RepositoryDirectory
    /// For how long documents are signed.
    public var lifetimes: Lifetimes

    /// The repository in `path`.
    public init(_ path: FilePath, lifetimes: Lifetimes = Lifetimes()) {
        directory = RepositoryDirectory(path: path)
        self.lifetimes = lifetimes
    }

    /// Makes an empty repository, in a directory that is missing or holds none.
    public func initialize(keys: KeySet, now: UTCTime) throws(PublishingFault) {
        let others = ((try? directory.path.directoryEntries()) ?? []).filter {
            !["metadata", "targets", "blobs", ".lock"].contains($0)
        }
        if let other = others.min() {
            throw PublishingFault(
                .badRepository, "holds '\(other)', which is not a repository's", at: .path(directory.path.string),
                remedy: "name a directory of its own")
        }
        try requireNone()
        // All keys before the first directory.
        var roles: [MetadataRole: (keys: [TrustedKey], threshold: Int)] = [:]
        for role in MetadataRole.allCases {
            roles[role] = ([TrustedKey(try keys.key(role, trustedBy: nil).publicKey)], 1)
        }
        let lock = try directory.lock(isNew: true)
        defer { withExtendedLifetime(lock) {} }
        try requireNone()
        let root = RootDocument(version: 1, expires: lifetimes.expiry(.root, signedAt: now), roles: roles)
        try putRoot(root, keys: keys)
        try put(
            targets: TargetsDocument(version: 1, expires: lifetimes.expiry(.targets, signedAt: now), targets: [:]),
            snapshotVersion: 1, timestampVersion: 1, root: root, keys: keys, now: now)
        // Last, because its presence says that there is a repository.
        try copyRoot(root)
    }

    private func requireNone() throws(PublishingFault) {
        guard directory.metadata.appending("root.json").exists else { return }
        throw PublishingFault(
            .badRepository, "there is a repository already", at: .path(directory.path.string),
            remedy: "choose another directory, or use 'ballast repo refresh'")
    }

    /// What a refresh has signed anew.
    public struct Refreshed: Sendable {
        /// The roles, in the order of their signing.
        public let roles: [MetadataRole]
        /// When the root expires, if that is near and its key was not at hand.
        public let rootExpiresSoon: UTCTime?
    }

    /// Signs the timestamp anew, and each of the others whose lifetime is more than half over. Meant to be run daily.
    public func refresh(keys: KeySet, now: UTCTime) throws(PublishingFault) -> Refreshed {
        let lock = try directory.lock()
        defer { withExtendedLifetime(lock) {} }
        let current = try directory.load()
        var signed: [MetadataRole] = []
        var root = current.root
        var rootExpiresSoon: UTCTime?
        if lifetimes.isDue(.root, expires: root.expires, at: now) {
            if keys.keys[.root] == nil {
                rootExpiresSoon = root.expires
            } else {
                root = root.renewed(expires: lifetimes.expiry(.root, signedAt: now))
                try putRoot(root, keys: keys)
                try copyRoot(root)
                signed.append(.root)
            }
        }
        var targets: TargetsDocument?
        if lifetimes.isDue(.targets, expires: current.targets.expires, at: now) {
            targets = TargetsDocument(
                version: current.targets.version + 1, expires: lifetimes.expiry(.targets, signedAt: now),
                targets: current.targets.targets)
            signed.append(.targets)
        }
        if let targets {
            try put(
                targets: targets, snapshotVersion: current.snapshot.version + 1,
                timestampVersion: current.timestamp.version + 1, root: root, keys: keys, now: now)
            signed.append(.snapshot)
        } else if lifetimes.isDue(.snapshot, expires: current.snapshot.expires, at: now) {
            try put(
                snapshotOf: current.snapshot.targets, version: current.snapshot.version + 1,
                timestampVersion: current.timestamp.version + 1, root: root, keys: keys, now: now)
            signed.append(.snapshot)
        } else {
            try put(
                timestampOf: current.timestamp.snapshot, version: current.timestamp.version + 1, root: root, keys: keys,
                now: now)
        }
        return Refreshed(roles: signed + [.timestamp], rootExpiresSoon: rootExpiresSoon)
    }

    /// Signs `targets` and what leads to it.
    func put(
        targets: TargetsDocument, snapshotVersion: Int, timestampVersion: Int, root: RootDocument, keys: KeySet,
        now: UTCTime
    ) throws(PublishingFault) {
        // All keys before the first file, so that a missing one is no half-made repository.
        for role in [MetadataRole.snapshot, .timestamp] { _ = try keys.key(role, trustedBy: root) }
        let bytes = try sign(targets.value, .targets, keys: keys, root: root)
        try directory.put(bytes, "\(targets.version).\(MetadataRole.targets.fileName)")
        try put(
            snapshotOf: MetadataFile(version: targets.version, bytes: bytes), version: snapshotVersion,
            timestampVersion: timestampVersion, root: root, keys: keys, now: now)
    }

    private func put(
        snapshotOf targets: MetadataFile, version: Int, timestampVersion: Int, root: RootDocument, keys: KeySet,
        now: UTCTime
    ) throws(PublishingFault) {
        let snapshot = SnapshotDocument(
            version: version, expires: lifetimes.expiry(.snapshot, signedAt: now), targets: targets)
        let bytes = try sign(snapshot.value, .snapshot, keys: keys, root: root)
        try directory.put(bytes, "\(version).\(MetadataRole.snapshot.fileName)")
        try put(
            timestampOf: MetadataFile(version: version, bytes: bytes), version: timestampVersion, root: root,
            keys: keys,
            now: now)
    }

    private func put(
        timestampOf snapshot: MetadataFile, version: Int, root: RootDocument, keys: KeySet, now: UTCTime
    ) throws(PublishingFault) {
        let timestamp = TimestampDocument(
            version: version, expires: lifetimes.expiry(.timestamp, signedAt: now), snapshot: snapshot)
        try directory.put(
            try sign(timestamp.value, .timestamp, keys: keys, root: root), MetadataRole.timestamp.fileName)
    }

    private func putRoot(_ root: RootDocument, keys: KeySet) throws(PublishingFault) {
        try directory.put(
            try sign(root.value, .root, keys: keys, root: root), "\(root.version).\(MetadataRole.root.fileName)")
    }

    /// `root.json` is the last root under a name that a person finds: the file to put into an image.
    private func copyRoot(_ root: RootDocument) throws(PublishingFault) {
        do throws(FileIOFault) {
            let bytes = try directory.metadata.appending("\(root.version).root.json").contents()
            try directory.metadata.appending("root.json").replaceContents(with: bytes)
        } catch {
            throw PublishingFault(.file, "the root cannot be copied", cause: error)
        }
    }

    /// The signed document, which is one that clients read.
    func sign(
        _ value: JSONValue, _ role: MetadataRole, keys: KeySet, root: RootDocument
    ) throws(PublishingFault) -> [UInt8] {
        let key = try keys.key(role, trustedBy: root)
        let bytes: [UInt8]
        do throws(TrustFault) {
            bytes = try SignedEnvelope(signing: value, with: [key], source: role.fileName).bytes
        } catch {
            throw PublishingFault(.key, "the \(role.rawValue) document cannot be signed", cause: error)
        }
        guard bytes.count <= role.sizeLimit else {
            throw PublishingFault(
                .badRequest,
                "\(role.fileName) would have \(bytes.count) bytes, and clients read at most \(role.sizeLimit)",
                at: .path(directory.path.string), remedy: "begin another repository for the releases to come")
        }
        return bytes
    }
}
