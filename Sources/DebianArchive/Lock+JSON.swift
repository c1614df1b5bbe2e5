public import Cryptography
public import Fault
import FileIO
import JSON
public import SystemPackage

extension Lock {
    /// The version of the file format.
    private static let format = 2
    private static let sizeLimit = 32 << 20
    private static let packageLimit = 100_000
    private static let accountLimit = 10_000

    /// The lock as a file's text: sorted, one package a line, and with a digest of its own, so that a change by hand or a
    /// wrongly resolved merge is noticed.
    public var text: String {
        var members = unsealed
        members["digest"] = .string(Self.seal(members).description)
        return JSONValue.object(members).text(inlineDepth: 2)
    }

    private var unsealed: [String: JSONValue] {
        [
            "accounts": [
                "groups": .array(
                    accounts.groups.sorted { $0.key < $1.key }.map { name, gid in
                        ["gid": .integer(Int64(gid)), "name": .string(name)]
                    }),
                "users": .array(
                    accounts.users.sorted { $0.key < $1.key }.map { name, user in
                        [
                            "gid": .integer(Int64(user.gid)), "name": .string(name),
                            "uid": .integer(Int64(user.uid)),
                        ]
                    }),
            ],
            "architecture": .string(architecture),
            "epoch": .integer(epoch),
            "format": .integer(Int64(Self.format)),
            "packages": .array(
                packages.map { package in
                    var members: [String: JSONValue] = [
                        "architecture": .string(package.architecture), "name": .string(package.name),
                        "path": .string(package.path), "sha256": .string(package.digest.description),
                        "size": .integer(package.size), "suite": .string(package.suite),
                        "version": .string(package.version),
                    ]
                    if package.isBuildOnly { members["build_only"] = true }
                    return .object(members)
                }),
            "request": .string(requestDigest.description),
            "suites": .array(
                suites.map { suite in
                    [
                        "archive": .bool(suite.isArchive), "date": .string(ArchiveDate.text(suite.date)),
                        "epoch": .integer(suite.date),
                        "keys": .array(suite.keys.map { .string($0) }), "name": .string(suite.name),
                        "sha256": .string(suite.digest.description),
                    ]
                }),
        ]
    }

    private static func seal(_ members: [String: JSONValue]) -> SHA256Digest {
        // Nothing in a lock is a floating-point number, the only thing without a canonical form; what is none of ours
        // gets the digest of nothing, which no lock names.
        SHA256Digest(of: (try? JSONValue.object(members).canonicalBytes()) ?? [])
    }

    /// Writes the lock to `path`, whole or not at all.
    ///
    /// - Returns: the digest of the file.
    @discardableResult
    public func write(to path: FilePath) throws(DebianArchiveFault) -> SHA256Digest {
        do {
            let bytes = Array(text.utf8)
            // What could not be read again must not take the place of a lock.
            _ = try Lock(parsing: bytes, source: path.string)
            try path.replaceContents(with: bytes)
            return SHA256Digest(of: bytes)
        } catch {
            throw DebianArchiveFault(.system, "the lock cannot be written", at: .path(path.string), cause: error)
        }
    }

    /// Reads the lock at `path`. Everything in it is checked: a lock says which bytes become root on every host.
    ///
    /// - Parameter manifest: what to say to 'ballast lock', for advice.
    public static func load(_ path: FilePath, of manifest: String = "MANIFEST") throws(DebianArchiveFault) -> Lock {
        let bytes: [UInt8]
        do {
            bytes = try path.contents(limit: sizeLimit)
        } catch {
            if error.code == .notFound {
                throw DebianArchiveFault(
                    .lockMissing, "there is no lock", at: .path(path.string),
                    remedy: "run 'ballast lock \(manifest)' first")
            }
            throw DebianArchiveFault(.system, "the lock cannot be read", at: .path(path.string), cause: error)
        }
        return try Lock(parsing: bytes, source: path.string)
    }

    /// Reads a lock from its text.
    public init(parsing text: [UInt8], source: String) throws(DebianArchiveFault) {
        do {
            try self.init(JSONCursor(parsing: text, source: source))
        } catch let fault as JSONFault {
            throw DebianArchiveFault(
                .lockDamaged, fault.message, at: fault.place ?? .path(source), remedy: Self.remedy)
        } catch let fault as DebianArchiveFault {
            throw fault
        } catch {
            throw DebianArchiveFault(.lockDamaged, "cannot be read", at: .path(source), cause: error)
        }
    }

    private static let remedy =
        "restore the lock from version control; without it, remove the file and run 'ballast lock': accounts then get new numbers"

