import Cryptography
import Fault
import Release
import Trust

/// Which release a host takes, and why.
struct ReleaseChoice {
    /// The release, or nil where none is for this host now.
    let release: ReleaseDocument?
    /// Why.
    let reason: String

    /// What the choice depends on besides what is published.
    struct Conditions {
        var product: String
        var architecture: String
        var channel: String
        var running: ImageVersion
        var pinned: String?
        var denied: [DeniedVersion]
        /// Versions that a release revokes, each with the one that does.
        var revoked: [String: String] = [:]
        /// Versions that are tried again after a pause.
        var setbacks: [Setback] = []
        var agent: ImageVersion
        /// The host's own secret number, by which it has its place in a ramp.
        var host: String
        var now: UTCTime
        /// Whether an operator asked, who does not wait for the ramp.
        var ignoresRollout = false
    }

    /// A host that has very many versions to choose from looks at the newest ones only.
    private static let limit = 64
    /// As many obstacles are told one by one.
    private static let told = 8

    /// Goes through the releases from the newest to the oldest that is newer than the one that runs.
    ///
    /// - Parameter document: fetches a release.
    static func make(
        among releases: [ReleaseEntry], _ conditions: Conditions,
        document: (ReleaseName) throws(UpdateAgentFault) -> ReleaseDocument
    ) throws(UpdateAgentFault) -> ReleaseChoice {
        let ours = releases.filter {
            $0.name.product == conditions.product && $0.name.architecture == conditions.architecture
                && $0.channels.contains(conditions.channel)
        }.sorted { $0.name.version > $1.name.version }
        let place = "channel '\(conditions.channel)'"
        guard let newest = ours.first?.name.version else {
            return ReleaseChoice(
                release: nil,
                reason: "\(place) has no release of \(conditions.product) for \(conditions.architecture)")
        }
        let newer = ours.filter { $0.name.version > conditions.running }
        guard !newer.isEmpty else {
            let what = newest == conditions.running ? "is the newest" : "is newer than \(newest), the newest"
            var reason = "\(conditions.running) \(what) in \(place)"
            if let pinned = conditions.pinned, ImageVersion.compare(pinned, conditions.running.description) < 0 {
                reason += "; this host is pinned to \(pinned), and a pin does not take it back"
            }
            return ReleaseChoice(release: nil, reason: reason)
        }
        var obstacles: [String] = []
        var failure: UpdateAgentFault?
        var looks = 0
        for name in newer.map(\.name) {
            // What needs no look at the document is known without one.
            if let obstacle = obstacle(to: name.version.description, conditions) {
                obstacles.append(obstacle)
                continue
            }
            // Nor is an older one taken in its place meanwhile.
            if let setback = conditions.setbacks.first(where: {
                ImageVersion.areEqual($0.version, name.version.description)
            }),
                setback.isPaused(at: conditions.now), !conditions.ignoresRollout
            {
                obstacles.append("\(name.version) is tried again at \(setback.retryTime): \(setback.cause)")
                break
            }
            looks += 1
            guard looks <= limit else { break }
            do throws(UpdateAgentFault) {
                let release = try document(name)
                guard let obstacle = obstacle(to: release, conditions) else {
                    let reason = obstacles.isEmpty ? "the newest in \(place)" : text(obstacles)
                    return ReleaseChoice(release: release, reason: reason)
                }
                obstacles.append(obstacle)
            } catch {
                switch error.code {
                // What could not be fetched this time is not passed over: whoever holds it back would choose what hosts take.
                case .transfer, .mismatch, .state: throw error
                default: break
                }
                // One bad release must not keep hosts from those beside it.
                failure = failure ?? error
                obstacles.append("\(name.version) cannot be used: \(error)")
            }
        }
        if let failure { throw failure }
        return ReleaseChoice(release: nil, reason: text(obstacles))
    }

    /// The newest versions' obstacles, and how many more there are.
    private static func text(_ obstacles: [String]) -> String {
        let more = obstacles.count > told ? ["\(obstacles.count - told) more are passed over"] : []
        return (obstacles.prefix(told) + more).joined(separator: "; ")
    }

    /// Why this host takes no release of `version`, or nil.
    private static func obstacle(to version: String, _ conditions: Conditions) -> String? {
        if let revoker = conditions.revoked.revoker(of: version) { return "\(version) is revoked by \(revoker)" }
        if let pinned = conditions.pinned, !ImageVersion.areEqual(pinned, version) {
            return "\(version) is passed over: this host is pinned to \(pinned)"
        }
        return conditions.denied.first { ImageVersion.areEqual($0.version, version) }
            .map { "\(version) is denied here: \($0.cause)" }
    }

    /// Why this host does not take `release`, or nil.
    private static func obstacle(to release: ReleaseDocument, _ conditions: Conditions) -> String? {
        let version = release.version
        if let minimum = release.minimumAgent, conditions.agent < minimum {
            return "\(version) needs agent \(minimum), and this one is \(conditions.agent)"
        }
        if let floor = release.floors.filter({ conditions.running < $0 && $0 < version }).max() {
            return "\(version) needs \(floor) to run before it"
        }
        guard let rollout = release.rollout, !conditions.ignoresRollout else { return nil }
        guard let time = rollout.time(forPlace: place(of: conditions.host, in: release)) else {
            return "\(version) is not rolled out to all hosts, and not to this one"
        }
        return time > conditions.now ? "\(version) waits for its wave, at \(time)" : nil
    }

    /// 0 to 99, another one for each release, so that it is not always the same hosts that go first.
    private static func place(of host: String, in release: ReleaseDocument) -> Int {
        let digest = SHA256Digest(of: "\(host) \(ReleaseName(release))".utf8)
        return digest.bytes.prefix(4).reduce(0) { $0 << 8 | Int($1) } % 100
    }
}
