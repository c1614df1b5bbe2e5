public import Cryptography
public import JSON

/// What a host needs to make the dm-verity hash tree of an image again (the fields of veritysetup's superblock).
public struct VerityParameters: Sendable, Hashable {
    /// The root hash: SHA-256 of the tree's top block with the salt.
    public var rootHash: SHA256Digest
    /// The salt, at most 256 bytes.
    public var salt: [UInt8]
    /// The superblock's UUID, as text.
    public var uuid: String
    /// The number of data blocks.
    public var dataBlockCount: Int64
    /// The size of data and hash blocks in bytes.
    public var blockSize: Int
    /// The size of the whole verity partition's content in bytes, superblock included.
    public var hashSize: Int64

    /// All of them.
    public init(
        rootHash: SHA256Digest, salt: [UInt8], uuid: String, dataBlockCount: Int64, blockSize: Int, hashSize: Int64
    ) {
        self.rootHash = rootHash
        self.salt = salt
        self.uuid = uuid
        self.dataBlockCount = dataBlockCount
        self.blockSize = blockSize
        self.hashSize = hashSize
    }

    /// Reads `root_hash` and `verity` of `document`, a release or a build description.
    public init(parsing document: JSONCursor) throws(JSONFault) {
        let hash = try document.field("root_hash")
        guard let rootHash = SHA256Digest(hexadecimal: try hash.string()) else {
            throw hash.unexpected("expected 64 hexadecimal digits")
        }
        self.rootHash = rootHash
        let verity = try document.field("verity")
        let saltText = try verity.field("salt")
        guard let salt = [UInt8](hexadecimal: try saltText.string()), salt.count <= 256 else {
            throw saltText.unexpected("expected at most 256 bytes in hexadecimal digits")
        }
        self.salt = salt
        let identifier = try verity.field("uuid")
        uuid = try identifier.string()
        guard uuid.utf8.count == 36, [UInt8](hexadecimal: uuid.filter { $0 != "-" })?.count == 16 else {
            throw identifier.unexpected("expected a UUID")
        }
        let size = try verity.field("block_size")
        blockSize = try size.integer()
        guard blockSize == 4096 else { throw size.unexpected("only blocks of 4096 bytes are used") }
        dataBlockCount = Int64(try verity.field("data_blocks").integer(in: 1...ReleaseDocument.sizeLimit / 4096))
        hashSize = Int64(try verity.field("hash_size").integer(in: 4096...ReleaseDocument.sizeLimit))
    }

    var value: JSONValue {
        [
            "salt": .string(salt.hexadecimal), "uuid": .string(uuid), "data_blocks": .integer(dataBlockCount),
            "block_size": .integer(Int64(blockSize)), "hash_size": .integer(hashSize),
        ]
    }
}
