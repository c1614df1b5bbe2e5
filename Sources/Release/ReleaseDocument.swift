import Cryptography
public import Fault
import JSON

/// A release: everything that a host has to know to decide for it and to write it. A TUF target named
/// `PRODUCT_VERSION_ARCHITECTURE.release.json`, of which nothing is believed before TUF has accepted it.
///
/// A reader passes over members it does not know. What an older agent must not pass over comes with a higher
/// `minimum_agent` or `format`.
public struct ReleaseDocument: Sendable, Hashable {
    /// The most bytes that a document may have.
    public static let byteLimit = 1 << 20
    static let sizeLimit = 1 << 40
    /// Channels that one release may appear in.
    public static let channelLimit = 32
    /// Versions that one release may revoke, or have as floors.
    public static let versionLimit = 1000
    static let format = 1

    /// The image, cut into frames.
    public struct Image: Sendable, Hashable {
        /// The number of bytes of the root file system image.
        public var size: Int64
        /// The `FrameIndex`.
        public var index: Blob
        /// The compressed frames, one after another.
        public var frames: Blob

        /// An image of `size` bytes.
        public init(size: Int64, index: Blob, frames: Blob) {
            self.size = size
            self.index = index
            self.frames = frames
        }
    }

    /// What it is an image of.
    public var product: String
    /// Its version.
    public var version: ImageVersion
    /// Debian's name of the architecture, such as `amd64`.
    public var architecture: String
    /// The channels it is published in.
    public var channels: [String]
    /// The build's time: seconds since 1970.
    public var epoch: Int64
    /// The root hash and how the verity tree is made.
    public var verity: VerityParameters
    /// The root file system image.
    public var image: Image
    /// The Unified Kernel Image that boots it.
    public var kernel: Blob
    /// The oldest agent that can install it.
    public var minimumAgent: ImageVersion?
    /// Versions that a host below them has to run before it goes on to this one.
    public var floors: [ImageVersion]
    /// Who may update when; nil for everybody at once.
    public var rollout: Rollout?
    /// Versions that no host shall install or go back to.
    public var revokes: [ImageVersion]
    /// What an operator reads.
    public var notes: String

    /// A release without conditions.
    public init(
        product: String, version: ImageVersion, architecture: String, channels: [String], epoch: Int64,
        verity: VerityParameters, image: Image, kernel: Blob
    ) {
        self.product = product
        self.version = version
        self.architecture = architecture
        self.channels = channels
        self.epoch = epoch
        self.verity = verity
        self.image = image
        self.kernel = kernel
        minimumAgent = nil
        floors = []
        rollout = nil
        revokes = []
        notes = ""
    }

    /// Reads a document, which TUF must have accepted.
    public init(parsing text: [UInt8], source: String) throws(ReleaseFault) {
        do throws(JSONFault) {
            let cursor = try JSONCursor(parsing: text, source: source)
            let format = try cursor.field("format").integer()
            guard format == Self.format else {
                throw cursor.unexpected("format \(format) is not understood", remedy: "update the agent first")
            }
            try self.init(parsing: cursor)
        } catch {
            throw error.remedy == nil
                ? .malformed(error)
                : ReleaseFault(.unsupported, error.message, at: error.place, remedy: error.remedy)
        }
    }

    private init(parsing cursor: JSONCursor) throws(JSONFault) {
        product = try ReleaseName.component(cursor.field("product"))
        version = try Self.version(cursor.field("version"))
        architecture = try ReleaseName.component(cursor.field("architecture"))
        channels = []
        for element in try cursor.field("channels").elements(atMost: Self.channelLimit) {
            channels.append(try ReleaseName.component(element))
        }
        epoch = Int64(try cursor.field("epoch").integer(in: 0...Int(UInt32.max)))
        verity = try VerityParameters(parsing: cursor)
        let member = try cursor.field("image")
        image = Image(
            size: Int64(try member.field("size").integer(in: 1...Self.sizeLimit)),
            index: try Blob(parsing: member.field("index")), frames: try Blob(parsing: member.field("frames")))
        guard image.size % 4096 == 0, image.size == verity.dataBlockCount * 4096 else {
            throw member.unexpected("the image's size is not that of its \(verity.dataBlockCount) verity blocks")
        }
        guard image.index.size <= FrameIndex.byteLimit else { throw member.unexpected("the index is too large") }
        kernel = try Blob(parsing: cursor.field("uki"))
        minimumAgent = try cursor.optional("minimum_agent").map { agent throws(JSONFault) in try Self.version(agent) }
        floors = try Self.versions(cursor.optional("floors"))
        rollout = try cursor.optional("rollout").map { rollout throws(JSONFault) in try Rollout(parsing: rollout) }
        revokes = try Self.versions(cursor.optional("revokes"))
        notes = try cursor.optional("notes")?.string() ?? ""
    }

    private static func version(_ cursor: JSONCursor) throws(JSONFault) -> ImageVersion {
        let text = try cursor.string()
        do throws(ReleaseFault) { return try ImageVersion(text) } catch { throw cursor.unexpected(error.message) }
    }

    private static func versions(_ cursor: JSONCursor?) throws(JSONFault) -> [ImageVersion] {
        var versions: [ImageVersion] = []
        for element in try cursor?.elements(atMost: Self.versionLimit) ?? [] { versions.append(try version(element)) }
        return versions
    }

    /// The document's text: equal releases give equal bytes.
    public var bytes: [UInt8] {
        var members: [String: JSONValue] = [
            "format": .integer(Int64(Self.format)), "product": .string(product),
            "version": .string(version.description), "architecture": .string(architecture),
            "channels": .array(channels.map { .string($0) }), "epoch": .integer(epoch),
            "root_hash": .string(verity.rootHash.description), "verity": verity.value,
            "image": ["size": .integer(image.size), "index": image.index.value, "frames": image.frames.value],
            "uki": kernel.value, "floors": .array(floors.map { .string($0.description) }),
            "revokes": .array(revokes.map { .string($0.description) }), "notes": .string(notes),
        ]
        if let minimumAgent { members["minimum_agent"] = .string(minimumAgent.description) }
        if let rollout { members["rollout"] = rollout.value }
        return Array(JSONValue.object(members).text().utf8)
    }
}
