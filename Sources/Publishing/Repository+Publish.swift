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
        /// Versions that no host shall install or go back to any more.
        public var revokes: [ImageVersion] = []
        /// Who may update when.
        public var rollout: Rollout?
        /// Whether what an operator may regret is refused.
        public var refusesWarnings = false

        /// Into `channels`, without conditions.
        public init(channels: [String]) {
            self.channels = channels
        }
    }

    /// What a publication came to.
    public struct Publication: Sendable {
        /// The release.
        public let release: ReleaseDocument
        /// The bytes that a host fetches for it.
        public let transferSize: Int64
        /// What an operator may regret: one sentence each.
        public let warnings: [String]
    }

    /// Publishes the build: blobs first, then the release document, then the metadata that names it, timestamp last.
    ///
    /// - Throws: `badRequest` where no host could ever take it, or `alreadyPublished` when there is a release of this product, version and architecture.
    public func publish(
        _ build: BuildDescription, options: Options, keys: KeySet, now: UTCTime
    ) async throws(PublishingFault) -> Publication {
        for channel in options.channels where !ReleaseName.isComponent(channel) {
            throw PublishingFault(
                .badRequest, "'\(channel)' cannot be a channel's name",
                remedy: "use 1 to 64 of a-z, A-Z, 0-9, '.' and '-', and no '.' at its beginning")
        }
        let lock = try directory.lock()
        defer { withExtendedLifetime(lock) {} }
        let current = try directory.load()
        for role in [MetadataRole.targets, .snapshot, .timestamp] { _ = try keys.key(role, trustedBy: current.root) }
        let known = ReleaseName(product: build.product, version: build.version, architecture: build.architecture)
        let published = ReleaseEntry.all(in: current.targets).filter {
            $0.name.product == build.product && $0.name.architecture == build.architecture
        }
        // A host takes other spellings for the same version.
        let same = published.first { $0.name.version == build.version }?.name.version
        guard current.targets.targets[known.description] == nil, same == nil else {
            throw PublishingFault(
                .alreadyPublished,
                "\(build.product) \(same ?? build.version) for \(build.architecture) is published already",
                at: .path(directory.path.string),
                remedy: "publish another build under another version; what is published never changes")
        }
        try check(options, of: build, among: published)
        let warnings =
            warnings(about: build, options, among: published)
            + deadEnds(about: build, options, among: published, in: current)
        guard warnings.isEmpty || !options.refusesWarnings else {
            throw PublishingFault(
                .badRequest, warnings.joined(separator: "; "),
                at: .path(build.image.path.removingLastComponent().string),
                remedy: "what is published never changes; '--accept-warnings' publishes it all the same")
        }
        let release: ReleaseDocument
        let blobs: [PendingBlob]
        do {
            (release, blobs) = try await makeBlobs(build, options: options)
        } catch let fault as PublishingFault {
            throw fault
        } catch is CancellationError {
            throw PublishingFault(.interrupted, "interrupted; nothing was published")
        } catch {
            throw PublishingFault(.file, "the image cannot be stored", at: .path(directory.path.string), cause: error)
        }
        let name = ReleaseName(release)
        let target = TargetsDocument.Target(
            bytes: release.bytes, custom: ReleaseEntry(release).custom)
        var targets = current.targets.targets
        targets[name.description] = target
        let document = TargetsDocument(
            version: current.targets.version + 1, expires: lifetimes.expiry(.targets, signedAt: now), targets: targets)
        // What no host would read is not published, and leaves nothing.
        guard release.bytes.count <= ReleaseDocument.byteLimit else {
            throw PublishingFault(
                .badRequest,
                "the release document would have \(release.bytes.count) bytes, and hosts read at most "
                    + "\(ReleaseDocument.byteLimit)", at: .named("--notes"), remedy: "write shorter notes")
        }
        _ = try sign(document.value, .targets, keys: keys, root: current.root)
        do throws(FileIOFault) {
            for blob in blobs { try blob.commit() }
            // The directory's entries have to be on the medium before metadata names them.
            try OpenFile(reading: directory.blobs).flush()
        } catch {
            throw PublishingFault(.file, "the image cannot be stored", at: .path(directory.path.string), cause: error)
        }
        do {
            let path = directory.path.appending(try TrustedRepository.path(of: name.description, target))
            try path.replaceContents(with: release.bytes)
        } catch {
            throw PublishingFault(.file, "the release document cannot be stored", cause: error)
        }
        try put(
            targets: document,
            snapshotVersion: current.snapshot.version + 1, timestampVersion: current.timestamp.version + 1,
            root: current.root, keys: keys, now: now)
        return Publication(
            release: release,
            transferSize: release.image.index.size + release.image.frames.size + release.kernel.size,
            warnings: warnings)
    }

    /// Offers `version` anew to hosts that denied it because it failed there. What an operator has denied stays so.
    ///
    /// - Parameter product: nil where only one has a release of that version.
    /// - Returns: the product, and how often the version has been offered anew with this.
    public func reoffer(
        _ version: ImageVersion, of product: String?, keys: KeySet, now: UTCTime
    ) throws(PublishingFault) -> (product: String, count: Int) {
        let lock = try directory.lock()
        defer { withExtendedLifetime(lock) {} }
        let current = try directory.load()
        for role in [MetadataRole.targets, .snapshot, .timestamp] { _ = try keys.key(role, trustedBy: current.root) }
        var targets = current.targets.targets
        let entries = ReleaseEntry.all(in: current.targets).filter {
            $0.name.version == version && (product == nil || $0.name.product == product)
        }
        let products = Set(entries.map(\.name.product)).sorted()
        guard let name = products.first, products.count == 1 else {
            let what =
                products.isEmpty
                ? product.map { "\($0) has no release \(version) here" } ?? "no product has a release \(version) here"
                : "\(products.joined(separator: " and ")) have a release \(version) here"
            throw PublishingFault(
                .badRequest, what, at: .path(directory.path.string),
                remedy: "give one that 'ballast repo show' lists, with --product where there are several")
        }
        let revokers = ReleaseEntry.all(in: current.targets).filter {
            $0.name.product == name && $0.revokes.contains(version)
        }
        if let revoker = revokers.first?.name.version {
            throw PublishingFault(
                .badRequest, "\(name) \(version) is revoked by \(revoker), so that no host takes it",
                at: .path(directory.path.string), remedy: "publish what it holds under a new version")
        }
        var count = 0
        for entry in entries {
            guard var target = targets[entry.name.description] else { continue }
            var entry = entry
            entry.reoffers += 1
            count = max(count, entry.reoffers)
            target.custom = entry.custom
            targets[entry.name.description] = target
        }
        let document = TargetsDocument(
            version: current.targets.version + 1, expires: lifetimes.expiry(.targets, signedAt: now), targets: targets)
        try put(
            targets: document, snapshotVersion: current.snapshot.version + 1,
            timestampVersion: current.timestamp.version + 1, root: current.root, keys: keys, now: now)
        return (name, count)
    }

    /// Refuses conditions under which no host could take the release.
    private func check(
        _ options: Options, of build: BuildDescription, among published: [ReleaseEntry]
    ) throws(PublishingFault) {
        if let problem = options.rollout?.problem {
            throw PublishingFault(
                .badRequest, problem, at: .named("--ramp"), remedy: "give steps that go up to 100 percent")
        }
        for (option, count, limit) in [
            ("--channel", options.channels.count, ReleaseDocument.channelLimit),
            ("--floor", options.floors.count, ReleaseDocument.versionLimit),
            ("--revoke", options.revokes.count, ReleaseDocument.versionLimit),
        ] where count > limit {
            throw PublishingFault(
                .badRequest, "there are \(count), and a release has at most \(limit)", at: .named(option),
                remedy: "leave some out")
        }
        if options.revokes.contains(build.version) {
            throw PublishingFault(
                .badRequest, "\(build.version) would revoke itself", at: .named("--revoke"),
                remedy: "name the versions that it replaces")
        }
        for floor in options.floors {
            guard floor < build.version else {
                throw PublishingFault(
                    .badRequest, "no host below \(build.version) could run \(floor) before it", at: .named("--floor"),
                    remedy: "name a lower version")
            }
        }
        let revoked = published.reduce(into: Set(options.revokes)) { $0.formUnion($1.revokes) }
        for floor in options.floors {
            // Whatever is not below the floor will do.
            let steps = published.filter {
                floor <= $0.name.version && $0.name.version < build.version && !revoked.contains($0.name.version)
            }
            for channel in options.channels where !steps.contains(where: { $0.channels.contains(channel) }) {
                throw PublishingFault(
                    .badRequest,
                    "hosts in channel '\(channel)' that are below \(floor) would have to run it or one between it and "
                        + "\(build.version) first, and there is none that is not revoked", at: .named("--floor"),
                    remedy: "publish one in '\(channel)' before it")
            }
        }
        for entry in published where entry.revokes.contains(build.version) {
            throw PublishingFault(
                .badRequest, "\(entry.name.version) revokes \(build.version), so that no host would take it",
                remedy: "publish it under another version")
        }
    }

    /// Warns where hosts that run an old version would not come to a channel's newest release any more.
    private func deadEnds(
        about build: BuildDescription, _ options: Options, among published: [ReleaseEntry],
        in current: TrustedRepository
    ) -> [String] {
        // Nothing else takes away a way that there was.
        guard !options.floors.isEmpty || !options.revokes.isEmpty else { return [] }
        var warnings: [String] = []
        var steps: [UpdatePaths.Step] = []
        for entry in published {
            do throws(PublishingFault) { steps.append(UpdatePaths.Step(try current.release(entry))) } catch {
                warnings.append("\(error.place.map { "\($0): " } ?? "")\(error.message)")
            }
        }
        let revoked = published.flatMap(\.revokes)
        let before = Set(UpdatePaths(steps, revoked: revoked).deadEnds.map(\.channel))
        steps.append(UpdatePaths.Step(version: build.version, channels: options.channels, floors: options.floors))
        for (channel, newest) in UpdatePaths(steps, revoked: revoked + options.revokes).deadEnds
        where !before.contains(channel) || newest == build.version {
            warnings.append(
                "hosts in channel '\(channel)' that run an old version do not come to \(newest): what its floor asks for is "
                    + "revoked, or has a floor that they do not come to")
        }
        return warnings
    }

    private func warnings(
        about build: BuildDescription, _ options: Options, among published: [ReleaseEntry]
    ) -> [String] {
        var warnings: [String] = []
        for version in options.revokes where !published.contains(where: { $0.name.version == version }) {
            warnings.append("\(version) is revoked and was never published here")
        }
        if build.repository == nil {
            warnings.append(
                "the image names no repository, so that hosts which run it find no update after it; set 'update.url' in "
                    + "the manifest")
        }
        let isKnown = build.trustedRoot.map { root in
            let names = (try? directory.metadata.directoryEntries()) ?? []
            return names.filter { $0.hasSuffix("root.json") }.contains { name in
                (try? SHA256Digest.ofFile(directory.metadata.appending(name)).digest) == root
            }
        }
        switch isKnown {
        case nil:
            warnings.append(
                "the image trusts no root metadata, so that hosts which run it take no update after it; set "
                    + "'update.trusted_root' in the manifest")
        case false:
            warnings.append(
                "the root metadata that the image trusts is not this repository's, so that hosts which run it take no "
                    + "update from here after it")
        case true: break
        }
        return warnings
    }

    /// The release with its blobs, which are on the medium and still have no names.
    private func makeBlobs(
        _ build: BuildDescription, options: Options
    ) async throws -> (ReleaseDocument, [PendingBlob]) {
        let progress = Progress(
            "Publishing \(build.product) \(build.version)", total: build.image.blob.size + build.kernel.blob.size,
            unit: .bytes)
        defer { progress.finish() }
        let kernel = try PendingBlob(in: directory.blobs)
        let reader = try CheckedReader(build.kernel)
        var left = build.kernel.blob.size
        while left > 0 {
            try Task.checkCancellation()
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
            size: build.image.blob.size, index: try indexBlob.seal(), frames: try frames.seal())
        var release = ReleaseDocument(
            product: build.product, version: build.version, architecture: build.architecture,
            channels: options.channels, epoch: build.epoch, verity: build.verity, image: image,
            kernel: try kernel.seal())
        release.notes = options.notes
        release.minimumAgent = options.minimumAgent
        release.floors = options.floors
        release.revokes = options.revokes
        release.rollout = options.rollout
        // What a host would refuse is not published.
        return (
            try ReleaseDocument(parsing: release.bytes, source: "the new release"), [kernel, frames, indexBlob]
        )
    }
}
