public import Cryptography
import DebianArchive
import FileIO
public import JSON
import Manifest
public import SystemPackage
import Verity

/// What a build made of what: the content of `build.json`, format 1.
public struct BuildReport: Sendable {
    /// One file that a build made.
    public struct Output: Sendable {
        /// Where it is.
        public let path: FilePath
        /// Its length in bytes.
        public let size: Int64
        /// The SHA-256 of its content.
        public let digest: SHA256Digest
    }

    /// The report's name among the outputs.
    static let fileName = "build.json"

    /// What the image is called.
    public let identity: ImageIdentity
    /// `SOURCE_DATE_EPOCH`: the newest date of the lock's suites.
    public let epoch: Int64
    /// The kernel's release.
    public let kernelRelease: String
    /// The root of the verity tree.
    public let rootHash: SHA256Digest
    /// The size of the root file system in blocks of 4096 bytes.
    public let dataBlockCount: Int
    /// The size of the hash device in bytes.
    public let hashDeviceSize: Int64
    /// The size of the initrd in bytes.
    public let initrdSize: Int64
    /// The outputs by kind: `raw`, `root.erofs`, `root.verity`, `efi`, `packages`.
    public let outputs: [String: Output]
    /// The repository that the image's hosts ask, by `update.url`.
    public let repository: String?
    /// Patterns of files that are not in the image, and that each host makes for itself.
    public let hostFiles: [String]
    /// The inputs' SHA-256 by name: `manifest`, `lock`, `ballastd`, `ballastctl`, `trusted_root`, overlays.
    public let inputs: [String: SHA256Digest]
    /// The versions of the build machine's own tools that have a say in the bytes, by name.
    public let tools: [String: String]
    /// What each stage took. The one part that two builds of the same inputs do not share.
    public let stages: [(name: String, milliseconds: Int64)]

    /// The document.
    public var json: JSONValue {
        [
            "format": 1, "product": .string(identity.product), "version": .string(identity.version),
            "architecture": .string(identity.architecture), "epoch": .integer(epoch),
            "kernel": .string(kernelRelease), "root_hash": .string(rootHash.description),
            "verity": [
                "salt": .string(identity.veritySalt.hexadecimal), "data_blocks": .integer(Int64(dataBlockCount)),
                "block_size": .integer(Int64(VerityParameters.blockSize)), "hash_size": .integer(hashDeviceSize),
                "uuid": .string(identity.verityUUID),
            ],
            "host_files": .array(hostFiles.map { .string($0) }), "initrd_size": .integer(initrdSize),
            "repository": repository.map { .string($0) } ?? .null,
            "outputs": .object(
                outputs.mapValues {
                    [
                        "file": .string($0.path.lastComponent?.string ?? ""), "size": .integer($0.size),
                        "sha256": .string($0.digest.description),
                    ]
                }),
            "inputs": .object(inputs.mapValues { .string($0.description) }),
            "tools": .object(tools.mapValues { .string($0) }),
            "stages": .array(
                stages.map { ["name": .string($0.name), "milliseconds": .integer($0.milliseconds)] }),
        ]
    }

    /// `packages.json`: what is in the image, a package a line.
    static func packageList(_ lock: Lock, identity: ImageIdentity) -> JSONValue {
        [
            "format": 1, "product": .string(identity.product), "version": .string(identity.version),
            "packages": .array(
                lock.imagePackages.map {
                    [
                        "name": .string($0.name), "version": .string($0.version),
                        "architecture": .string($0.architecture),
                        "sha256": .string($0.digest.description), "suite": .string($0.suite),
                    ]
                }),
        ]
    }
}
