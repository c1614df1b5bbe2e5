public import Cryptography
public import Fault
import FileIO
import JSON
public import Release
public import SystemPackage

/// What `ballast build` left in a directory: its `build.json`, as far as publishing needs it.
public struct BuildDescription: Sendable {
    /// One of the build's files, and what it must hash to.
    public struct Output: Sendable {
        /// Where it is.
        public let path: FilePath
        /// Its size and SHA-256.
        public let blob: Blob
    }

    /// What it is an image of.
    public let product: String
    /// Its version.
    public let version: ImageVersion
    /// Debian's name of the architecture.
    public let architecture: String
    /// The build's time: seconds since 1970.
    public let epoch: Int64
    /// The root hash and how the verity tree is made.
    public let verity: VerityParameters
    /// The repository that hosts which run the image ask.
    public let repository: String?
    /// The root metadata that they trust first.
    public let trustedRoot: SHA256Digest?
    /// The root file system image.
    public let image: Output
    /// The Unified Kernel Image.
    public let kernel: Output

    /// Reads the `build.json` of `directory`.
    public init(_ directory: FilePath) throws(PublishingFault) {
        let path = directory.appending("build.json")
        do {
            let cursor = try JSONCursor(parsing: try path.contents(), source: path.string)
            let format = try cursor.field("format")
            guard try format.integer() == 1 else { throw format.unexpected("only format 1 is understood") }
            product = try Self.name(cursor.field("product"))
            version = try ImageVersion(cursor.field("version").string())
            architecture = try Self.name(cursor.field("architecture"))
            epoch = Int64(try cursor.field("epoch").integer())
            verity = try VerityParameters(parsing: cursor)
            repository = try cursor.optional("repository")?.string()
            let root = try cursor.optional("inputs")?.optional("trusted_root")?.string()
            trustedRoot = root.flatMap { SHA256Digest(hexadecimal: $0) }
            let outputs = try cursor.field("outputs")
            image = try Self.output(outputs.field("root.erofs"), in: directory)
            kernel = try Self.output(outputs.field("efi"), in: directory)
        } catch {
            throw PublishingFault(
                .badBuild, "is not a build that can be published", at: .path(directory.string),
                remedy: "name the directory that 'ballast build' wrote", cause: error)
        }
    }

    private static func name(_ cursor: JSONCursor) throws(JSONFault) -> String {
        let text = try cursor.string()
        guard ReleaseName.isComponent(text) else {
            throw cursor.unexpected("'\(text)' cannot be part of a file's name")
        }
        return text
    }

    private static func output(_ cursor: JSONCursor, in directory: FilePath) throws(JSONFault) -> Output {
        let file = try cursor.field("file")
        guard let name = FilePath.Component(try file.string()), name.kind == .regular else {
            throw file.unexpected("expected the name of a file beside build.json")
        }
        let digest = try cursor.field("sha256")
        guard let sha256 = SHA256Digest(hexadecimal: try digest.string()) else {
            throw digest.unexpected("expected 64 hexadecimal digits")
        }
        let size = try cursor.field("size").integer(in: 1...1 << 40)
        return Output(path: directory.appending(name), blob: Blob(digest: sha256, size: Int64(size)))
    }
}
