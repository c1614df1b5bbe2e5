import Fault
import Release
import Trust

/// Which releases of one product and architecture a host can come to, however old the one is that it runs.
struct UpdatePaths {
    /// A release, as far as it matters here.
    struct Step {
        let version: ImageVersion
        let channels: [String]
        let floor: ImageVersion?

        init(version: ImageVersion, channels: [String], floors: [ImageVersion]) {
            self.version = version
            self.channels = channels
            floor = floors.filter { $0 < version }.max()
        }

        init(_ release: ReleaseDocument) {
            self.init(version: release.version, channels: release.channels, floors: release.floors)
        }
    }

    /// What no release revokes, oldest first.
    private let steps: [Step]

    /// The paths through `releases`, of which those in `revoked` are none.
    init(_ releases: [Step], revoked: [ImageVersion]) {
        let revoked = Set(revoked)
        steps = releases.filter { !revoked.contains($0.version) }.sorted { $0.version < $1.version }
    }

    /// What a host that runs something older than all of them comes to in `channel`, one after another.
    func reachable(in channel: String) -> [ImageVersion] {
        var reached: [ImageVersion] = []
        for step in steps where step.channels.contains(channel) {
            // Whatever is not below the floor will do.
            if step.floor.map({ floor in reached.contains { floor <= $0 } }) ?? true { reached.append(step.version) }
        }
        return reached
    }

    /// The channels whose newest release such a host does not come to.
    var deadEnds: [(channel: String, newest: ImageVersion)] {
        Set(steps.flatMap(\.channels)).sorted().compactMap { channel in
            guard let newest = steps.last(where: { $0.channels.contains(channel) })?.version,
                !reachable(in: channel).contains(newest)
            else { return nil }
            return (channel, newest)
        }
    }
}

extension TrustedRepository {
    /// The release that `entry` names, with the channels that this says.
    func release(_ entry: ReleaseEntry) throws(PublishingFault) -> ReleaseDocument {
        do {
            let name = entry.name.description
            let bytes = try fetch(name, limit: ReleaseDocument.byteLimit)
            var release = try ReleaseDocument(parsing: bytes, source: name)
            release.channels = entry.channels
            return release
        } catch {
            throw PublishingFault(
                .badRepository, "the release document cannot be read", at: .named(entry.name.description),
                remedy: "put it back from a copy; 'ballast repo check' names all that is damaged", cause: error)
        }
    }
}
