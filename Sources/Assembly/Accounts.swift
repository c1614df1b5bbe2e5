import DebianArchive
import Fault

/// The numbers of the image's users and groups, as files of the form of passwd(5) and group(5) have them.
struct Accounts: Sendable {
    let users: [String: UInt32]
    let groups: [String: UInt32]

    /// No accounts.
    init() {
        users = [:]
        groups = [:]
    }

    /// The accounts of two files below `root`; none where there is no such file.
    init(
        users: String = "etc/passwd", groups: String = "etc/group", in root: RootDirectory
    ) throws(AssemblyFault) {
        self.users = Self.numbers(try root.contents(users) ?? [])
        self.groups = Self.numbers(try root.contents(groups) ?? [])
    }

    private static func numbers(_ bytes: [UInt8]) -> [String: UInt32] {
        var numbers: [String: UInt32] = [:]
        for line in String(decoding: bytes, as: UTF8.self).split(separator: "\n") {
            let fields = line.split(separator: ":", omittingEmptySubsequences: false)
            if fields.count > 2, let number = UInt32(fields[2]) { numbers[String(fields[0])] = number }
        }
        return numbers
    }

    func user(_ name: String, at place: Place) throws(AssemblyFault) -> UInt32 {
        try number(name, in: users, kind: "user", at: place)
    }

    func group(_ name: String, at place: Place) throws(AssemblyFault) -> UInt32 {
        try number(name, in: groups, kind: "group", at: place)
    }

    private func number(
        _ name: String, in table: [String: UInt32], kind: String, at place: Place
    ) throws(AssemblyFault) -> UInt32 {
        if let number = UInt32(name) {
            guard AccountNumbers.provisional.contains(number) else {
                // What the account has at the end goes with its files.
                if LockedAccounts.numbers.contains(number), let other = table.first(where: { $0.value == number })?.key
                {
                    throw AssemblyFault(
                        .invalidRequest,
                        "\(number) is the number of the \(kind) '\(other)' while the image is built, and may be another one's at the "
                            + "end", at: place, remedy: "name the \(kind)")
                }
                return number
            }
            let range = AccountNumbers.provisional
            throw AssemblyFault(
                .invalidRequest,
                "\(number) is one of the numbers that a build gives to accounts, and may be another \(kind)'s at the end",
                at: place,
                remedy: "name the \(kind), or take a number outside \(range.lowerBound) to \(range.upperBound)")
        }
        if let number = table[name] { return number }
        throw AssemblyFault(
            .missing, "the image has no \(kind) '\(name)'", at: place,
            remedy: "declare it under '\(kind)s' in the manifest")
    }
}
