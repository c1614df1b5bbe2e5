import Cryptography
public import Fault
import FileIO
import JSON
public import SystemPackage

extension Lock {
    /// The version of the file format.
    private static let format = 1
    private static let sizeLimit = 32 << 20
    private static let packageLimit = 100_000

    /// The lock as a file's text: sorted, one package a line, and with a digest of its own, so that a change by hand or a
    /// wrongly resolved merge is noticed.
    public var text: String {
        var members = unsealed
        members["digest"] = .string(Self.seal(members).description)
        return JSONValue.object(members).text(inlineDepth: 2)
    }

    private var unsealed: [String: JSONValue] {
        [
            "architecture": .string(architecture),
            "epoch": .integer(epoch),
            "format": .integer(Int64(Self.format)),
            "manifest": .string(manifestDigest.description),
            "packages": .array(
                packages.map { package in
                    [
                        "architecture": .string(package.architecture), "name": .string(package.name),
                        "path": .string(package.path), "sha256": .string(package.digest.description),
                        "size": .integer(package.size), "suite": .string(package.suite),
                        "version": .string(package.version),
                    ]
                }),
            "suites": .array(
                suites.map { suite in
                    [
                        "date": .string(ArchiveDate.text(suite.date)), "epoch": .integer(suite.date),
                        "inrelease": .string(suite.digest.description), "name": .string(suite.name),
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
    public func write(to path: FilePath) throws(DebianArchiveFault) {
        do {
            try path.replaceContents(with: text)
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

    private static let remedy = "restore the lock from version control or run 'ballast lock' again"

    private init(_ root: JSONCursor) throws {
        guard try root.field("format").integer() == Self.format else {
            throw try root.field("format").unexpected("this version of Ballast reads format \(Self.format)")
        }
        try root.refuseMembers(except: [
            "architecture", "digest", "epoch", "format", "manifest", "packages", "suites",
        ])
        let architecture = try root.field("architecture").string()
        let suites = try root.field("suites").elements(atMost: 64).map(Self.suite)
        let names = Set(suites.map(\.name))
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
            manifestDigest: try Self.digest(root.field("manifest")))
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
        try cursor.refuseMembers(except: ["date", "epoch", "inrelease", "name"])
        let date = Int64(try cursor.field("epoch").integer())
        guard try cursor.field("date").string() == ArchiveDate.text(date) else {
            throw try cursor.field("date").unexpected("is not what 'epoch' says, \(ArchiveDate.text(date))")
        }
        return LockedSuite(
            name: try cursor.field("name").string(), date: date, digest: try digest(cursor.field("inrelease")))
    }

    private static func package(_ cursor: JSONCursor) throws -> LockedPackage {
        try cursor.refuseMembers(except: ["architecture", "name", "path", "sha256", "size", "suite", "version"])
        let package = LockedPackage(
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
        return package
    }

    private static func digest(_ cursor: JSONCursor) throws -> SHA256Digest {
        guard let digest = SHA256Digest(hexadecimal: try cursor.string()) else {
            throw cursor.unexpected("expected 64 hexadecimal digits")
        }
        return digest
    }
}
