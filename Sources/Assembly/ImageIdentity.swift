import Cryptography
import Manifest
import PartitionTable

/// What an image is called, and all that follows from its name alone.
public struct ImageIdentity: Sendable, Hashable {
    /// The product, as IMAGE_ID.
    public let product: String
    /// The version, as IMAGE_VERSION.
    public let version: String
    /// Debian's name of the architecture.
    public let architecture: String

    /// `PRODUCT_VERSION`: the label of the slot that holds the image.
    public var label: String { "\(product)_\(version)" }
    /// `PRODUCT_VERSION_ARCH`: the stem of the output files.
    public var fileStem: String { "\(product)_\(version)_\(architecture)" }
    /// A salt that every version of a product shares, so that equal blocks of two versions have equal digests.
    var veritySalt: [UInt8] { SHA256Digest(of: "ballast verity salt \(product)".utf8).bytes }
    /// The UUID in the hash device's superblock.
    var verityUUID: String { DerivedUUID.text("\(label) verity") }
    /// The GUID of the partition that holds /var, by which the initrd finds it.
    var varPartition: String { DerivedUUID.text("ballast var partition \(product)") }
}
