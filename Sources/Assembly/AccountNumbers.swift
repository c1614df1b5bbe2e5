package import DebianArchive
import Fault
package import FileTree
package import Manifest

/// Gives the image's users and groups the numbers that the manifest and the lock have for them, so that what lies below /var
/// on a host belongs to the same account in each version.
///
/// The maintainer scripts make accounts in the order in which packages are configured, and take the next free numbers. Once
/// the last one has run, all files of the tree, its access control lists and its account files are brought to the numbers
/// that were asked for. (Accounts that exist before a script runs would keep adduser(8) from making their homes.)
package struct AccountNumbers {
    private let locked: LockedAccounts
    private let manifest: Manifest

    package init(_ locked: LockedAccounts, manifest: Manifest) {
        self.locked = locked
        self.manifest = manifest
    }

    /// Numbers that are given out as accounts are made, and that no file can be given to by number.
    static let provisional: ClosedRange<UInt32> = 100...999
    private static let dynamic = LockedAccounts.numbers

    /// One kind of accounts: what they are called, what they had and what they get.
    private struct Table {
        let kind: String
        let locked: [String: UInt32]
        let numbers: [(name: String, number: UInt32)]
        /// What the manifest says.
        let explicit: [String: (number: UInt32, place: Place?)]
        var given: [String: UInt32] = [:]

        /// - Parameters:
        ///   - wish: a number that an account without one of its own should have, where it is free.
        ///   - substitute: a number to try where an account cannot keep the one that its script gave it.
        mutating func assign(
            wish: (String) -> UInt32? = { _ in nil }, substitute: (String) -> UInt32?
        ) throws(AssemblyFault) {
            var taken = Dictionary(locked.map { ($1, $0) }) { first, _ in first }
            let fixed = numbers.filter { !AccountNumbers.dynamic.contains($0.number) }
            let asked = numbers.compactMap { name, _ in explicit[name].map { (name: name, number: $0.number) } }
            for (name, number) in fixed + asked {
                if let refusal = refusal(name, number, taken) { throw refusal }
                given[name] = number
                taken[number] = name
            }
            for (name, _) in numbers where given[name] == nil { given[name] = locked[name] }
            let current = Set(numbers.map(\.number))
            for (name, number) in numbers where given[name] == nil {
                let choices = [wish(name), number, substitute(name)].compactMap(\.self) + Self.free(like: number)
                guard let target = choices.first(where: { taken[$0] == nil && ($0 == number || !current.contains($0)) })
                else {
                    throw AssemblyFault(
                        .invalidRequest, "there is no free number for the \(kind) '\(name)'",
                        remedy: "remove accounts that no image has any more from the lock, and run 'ballast lock' again"
                    )
                }
                given[name] = target
                taken[target] = name
            }
        }

        private func refusal(_ name: String, _ number: UInt32, _ taken: [UInt32: String]) -> AssemblyFault? {
            let place = explicit[name]?.place ?? .named(name)
            if let other = locked[name], other != number {
                return AssemblyFault(
                    .invalidRequest,
                    "the \(kind) '\(name)' would get the number \(number), and the lock has \(other) for it: what hosts have "
                        + "below /var belongs to \(other)", at: place,
                    remedy: "leave its number out, or give the image another name")
            }
            if let other = given[name], other != number {
                return AssemblyFault(
                    .invalidRequest,
                    "the \(kind) '\(name)' cannot have the number \(number): it has \(other) wherever it is installed",
                    at: place,
                    remedy: "leave its number out")
            }
            if let other = taken[number], other != name {
                return AssemblyFault(
                    .invalidRequest,
                    "the \(kind) '\(name)' cannot have the number \(number), which "
                        + (locked[other] == number ? "the lock has given to '\(other)'" : "'\(other)' has"), at: place,
                    remedy: "choose another number for '\(name)', or leave it out")
            }
            return nil
        }

        /// Where a number is looked for: from the end, as systemd-sysusers(8) does, or from the first one that people have, as
        /// useradd(8) does.
        private static func free(like number: UInt32) -> [UInt32] {
            AccountNumbers.provisional.contains(number)
                ? AccountNumbers.provisional.reversed() : Array(1000...AccountNumbers.dynamic.upperBound)
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
            explicit: explicit(manifest.groups.map { ($0.name, $0.gid) }, list: "groups", key: "gid"))
        var users = Table(
            kind: "user", locked: locked.users.mapValues(\.uid), numbers: Self.accounts(passwd),
            explicit: explicit(manifest.users.map { ($0.name, $0.uid) }, list: "users", key: "uid"))
        // A user's own group has the user's number, as sysusers.d(5) has it.
        try groups.assign(wish: { users.explicit[$0]?.number }, substitute: { locked.users[$0]?.gid })
        try users.assign(substitute: { groups.given[$0] })

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

    private func explicit(
        _ accounts: [(name: String, number: Int?)], list: String, key: String
    ) -> [String: (number: UInt32, place: Place?)] {
        var explicit: [String: (number: UInt32, place: Place?)] = [:]
        for account in accounts {
            guard let number = account.number.flatMap(UInt32.init(exactly:)) else { continue }
            explicit[account.name] = (number, manifest.place(of: list, named: account.name, key: key))
        }
        return explicit
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
