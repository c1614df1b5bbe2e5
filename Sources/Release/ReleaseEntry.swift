import Fault
public import JSON
public import Trust

/// A release among a repository's targets, with what its entry says, so that a host decides without fetching them all:
/// `{"ballast": {"product": …, "version": …, "architecture": …, "channels": […], "revokes": […],
/// "reoffers": 1}}`.
public struct ReleaseEntry: Sendable, Hashable {
    /// How it is called.
    public let name: ReleaseName
    /// The channels it appears in.
    public let channels: [String]
    /// Versions of the same product and architecture that no host shall install or go back to, whatever its channel.
    public let revokes: [ImageVersion]
    /// How often its publisher has offered it anew to hosts on which it had failed.
    public var reoffers = 0

    /// The entry of `release`.
    public init(_ release: ReleaseDocument) {
        name = ReleaseName(release)
        channels = release.channels
        revokes = release.revokes
    }

    private init(name: ReleaseName, channels: [String], revokes: [ImageVersion], reoffers: Int) {
        self.name = name
        self.channels = channels
        self.revokes = revokes
        self.reoffers = reoffers
    }

    /// More elements of a list are passed over.
    private static let listLimit = 1000

    /// What the target's entry says besides length and digest.
    public var custom: JSONValue {
        var members: [String: JSONValue] = [
            "product": .string(name.product), "version": .string(name.version.description),
            "architecture": .string(name.architecture), "channels": .array(channels.map { .string($0) }),
        ]
        if !revokes.isEmpty { members["revokes"] = .array(revokes.map { .string($0.description) }) }
        if reoffers > 0 { members["reoffers"] = .integer(Int64(reoffers)) }
        return ["ballast": .object(members)]
    }

    /// The releases among `targets`, oldest first. Other targets, and entries that contradict their name, are passed over.
    public static func all(in targets: TargetsDocument) -> [ReleaseEntry] {
        var entries: [ReleaseEntry] = []
        for (target, entry) in targets.targets {
            guard let members = entry.custom["ballast"], let name = ReleaseName(members), name.description == target
            else { continue }
            entries.append(
                ReleaseEntry(
                    name: name, channels: texts(members["channels"]),
                    revokes: texts(members["revokes"]).compactMap { try? ImageVersion($0) },
                    reoffers: count(members["reoffers"])))
        }
        return entries.sorted { left, right in
            let order = ImageVersion.compare(left.name.version.description, right.name.version.description)
            return order == 0 ? left.name.description < right.name.description : order < 0
        }
    }

    private static func count(_ value: JSONValue?) -> Int {
        if case .integer(let number)? = value { Int(min(max(number, 0), Int64(Int32.max))) } else { 0 }
    }

    private static func texts(_ value: JSONValue?) -> [String] {
        guard case .array(let list) = value else { return [] }
        return list.prefix(listLimit).compactMap { if case .string(let text) = $0 { text } else { nil } }
    }
}
