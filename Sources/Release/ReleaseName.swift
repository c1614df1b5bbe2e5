import Fault
public import JSON
public import Trust

/// How a release is called among a repository's targets, and what its entry says, so that a host picks one without
/// fetching them all: `{"ballast": {"product": …, "version": …, "architecture": …, "channels": […]}}`.
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

    private init(product: String, version: ImageVersion, architecture: String) {
        self.product = product
        self.version = version
        self.architecture = architecture
    }

    /// The name of the TUF target.
    public var description: String { "\(product)_\(version)_\(architecture).release.json" }

    /// What the target's entry says besides length and digest.
    public func custom(channels: [String]) -> JSONValue {
        [
            "ballast": [
                "product": .string(product), "version": .string(version.description),
                "architecture": .string(architecture), "channels": .array(channels.map { .string($0) }),
            ]
        ]
    }

    /// The releases among `targets`, oldest first. Other targets, and entries that contradict their name, are passed over.
    public static func releases(in targets: TargetsDocument) -> [(name: ReleaseName, channels: [String])] {
        var releases: [(name: ReleaseName, channels: [String])] = []
        for (target, entry) in targets.targets {
            guard let members = entry.custom["ballast"],
                case .string(let product) = members["product"], case .string(let text) = members["version"],
                case .string(let architecture) = members["architecture"], case .array(let list) = members["channels"],
                let version = try? ImageVersion(text)
            else { continue }
            let name = ReleaseName(product: product, version: version, architecture: architecture)
            guard name.description == target else { continue }
            let channels = list.compactMap { channel -> String? in
                if case .string(let channel) = channel { channel } else { nil }
            }
            releases.append((name, channels))
        }
        return releases.sorted { left, right in
            let order = ImageVersion.compare(left.name.version.description, right.name.version.description)
            return order == 0 ? left.name.description < right.name.description : order < 0
        }
    }

    /// A product, architecture or channel: what may stand between the underscores of a name.
    static func component(_ cursor: JSONCursor) throws(JSONFault) -> String {
        let text = try cursor.string()
        guard isComponent(text) else {
            throw cursor.unexpected("'\(text.prefix(80))' is not 1 to 64 of a-z, A-Z, 0-9, '.' and '-'")
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
