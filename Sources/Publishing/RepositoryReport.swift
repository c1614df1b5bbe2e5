import Cryptography
public import Fault
public import JSON
import Release
import Terminal
public import Trust

/// What a repository publishes and how long it is good for.
public struct RepositoryReport: Sendable {
    private struct Role: Sendable {
        let role: MetadataRole
        let version: Int
        let expires: UTCTime
        let keys: [String]
    }

    private let roles: [Role]
    private let releases: [ReleaseDocument]

    /// Reads `repository`, verifying it as a client does.
    public init(_ repository: Repository) throws(PublishingFault) {
        let current = try repository.directory.load()
        func role(_ role: MetadataRole, _ version: Int, _ expires: UTCTime) -> Role {
            Role(role: role, version: version, expires: expires, keys: current.root.keys(of: role).identifiers)
        }
        roles = [
            role(.root, current.root.version, current.root.expires),
            role(.targets, current.targets.version, current.targets.expires),
            role(.snapshot, current.snapshot.version, current.snapshot.expires),
            role(.timestamp, current.timestamp.version, current.timestamp.expires),
        ]
        var releases: [ReleaseDocument] = []
        for entry in ReleaseEntry.all(in: current.targets) { releases.append(try current.release(entry)) }
        self.releases = releases
    }

    /// The report as JSON.
    public var value: JSONValue {
        [
            "roles": .array(
                roles.map {
                    [
                        "role": .string($0.role.rawValue), "version": .integer(Int64($0.version)),
                        "expires": .string($0.expires.description), "keys": .array($0.keys.map { .string($0) }),
                    ]
                }),
            "releases": .array(
                releases.map { release in
                    [
                        "product": .string(release.product), "version": .string(release.version.description),
                        "architecture": .string(release.architecture),
                        "channels": .array(release.channels.map { .string($0) }),
                        "image_size": .integer(release.image.size),
                        "transfer_size": .integer(Self.transferSize(release)),
                        "root_hash": .string(release.verity.rootHash.description), "notes": .string(release.notes),
                        "rollout": release.rollout.map(\.value) ?? .null,
                        "minimum_agent": release.minimumAgent.map { .string($0.description) } ?? .null,
                        "floors": .array(release.floors.map { .string($0.description) }),
                        "revokes": .array(release.revokes.map { .string($0.description) }),
                        "revoked_by": revokers(of: release).first.map { .string($0) } ?? .null,
                    ]
                }),
        ]
    }

    /// The report for a person, at `now`.
    public func text(now: UTCTime) -> String {
        var rows = [["ROLE", "VERSION", "EXPIRES", "LEFT"]]
        for role in roles {
            let hours = (role.expires.seconds - now.seconds) / 3600
            let left = role.expires <= now ? "EXPIRED" : hours < 72 ? "\(hours) hours" : "\(hours / 24) days"
            rows.append([role.role.rawValue, "\(role.version)", role.expires.description, left])
        }
        var text = Self.table(rows) + "\n\n"
        guard !releases.isEmpty else { return text + "Nothing is published yet." }
        rows = [["PRODUCT", "VERSION", "ARCHITECTURE", "CHANNELS", "IMAGE", "TRANSFER", "CONDITIONS"]]
        for release in releases.reversed() {
            rows.append([
                release.product, release.version.description, release.architecture,
                release.channels.joined(separator: ","),
                Progress.bytes(release.image.size), Progress.bytes(Self.transferSize(release)), conditions(of: release),
            ])
        }
        text += Self.table(rows)
        return text
    }

    /// The releases that revoke `release`.
    private func revokers(of release: ReleaseDocument) -> [String] {
        releases.filter {
            $0.product == release.product && $0.architecture == release.architecture
                && $0.revokes.contains(release.version)
        }.map(\.version.description)
    }

    private func conditions(of release: ReleaseDocument) -> String {
        func list(_ versions: [ImageVersion]) -> String { versions.map(\.description).joined(separator: ", ") }
        var parts = revokers(of: release).map { "REVOKED by \($0)" }
        if !release.floors.isEmpty { parts.append("after \(list(release.floors))") }
        if !release.revokes.isEmpty { parts.append("revokes \(list(release.revokes))") }
        if let agent = release.minimumAgent { parts.append("agent \(agent)") }
        if let rollout = release.rollout {
            let steps = rollout.ramp.map { "\($0.percent) % after \(Quantity.text(seconds: $0.delay))" }
            parts.append("from \(rollout.start)" + (steps.isEmpty ? "" : " (\(steps.joined(separator: ", ")))"))
        }
        return parts.joined(separator: "; ")
    }

    private static func transferSize(_ release: ReleaseDocument) -> Int64 {
        release.image.index.size + release.image.frames.size + release.kernel.size
    }

    private static func table(_ rows: [[String]]) -> String {
        var widths: [Int] = []
        for row in rows {
            for (column, cell) in row.enumerated() {
                if column == widths.count { widths.append(0) }
                widths[column] = max(widths[column], cell.count)
            }
        }
        return rows.map { row in
            let cells = zip(row, widths).map { $0 + String(repeating: " ", count: $1 - $0.count) }
            return String(cells.joined(separator: "  ").reversed().drop { $0 == " " }.reversed())
        }.joined(separator: "\n")
    }
}