    private init(_ root: JSONCursor) throws {
        guard try root.field("format").integer() == Self.format else {
            throw try root.field("format").unexpected("this version of Ballast reads format \(Self.format)")
        }
        try root.refuseMembers(except: [
            "accounts", "architecture", "digest", "epoch", "format", "packages", "request", "suites",
        ])
        let architecture = try root.field("architecture").string()
        let suites = try root.field("suites").elements(atMost: 64).map(Self.suite)
        let names = Set(suites.map(\.name) + [LocalPackages.suite])
        var packages: [LockedPackage] = []
        var seen: [String: String] = [:]
        for cursor in try root.field("packages").elements(atMost: Self.packageLimit) {
            let package = try Self.package(cursor)
            if let other = seen.updateValue(package.version, forKey: package.name) {
                throw cursor.unexpected("'\(package.name)' stands twice, as \(other) and \(package.version)")
            }
            guard names.contains(package.suite) else {
                throw cursor.unexpected(
                    "'\(package.name)' is of the suite '\(package.suite)', which the lock does not have")
            }
            guard package.architecture == architecture || package.architecture == "all" else {
                throw cursor.unexpected(
                    "'\(package.name)' is for \(package.architecture), and the lock for \(architecture)")
            }
            packages.append(package)
        }
        self.init(
            architecture: architecture, suites: suites, packages: packages,
            accounts: try Self.accounts(root.field("accounts")),
            requestDigest: try Self.digest(root.field("request")))
        guard try root.field("epoch").integer() == epoch else {
            throw try root.field("epoch").unexpected("is not the date of the newest suite, \(epoch)")
        }
        guard case .object(var members) = root.value else { return }
        members["digest"] = nil
        let stated = try Self.digest(root.field("digest"))
        guard Self.seal(members) == stated else {
            throw DebianArchiveFault(
                .lockDamaged,
                "the lock was changed after it was written: its digest says \(stated), its contents have \(Self.seal(members))",
                at: .path(root.source), remedy: Self.remedy)
        }
    }

    private static func suite(_ cursor: JSONCursor) throws -> LockedSuite {
        try cursor.refuseMembers(except: ["archive", "date", "epoch", "keys", "name", "sha256"])
        let date = Int64(try cursor.field("epoch").integer())
        guard try cursor.field("date").string() == ArchiveDate.text(date) else {
            throw try cursor.field("date").unexpected("is not what 'epoch' says, \(ArchiveDate.text(date))")
        }
        let name = try cursor.field("name").string()
        guard LockedSuite.isName(name) else {
            throw try cursor.field("name").unexpected("is not the name of a suite")
        }
        return LockedSuite(
            name: name, date: date, digest: try digest(cursor.field("sha256")),
            keys: try cursor.field("keys").elements(atMost: 64).map { try $0.string() },
            isArchive: try cursor.field("archive").bool())
    }

    private static func accounts(_ cursor: JSONCursor) throws -> LockedAccounts {
        try cursor.refuseMembers(except: ["groups", "users"])
        func number(_ cursor: JSONCursor) throws -> UInt32 {
            UInt32(
                try cursor.integer(in: Int(LockedAccounts.numbers.lowerBound)...Int(LockedAccounts.numbers.upperBound)))
        }
        var accounts = LockedAccounts()
        for user in try cursor.field("users").elements(atMost: accountLimit) {
            try user.refuseMembers(except: ["gid", "name", "uid"])
            // Some have a primary group of Debian's own, such as nogroup.
            let gid = UInt32(try user.field("gid").integer(in: 0...Int(UInt32.max) - 1))
            let numbers = LockedAccounts.User(uid: try number(user.field("uid")), gid: gid)
            let name = try accountName(user)
            guard accounts.users.updateValue(numbers, forKey: name) == nil else {
                throw user.unexpected("the user '\(name)' stands twice")
            }
        }
        for group in try cursor.field("groups").elements(atMost: accountLimit) {
            try group.refuseMembers(except: ["gid", "name"])
            let name = try accountName(group)
            guard accounts.groups.updateValue(try number(group.field("gid")), forKey: name) == nil else {
                throw group.unexpected("the group '\(name)' stands twice")
            }
        }
        guard Set(accounts.users.values.map(\.uid)).count == accounts.users.count,
            Set(accounts.groups.values).count == accounts.groups.count
        else { throw cursor.unexpected("two accounts have the same number") }
        return accounts
    }

    private static func accountName(_ cursor: JSONCursor) throws -> String {
        let name = try cursor.field("name").string()
        guard !name.isEmpty, !name.contains(where: { $0 == ":" || $0.isWhitespace }) else {
            throw try cursor.field("name").unexpected("is not the name of an account")
        }
        return name
    }

    private static func package(_ cursor: JSONCursor) throws -> LockedPackage {
        try cursor.refuseMembers(except: [
            "architecture", "build_only", "name", "path", "sha256", "size", "suite", "version",
        ])
        var package = LockedPackage(
            name: try cursor.field("name").string(), version: try cursor.field("version").string(),
            architecture: try cursor.field("architecture").string(), path: try cursor.field("path").string(),
            size: Int64(try cursor.field("size").integer(in: 1...Int(LockedPackage.sizeLimit))),
            digest: try digest(cursor.field("sha256")), suite: try cursor.field("suite").string())
        guard
            LockedPackage.isValid(
                name: package.name, version: package.version, path: package.path, size: package.size)
        else {
            throw cursor.unexpected("'\(package.name)' has a name, version or path that no package has")
        }
        if let isBuildOnly = try cursor.optional("build_only") { package.isBuildOnly = try isBuildOnly.bool() }
        return package
    }

    private static func digest(_ cursor: JSONCursor) throws -> SHA256Digest {
        guard let digest = SHA256Digest(hexadecimal: try cursor.string()) else {
            throw cursor.unexpected("expected 64 hexadecimal digits")
        }
        return digest
    }
}
