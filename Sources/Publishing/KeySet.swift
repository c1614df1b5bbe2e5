public import Cryptography
public import Fault
import FileIO
public import SystemPackage
public import Trust

/// The private keys of a repository's roles, in the files `root.pem`, `targets.pem`, `snapshot.pem` and `timestamp.pem` of
/// one directory. Which of them are there differs: a machine that only refreshes has no root key.
public struct KeySet: Sendable {
    /// The keys that are there.
    public let keys: [MetadataRole: Ed25519PrivateKey]
    private let directory: FilePath

    /// Where the key of `role` is in `directory`.
    public static func path(of role: MetadataRole, in directory: FilePath) -> FilePath {
        directory.appending("\(role.rawValue).pem")
    }

    /// Opens those keys of `roles` that are in `directory`.
    ///
    /// - Parameter passphrase: opens all of them; asked for once, and only when there is a key.
    public init(
        _ directory: FilePath, roles: [MetadataRole] = MetadataRole.allCases,
        passphrase: () throws(CryptographyFault) -> Passphrase
    ) throws(PublishingFault) {
        self.directory = directory
        var keys: [MetadataRole: Ed25519PrivateKey] = [:]
        do throws(CryptographyFault) {
            var opened: Passphrase?
            for role in roles where Self.path(of: role, in: directory).exists {
                let word: Passphrase
                if let opened { word = opened } else { word = try passphrase() }
                opened = word
                keys[role] = try Ed25519PrivateKey(reading: Self.path(of: role, in: directory), passphrase: word)
            }
        } catch {
            throw PublishingFault(.key, "the signing keys cannot be used", cause: error)
        }
        self.keys = keys
    }

    /// Keys that are in memory.
    public init(_ keys: [MetadataRole: Ed25519PrivateKey]) {
        self.keys = keys
        directory = "."
    }

    /// Makes a key for each role in `directory`, all under one passphrase.
    ///
    /// - Throws: `key` where one of the files is there already; then none is made.
    public static func generate(in directory: FilePath, passphrase: Passphrase) throws(PublishingFault) -> KeySet {
        for role in MetadataRole.allCases where path(of: role, in: directory).exists {
            throw PublishingFault(
                .key, "there is a key already, and a key is never overwritten",
                at: .path(path(of: role, in: directory).string), remedy: "choose another directory")
        }
        var keys: [MetadataRole: Ed25519PrivateKey] = [:]
        do {
            try directory.makeDirectories(permissions: .ownerReadWriteExecute)
            for role in MetadataRole.allCases {
                let key = try Ed25519PrivateKey.generate()
                try key.write(to: path(of: role, in: directory), passphrase: passphrase)
                keys[role] = key
            }
        } catch {
            // Nothing is signed by them yet, and with some of them there nobody could make the rest.
            for role in keys.keys { try? path(of: role, in: directory).removeTree() }
            throw PublishingFault(.key, "the keys cannot be made", cause: error)
        }
        return KeySet(keys)
    }

    /// The key of `role`, which must be there and, where `root` is given, be one that it names for the role.
    func key(_ role: MetadataRole, trustedBy root: RootDocument?) throws(PublishingFault) -> Ed25519PrivateKey {
        let place = Place.path(Self.path(of: role, in: directory).string)
        guard let key = keys[role] else {
            throw PublishingFault(
                .key, "the \(role.rawValue) key is missing", at: place,
                remedy: "name the directory that has it with --keys, or "
                    + (root == nil ? "make new keys with 'ballast key generate'" : "put it back from a copy"))
        }
        guard let root else { return key }
        let names = root.keys(of: role)
        guard names.identifiers.contains(TrustedKey(key.publicKey).identifier) else {
            throw PublishingFault(
                .key, "the repository's root names another \(role.rawValue) key", at: place,
                remedy: "use the keys that this repository was made with")
        }
        guard names.threshold == 1 else {
            throw PublishingFault(
                .key, "the root asks for \(names.threshold) \(role.rawValue) signatures, and one key is here", at: place
            )
        }
        return key
    }
}
