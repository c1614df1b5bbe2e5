public import Cryptography
import JSON

/// How a package is asked for: as apt-get(8) has it, `NAME`, `NAME=VERSION` or `NAME/SUITE`.
public struct PackageRequest: Sendable, Hashable {
    /// Which of a package's versions is wanted.
    public enum Choice: Sendable, Hashable {
        /// This version.
        case version(String)
        /// That of this suite, or of the archive of this name.
        case suite(String)
    }

    /// The package's name.
    public let name: String
    /// Which version, or nil for what apt's rules choose.
    public let choice: Choice?

    /// Reads a request as the manifest writes it.
    public init(_ text: String) {
        name = String(text.prefix { $0 != "=" && $0 != "/" })
        let rest = text.dropFirst(name.count)
        choice = rest.first.map { $0 == "=" ? .version(String(rest.dropFirst())) : .suite(String(rest.dropFirst())) }
    }
}

extension Manifest {
    /// The SHA-256 of what chooses packages: a lock fits each manifest that has the same. Neither what else the image holds
    /// nor where the checkout is has a part in it.
    public var requestDigest: SHA256Digest {
        func strings(_ values: [String]) -> JSONValue { .array(values.map { .string($0) }) }
        let archives = distribution.archives.map { archive -> JSONValue in
            [
                "components": strings(archive.components), "name": .string(archive.name),
                "keys": .string((try? SHA256Digest.ofFile(archive.signedBy).digest).map { "\($0)" } ?? ""),
                "packages": strings(archive.packages),
                "priority": archive.priority.map { .integer(Int64($0)) } ?? .null,
                "suite": .string(archive.suite), "uri": .string(archive.uri),
            ]
        }
        let request: JSONValue = [
            "architecture": .string(architecture.rawValue), "archives": .array(archives),
            "components": strings(distribution.components), "install": strings(packages.install),
            "build_only": strings(packages.buildOnly.sorted()), "kernel": .string(kernel.package),
            "microcode": .bool(kernel.microcode), "local": strings(packages.local.map(\.name)),
            "recommends": .bool(packages.installsRecommends), "remove": strings(packages.remove.sorted()),
            "suites": strings(distribution.suites),
        ]
        // Nothing in it is a floating-point number, the only thing without a canonical form.
        return SHA256Digest(of: (try? request.canonicalBytes()) ?? [])
    }
}
