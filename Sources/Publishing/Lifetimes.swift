public import Trust

/// For how many days each role's documents are trusted after they were signed.
public struct Lifetimes: Sendable {
    /// Days by role.
    public var days: [MetadataRole: Int]

    /// Two years for root, one for targets, three months for snapshot, one month for timestamp, unless said otherwise.
    ///
    /// The timestamp's is how long a host can be kept from seeing an update, and how long nobody may notice that
    /// `ballast repo refresh` has stopped.
    public init(root: Int = 730, targets: Int = 365, snapshot: Int = 90, timestamp: Int = 30) {
        days = [.root: root, .targets: targets, .snapshot: snapshot, .timestamp: timestamp]
    }

    func expiry(_ role: MetadataRole, signedAt now: UTCTime) -> UTCTime { now.adding(days: Int64(days[role] ?? 1)) }

    /// Whether more than half of a lifetime is over.
    func isDue(_ role: MetadataRole, expires: UTCTime, at now: UTCTime) -> Bool {
        expires < now.adding(seconds: Int64(days[role] ?? 1) * 43_200)
    }
}
