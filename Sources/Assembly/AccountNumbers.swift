package import DebianArchive
import Fault
package import FileTree
package import Manifest

/// Gives the image's users and groups the numbers that the lock has for them, so that what lies below /var on a host belongs
/// to the same account in each version.
///
/// The maintainer scripts make accounts in the order in which packages are configured, and take the next free numbers. Once
/// the last one has run, all files of the tree, its access control lists and its account files are brought to the locked
/// numbers. (Accounts that exist before a script runs would keep adduser(8) from making their homes.)
package struct AccountNumbers {
    private let locked: LockedAccounts
    private let manifest: Manifest

    package init(_ locked: LockedAccounts, manifest: Manifest) {
        self.locked = locked
        self.manifest = manifest
    }

    private static let dynamic = LockedAccounts.numbers
    /// Where a number is looked for, from its end: where systemd-sysusers(8) does.
    private static let systemRange: ClosedRange<UInt32> = 100...999

    /// One kind of accounts: what they are called, what they had and what they get.
    private struct Table {
        let kind: String
        let locked: [String: UInt32]
        let numbers: [(name: String, number: UInt32)]
        let explicit: [String: Place?]
        var given: [String: UInt32] = [:]

        /// - Parameter preferred: a number to try where an account cannot keep its own.
        mutating func assign(preferred: (String) -> UInt32?) throws(AssemblyFault) {
            var taken = Dictionary(locked.map { ($1, $0) }) { first, _ in first }
            func isFixed(_ name: String, _ number: UInt32) -> Bool {
                explicit[name] != nil || !AccountNumbers.dynamic.contains(number)
            }
            for (name, number) in numbers {
                if let target = locked[name] {
                    guard target == number || !isFixed(name, number) else {
                        throw AssemblyFault(
                            .invalidRequest,
                            "the \(kind) '\(name)' would get the number \(number), and the lock has \(target) for it: what "
                                + "hosts have below /var belongs to \(target)", at: explicit[name] ?? .named(name),
                            remedy: "leave its number out, or give the image another name")
                    }
                    given[name] = target
                } else if isFixed(name, number) {
                    if let other = taken[number], other != name {
                        throw AssemblyFault(
                            .invalidRequest,
                            "the \(kind) '\(name)' has the number \(number), which the lock has given to '\(other)'",
                            at: explicit[name] ?? .named(name), remedy: "choose another number for '\(name)'")
                    }
                    given[name] = number
                    taken[number] = name
                }
            }
            let current = Set(numbers.map(\.number))
            for (name, number) in numbers where given[name] == nil {
                var target = taken[number] == nil ? number : nil
                if target == nil, let other = preferred(name), taken[other] == nil, !current.contains(other) {
                    target = other
                }
                target =
                    target ?? AccountNumbers.systemRange.reversed().first { taken[$0] == nil && !current.contains($0) }
                guard let target else {
                    throw AssemblyFault(
                        .invalidRequest, "there is no free number from 100 to 999 for the \(kind) '\(name)'",
                        remedy: "remove accounts that no image has any more from the lock, and run 'ballast lock' again"
                    )
                }
                given[name] = target
                taken[target] = name
            }
        }

        /// What becomes of each number that changes.
        var changes: [UInt32: UInt32] {
            Dictionary(
                numbers.compactMap { name, number in
                    given[name].flatMap { $0 == number ? nil : (number, $0) }
                }
            ) { first, _ in first }
        }
    }

    /// Brings `tree` to the locked numbers.
    ///
    /// - Returns: the locked accounts, and those that the image has beyond.
    package func apply(to tree: inout FileTree) throws -> LockedAccounts {
        let passwd = Self.lines(try tree.contents(of: "etc/passwd"))
        let group = Self.lines(try tree.contents(of: "etc/group"))
        var groups = Table(
            kind: "group", locked: locked.groups, numbers: Self.accounts(group),
            explicit: Dictionary(
                manifest.groups.filter { $0.gid != nil }.map {
                    ($0.name, manifest.place(of: "groups", named: $0.name, key: "gid"))
                }
            ) { first, _ in first })
        try groups.assign { locked.users[$0]?.gid }
        var users = Table(
            kind: "user", locked: locked.users.mapValues(\.uid), numbers: Self.accounts(passwd),
            explicit: Dictionary(
                manifest.users.filter { $0.uid != nil }.map {
                    ($0.name, manifest.place(of: "users", named: $0.name, key: "uid"))
                }
            ) { first, _ in first })
        try users.assign { groups.given[$0] }

        let (uids, gids) = (users.changes, groups.changes)
        if !uids.isEmpty || !gids.isEmpty {
            tree.modifyAll { inode in
                inode.owner = uids[inode.owner] ?? inode.owner
                inode.group = gids[inode.group] ?? inode.group
                for (name, value) in inode.extendedAttributes where name.hasPrefix("system.posix_acl_") {
                    inode.extendedAttributes[name] = Self.accessControlList(value, uids, gids)
                }
            }
            try Self.replace("etc/passwd", with: passwd, [(2, uids), (3, gids)], in: &tree)
            try Self.replace("etc/group", with: group, [(2, gids)], in: &tree)
        }
        return merged(users, groups, Self.numbers(passwd, field: 3))
    }

    private func merged(_ users: Table, _ groups: Table, _ primary: [(name: String, number: UInt32)]) -> LockedAccounts
    {
        var accounts = locked
        for (name, gid) in groups.given where Self.dynamic.contains(gid) { accounts.groups[name] = gid }
        let primary = Dictionary(primary.map { ($0.name, $0.number) }) { first, _ in first }
        let changes = groups.changes
        for (name, uid) in users.given where Self.dynamic.contains(uid) {
            let gid = primary[name] ?? uid
            accounts.users[name] = .init(uid: uid, gid: changes[gid] ?? gid)
        }
        return accounts
    }

    private static func lines(_ bytes: [UInt8]) -> [[String]] {
        String(decoding: bytes, as: UTF8.self).split(separator: "\n").map {
            $0.split(separator: ":", omittingEmptySubsequences: false).map(String.init)
        }
    }

    /// Names with their numbers, of names with the same number the first: others are aliases and follow it.
    private static func accounts(_ lines: [[String]]) -> [(name: String, number: UInt32)] {
        var seen: Set<UInt32> = []
        return numbers(lines, field: 2).filter { seen.insert($0.number).inserted }
    }

    private static func numbers(_ lines: [[String]], field: Int) -> [(name: String, number: UInt32)] {
        lines.compactMap { fields in
            guard fields.count > field, let name = fields.first, let number = UInt32(fields[field]) else { return nil }
            return (name, number)
        }
    }

    private static func replace(
        _ path: String, with lines: [[String]], _ changes: [(field: Int, numbers: [UInt32: UInt32])],
        in tree: inout FileTree
    ) throws(FileTreeFault) {
        guard var inode = tree[path] else { return }
        var text = ""
        for var fields in lines {
            for (field, numbers) in changes where fields.count > field {
                if let new = UInt32(fields[field]).flatMap({ numbers[$0] }) { fields[field] = "\(new)" }
            }
            text += fields.joined(separator: ":") + "\n"
        }
        inode.kind = .regular(.bytes(Array(text.utf8)))
        try tree.insert(inode, at: path)
    }

    /// A list as Linux stores it (include/uapi/linux/posix_acl_xattr.h): a version, then entries of tag, permissions and
    /// number, little-endian.
    private static func accessControlList(
        _ value: [UInt8], _ uids: [UInt32: UInt32], _ gids: [UInt32: UInt32]
    ) -> [UInt8] {
        var value = value
        for start in stride(from: 4, through: value.count - 8, by: 8) {
            let tag = UInt16(value[start]) | UInt16(value[start + 1]) << 8
            let number = (0..<4).reduce(UInt32(0)) { $0 | UInt32(value[start + 4 + $1]) << (8 * UInt32($1)) }
            let new: UInt32? =
                switch tag {
                case 0x02: uids[number]
                case 0x08: gids[number]
                default: nil
                }
            guard let new else { continue }
            for index in 0..<4 { value[start + 4 + index] = UInt8(truncatingIfNeeded: new >> (8 * UInt32(index))) }
        }
        return value
    }
}
