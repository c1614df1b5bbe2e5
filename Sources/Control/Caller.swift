import CLinux
import Fault
import Glibc

/// The process at the other end of a connection, as the kernel knows it since it connected.
public struct Caller: Sendable, Hashable {
    /// Its user.
    public var user: UInt32
    /// Its group.
    public var group: UInt32
    /// Its process, as seen from here; 0 for one in another PID namespace.
    public var process: Int32
    /// Its supplementary groups.
    public var groups: [UInt32]

    /// A process with these credentials.
    public init(user: UInt32, group: UInt32, process: Int32, groups: [UInt32]) {
        self.user = user
        self.group = group
        self.process = process
        self.groups = groups
    }

    /// Whether it is root, or in the group of this name. A group that the host does not have has no members.
    public func isRoot(orIn name: String) -> Bool {
        if user == 0 { return true }
        guard let required = Self.groupNumber(name) else { return false }
        return group == required || groups.contains(required)
    }

    /// Who connected to `socket`.
    init(of socket: Socket) throws(ControlFault) {
        var process: Int32 = 0
        var user: UInt32 = 0
        var group: UInt32 = 0
        guard ballast_peer_credentials(socket.descriptor, &process, &user, &group) == 0 else {
            throw .last(.socket, "cannot read who connected")
        }
        self.init(user: user, group: group, process: process, groups: try Self.supplementaryGroups(of: socket))
    }

    private static func supplementaryGroups(of socket: Socket) throws(ControlFault) -> [UInt32] {
        var groups = [UInt32](repeating: 0, count: 64)
        // NGROUPS_MAX is 65536: the second attempt is always large enough.
        for _ in 0..<2 {
            let count = ballast_peer_groups(socket.descriptor, &groups, groups.count)
            guard count >= 0 else { throw .last(.socket, "cannot read the groups of who connected") }
            if count <= groups.count { return Array(groups.prefix(count)) }
            groups = [UInt32](repeating: 0, count: min(count, 65536))
        }
        throw ControlFault(.socket, "cannot read the groups of who connected")
    }

    private static func groupNumber(_ name: String) -> UInt32? {
        var entry = Glibc.group()
        var found: UnsafeMutablePointer<Glibc.group>?
        // A group with many members needs more than a page.
        var buffer = [CChar](repeating: 0, count: 64 << 10)
        guard getgrnam_r(name, &entry, &buffer, buffer.count, &found) == 0, found != nil else { return nil }
        return entry.gr_gid
    }
}
