public import Cryptography

/// How a version's unified kernel image is called: `EFI/ballast/PRODUCT/VERSION_DIGEST.efi`, with the first twelve digits of its SHA-256. FAT
/// takes upper and lower case for the same; the digest tells versions apart that differ in nothing else.
public struct KernelName: Sendable, Hashable, CustomStringConvertible {
    private static let digits = 12

    /// What it is an image of.
    public let product: String
    /// The file's name in the product's directory.
    public let fileName: String

    /// The name of the kernel image of `version`.
    public init(product: String, version: String, digest: SHA256Digest) {
        self.product = product
        fileName = "\(version)_\(digest.description.prefix(Self.digits)).efi"
    }

    /// The file `fileName` of the product's directory.
    public init(product: String, fileName: String) {
        self.product = product
        self.fileName = fileName
    }

    /// The product's directory, from the root of the EFI system partition. It is not `EFI/Linux`, where systemd-boot would make entries
    /// of its own for what it finds.
    public static func directory(product: String) -> String { "EFI/ballast/\(product)" }

    /// Whether it is a kernel image of `version`.
    public func isOf(_ version: String) -> Bool {
        let stem = "\(version)_"
        let suffix = ".efi"
        guard fileName.hasPrefix(stem), fileName.hasSuffix(suffix) else { return false }
        let digest = fileName.dropFirst(stem.utf8.count).dropLast(suffix.utf8.count)
        return digest.utf8.count == Self.digits && digest.utf8.allSatisfy { "0123456789abcdef".utf8.contains($0) }
    }

    /// The path from the root of the EFI system partition.
    public var description: String { "\(Self.directory(product: product))/\(fileName)" }
}
