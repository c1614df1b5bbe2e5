/// The four roles of TUF 1.0, each with its own keys.
public enum MetadataRole: String, Sendable, Hashable, CaseIterable {
    /// Says which keys the roles have; its own keys are kept offline.
    case root
    /// Says what is published.
    case targets
    /// Says which versions of the targets' metadata belong together.
    case snapshot
    /// Says which snapshot is the current one; signed often and short-lived.
    case timestamp

    /// The most bytes that a client reads of it (TUF 1.0, section 5.1 leaves the numbers to us).
    public var sizeLimit: Int {
        switch self {
        case .root, .snapshot: 1 << 20
        case .timestamp: 64 << 10
        case .targets: 10 << 20
        }
    }

    /// The name in metadata and in the repository, without a version: `snapshot.json`.
    public var fileName: String { "\(rawValue).json" }

    /// Where `version` stands in a repository with consistent snapshots (TUF 1.0, section 6.2).
    func path(version: Int) -> String {
        self == .timestamp ? "metadata/\(fileName)" : "metadata/\(version).\(fileName)"
    }
}
