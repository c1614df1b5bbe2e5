/// The numbers of an image's users and groups, kept over all its versions: what lies below /var on a host belongs to numbers.
public struct LockedAccounts: Sendable, Hashable {
    /// Numbers that are given out as accounts are made. Others are the same on each Debian system (policy, section 9.2.2).
    public static let numbers: ClosedRange<UInt32> = 100...59_999

    /// A user's own number and that of its primary group.
    public struct User: Sendable, Hashable {
        /// The user's number.
        public var uid: UInt32
        /// The number of its primary group.
        public var gid: UInt32

        /// A user of these numbers.
        public init(uid: UInt32, gid: UInt32) {
            self.uid = uid
            self.gid = gid
        }
    }

    /// By name.
    public var users: [String: User]
    /// The numbers, by name.
    public var groups: [String: UInt32]

    /// Accounts by name; none unless given.
    public init(users: [String: User] = [:], groups: [String: UInt32] = [:]) {
        self.users = users
        self.groups = groups
    }
}
