import Fault
import FileIO
import SystemPackage

/// The numbers of the image's users and groups, from the /etc/passwd and /etc/group of its tree.
struct Accounts {
    private let users: [String: UInt32]
    private let groups: [String: UInt32]

    init(root: FilePath) throws(AssemblyFault) {
        users = try Self.read(root.appending("etc/passwd"))
        groups = try Self.read(root.appending("etc/group"))
    }

    private static func read(_ path: FilePath) throws(AssemblyFault) -> [String: UInt32] {
        let text = try attempt("cannot read the image's accounts") { try path.text() }
        var numbers: [String: UInt32] = [:]
        for line in text.split(separator: "\n") {
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
        if let number = UInt32(name) ?? table[name] { return number }
        throw AssemblyFault(
            .missing, "the image has no \(kind) '\(name)'", at: place,
            remedy: "declare it under '\(kind)s' in the manifest")
    }
}
