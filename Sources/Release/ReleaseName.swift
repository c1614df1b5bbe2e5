import Fault
import JSON

/// How a release is called among a repository's targets: `PRODUCT_VERSION_ARCHITECTURE.release.json`.
public struct ReleaseName: Sendable, Hashable, CustomStringConvertible {
    /// What it is an image of.
    public let product: String
    /// Its version.
    public let version: ImageVersion
    /// Debian's name of the architecture.
    public let architecture: String

    /// The name of `release`.
    public init(_ release: ReleaseDocument) {
        product = release.product
        version = release.version
        architecture = release.architecture
    }

    /// The name of `version` of `product`.
    public init(product: String, version: ImageVersion, architecture: String) {
        self.product = product
        self.version = version
        self.architecture = architecture
    }

    /// The name that a target's entry claims, or nil where it claims none.
    init?(_ members: JSONValue) {
        guard case .string(let product) = members["product"], case .string(let text) = members["version"],
            case .string(let architecture) = members["architecture"], let version = try? ImageVersion(text)
        else { return nil }
        self.init(product: product, version: version, architecture: architecture)
    }

    /// The name of the TUF target.
    public var description: String { "\(product)_\(version)_\(architecture).release.json" }

    /// A product, architecture or channel: what may stand between the underscores of a name.
    static func component(_ cursor: JSONCursor) throws(JSONFault) -> String {
        let text = try cursor.string()
        guard isComponent(text) else {
            throw cursor.unexpected("'\(text.excerpt())' is not 1 to 64 of a-z, A-Z, 0-9, '.' and '-'")
        }
        return text
    }

    /// Whether `text` may be the name of a product, an architecture or a channel.
    public static func isComponent(_ text: String) -> Bool {
        1...64 ~= text.utf8.count && text.utf8.first != UInt8(ascii: ".")
            && text.unicodeScalars.allSatisfy {
                "a"..."z" ~= $0 || "A"..."Z" ~= $0 || "0"..."9" ~= $0 || $0 == "." || $0 == "-"
            }
    }
}
