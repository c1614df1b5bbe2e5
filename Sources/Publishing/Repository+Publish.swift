import Cryptography
public import Fault
import FileIO
public import Release
import SystemPackage
import Terminal
public import Trust

extension Repository {
    /// How a build is published.
    public struct Options: Sendable {
        /// The channels it appears in.
        public var channels: [String]
        /// What an operator reads.
        public var notes = ""
        /// zstd's level, 1 to 19. Measured on frames of 1 MiB: 12 gains 0.3 % on 9 for twice the time, 19 gains 10 % for ten
        /// times it.
        public var level = 9
        /// The raw length of a frame: a power of two.
        public var frameSize = 1 << 20
        /// The oldest agent that can install it.
        public var minimumAgent: ImageVersion?
        /// Versions that a host below them has to run first.
        public var floors: [ImageVersion] = []
        /// Versions that no host shall run any more.
        public var revokes: [ImageVersion] = []
        /// Who may update when.
        public var rollout: Rollout?

        /// Into `channels`, without conditions.
        public init(channels: [String]) {
            self.channels = channels
        }
    }

    /// Publishes the build: blobs first, then the release document, then the metadata that names it, timestamp last.
    ///
    /// - Returns: the release and the bytes that a host fetches for it.
    /// - Throws: `alreadyPublished` when there is a release of this product, version and architecture.
    public func publish(
        _ build: BuildDescription, options: Options, keys: KeySet, now: UTCTime
    ) async throws(PublishingFault) -> (release: ReleaseDocument, transferSize: Int64) {
        for channel in options.channels where !ReleaseName.isComponent(channel) {
            throw PublishingFault(.badBuild, "'\(channel)' cannot be a channel's name")
        }
        let lock = try directory.lock()
        defer { withExtendedLifetime(lock) {} }
        let current = try directory.load()
        for role in [MetadataRole.targets, .snapshot, .timestamp] { _ = try keys.key(role, trustedBy: current.root) }
        let known = ReleaseName(product: build.product, version: build.version, architecture: build.architecture)
        guard current.targets.targets[known.description] == nil else {
            throw PublishingFault(
                .alreadyPublished,
                "\(build.product) \(build.version) for \(build.architecture) is published already",
                at: .path(directory.path.string),
                remedy: "publish another build under another version; what is published never changes")
        }
        let release: ReleaseDocument
        do {
            release = try await putBlobs(build, options: options)
        } catch let fault as PublishingFault {
            throw fault
        } catch {
            throw PublishingFault(.file, "the image cannot be stored", at: .path(directory.path.string), cause: error)
        }
        let name = ReleaseName(release)
        let target = TargetsDocument.Target(
            bytes: release.bytes, custom: ReleaseEntry(release).custom)
        do {
            let path = directory.path.appending(try TrustedRepository.path(of: name.description, target))
            try path.replaceContents(with: release.bytes)
        } catch {
            throw PublishingFault(.file, "the release document cannot be stored", cause: error)
        }
        var targets = current.targets.targets
        targets[name.description] = target
        try put(
            targets: TargetsDocument(
                version: current.targets.version + 1, expires: lifetimes.expiry(.targets, signedAt: now),
                targets: targets),
            snapshotVersion: current.snapshot.version + 1, timestampVersion: current.timestamp.version + 1,
            root: current.root, keys: keys, now: now)
        return (release, release.image.index.size + release.image.frames.size + release.kernel.size)
    }

    private func putBlobs(_ build: BuildDescription, options: Options) async throws -> ReleaseDocument {
        let progress = Progress(
            "Publishing \(build.product) \(build.version)", total: build.image.blob.size + build.kernel.blob.size,
            unit: .bytes)
        defer { progress.finish() }
        let kernel = try PendingBlob(in: directory.blobs)
        let reader = try CheckedReader(build.kernel)
        var left = build.kernel.blob.size
        while left > 0 {
            let bytes = try reader.read(Int(min(left, 1 << 20)))
            try kernel.append(bytes)
            left -= Int64(bytes.count)
            progress.advance(by: Int64(bytes.count))
        }
        try reader.finish()
        let frames = try PendingBlob(in: directory.blobs)
        let index = try await ImageCompressor(level: options.level, frameSize: options.frameSize)
            .compress(build.image, into: frames, progress: progress)
        let indexBlob = try PendingBlob(in: directory.blobs)
        try indexBlob.append(index.bytes)
        let image = ReleaseDocument.Image(
            size: build.image.blob.size, index: try indexBlob.commit(), frames: try frames.commit())
        var release = ReleaseDocument(
            product: build.product, version: build.version, architecture: build.architecture,
            channels: options.channels, epoch: build.epoch, verity: build.verity, image: image,
            kernel: try kernel.commit())
        release.notes = options.notes
        release.minimumAgent = options.minimumAgent
        release.floors = options.floors
        release.revokes = options.revokes
        release.rollout = options.rollout
        // The directory's entries have to be on the medium before metadata names them.
        try OpenFile(reading: directory.blobs).flush()
        // What a host would refuse is not published.
        return try ReleaseDocument(parsing: release.bytes, source: "the new release")
    }
}
