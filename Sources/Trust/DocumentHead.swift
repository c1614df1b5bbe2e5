import Fault
import JSON

/// What the documents of all roles have in common.
struct DocumentHead {
    static let specificationVersion = "1.0.31"
    // Far above what anyone counts to, far below where adding one overflows.
    static let versionLimit = 1 << 53

    let version: Int
    let expires: UTCTime

    init(parsing cursor: JSONCursor, role: MetadataRole) throws(JSONFault) {
        let type = try cursor.field("_type")
        guard try type.string() == role.rawValue else {
            throw type.unexpected("expected '\(role.rawValue)', found '\(try type.string())'")
        }
        let specification = try cursor.field("spec_version")
        guard try specification.string().split(separator: ".").first == "1" else {
            throw specification.unexpected("only version 1 of the TUF specification is understood")
        }
        version = try cursor.field("version").integer(in: 1...Self.versionLimit)
        let time = try cursor.field("expires")
        guard let expires = UTCTime(try time.string()) else {
            throw time.unexpected("expected a time like 2030-01-31T00:00:00Z")
        }
        self.expires = expires
    }

    static func members(role: MetadataRole, version: Int, expires: UTCTime) -> [String: JSONValue] {
        [
            "_type": .string(role.rawValue), "spec_version": .string(specificationVersion),
            "version": .integer(Int64(version)), "expires": .string(expires.description),
        ]
    }
}

/// A signed document of one role, read.
protocol RoleDocument: Sendable {
    static var role: MetadataRole { get }
    var version: Int { get }
    var expires: UTCTime { get }
    init(parsing cursor: JSONCursor) throws(JSONFault)
}

extension RoleDocument {
    /// Reads what `envelope` holds, without a look at its signatures.
    init(_ envelope: SignedEnvelope) throws(TrustFault) {
        do throws(JSONFault) {
            try self.init(parsing: envelope.content)
        } catch {
            throw .malformed(error, text: envelope.bytes, at: .path(envelope.source))
        }
    }

    func requireCurrent(at now: UTCTime, source: String) throws(TrustFault) {
        guard expires > now else {
            throw TrustFault(
                .expired, "expired at \(expires), and it is \(now) now", at: .path(source),
                remedy:
                    "check this machine's clock; if it is right, who runs the repository has to run 'ballast repo refresh'"
            )
        }
    }
}
