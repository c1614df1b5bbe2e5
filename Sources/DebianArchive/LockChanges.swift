public import JSON

/// What one lock has that another has not.
public struct LockChanges: Sendable, Hashable {
    /// One package that differs.
    public enum Change: Sendable, Hashable {
        case added(name: String, version: String)
        case removed(name: String, version: String)
        case changed(name: String, old: String, new: String)

        var name: String {
            switch self {
            case .added(let name, _), .removed(let name, _), .changed(let name, _, _): name
            }
        }
    }

    /// The changes, sorted by name.
    public let changes: [Change]

    /// The way from `old` to `new`; without an old lock everything is added.
    public init(from old: Lock?, to new: Lock) {
        let before = Dictionary((old?.packages ?? []).map { ($0.name, $0) }) { first, _ in first }
        let after = Dictionary(new.packages.map { ($0.name, $0) }) { first, _ in first }
        var changes: [Change] = []
        for package in new.packages {
            guard let previous = before[package.name] else {
                changes.append(.added(name: package.name, version: package.version))
                continue
            }
            // The same version with other bytes is a change too.
            if previous.version != package.version || previous.digest != package.digest {
                changes.append(.changed(name: package.name, old: previous.version, new: package.version))
            }
        }
        for package in old?.packages ?? [] where after[package.name] == nil {
            changes.append(.removed(name: package.name, version: package.version))
        }
        self.changes = changes.sorted { $0.name.utf8.lexicographicallyPrecedes($1.name.utf8) }
    }

    /// One line a change: `+name version`, `-name version`, `name old -> new`.
    public var lines: [String] {
        changes.map { change in
            switch change {
            case .added(let name, let version): "+\(name) \(version)"
            case .removed(let name, let version): "-\(name) \(version)"
            case .changed(let name, let old, let new): " \(name) \(old) -> \(new)"
            }
        }
    }

    /// The changes for a program.
    public var json: JSONValue {
        .array(
            changes.map { change in
                switch change {
                case .added(let name, let version): ["name": .string(name), "new": .string(version)]
                case .removed(let name, let version): ["name": .string(name), "old": .string(version)]
                case .changed(let name, let old, let new):
                    ["name": .string(name), "old": .string(old), "new": .string(new)]
                }
            })
    }
}
