import ArgumentParser
import Cryptography
import Fault
import FileIO
import JSON
import Publishing
import SystemPackage
import Terminal
import Trust

/// `ballast key`.
struct KeyCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "key", abstract: "Make and show signing keys.", discussion: "Example: ballast key generate keys",
        subcommands: [Generate.self, Show.self])

    /// `ballast key generate`.
    struct Generate: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Make Ed25519 keys, encrypted under a passphrase.",
            discussion: """
                NAME is a directory that gets a key for each role of a repository: root.pem, targets.pem, snapshot.pem and \
                timestamp.pem. A NAME that ends in .pem is one key in that file. Keys are PKCS #8, which openssl reads.

                Example:
                  ballast key generate keys
                  ballast repo init repo --keys keys
                  mv keys/root.pem /media/vault/   # from now on only to renew the root
                """.flowing)

        @Argument(help: "A directory for a repository's four keys, or a file NAME.pem for one.")
        var name: String

        @OptionGroup var passphrase: PassphraseOptions
        @OptionGroup var common: CommonOptions

        func run() async throws {
            let path = FilePath(name)
            if path.extension == "pem", path.exists {
                throw CryptographyFault(
                    .exists, "there is a file already, and a key is never overwritten", at: .path(name),
                    remedy: "choose another name")
            }
            let passphrase = try passphrase.source.passphrase(for: "new keys", confirmed: true)
            if path.extension == "pem" {
                let key = try Ed25519PrivateKey.generate()
                try key.write(to: path, passphrase: passphrase)
                StandardStreams.print("\(name)  \(TrustedKey(key.publicKey).identifier)")
                return
            }
            let set = try KeySet.generate(in: path, passphrase: passphrase)
            for role in MetadataRole.allCases {
                guard let key = set.keys[role] else { continue }
                StandardStreams.print("\(KeySet.path(of: role, in: path))  \(TrustedKey(key.publicKey).identifier)")
            }
        }
    }

    /// `ballast key show`.
    struct Show: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Show the public half and the identifier of a key.",
            discussion: """
                Example:
                  ballast key show keys/root.pem
                """.flowing)

        @Argument(help: "A key in a PEM file.")
        var file: String

        @OptionGroup var passphrase: PassphraseOptions

        @Option(help: "text or json.") var format = OutputFormat.text
        @OptionGroup var common: CommonOptions

        func run() async throws {
            guard (try? FileStatus(following: FilePath(file)))?.kind == .regular else {
                throw CryptographyFault(
                    .file, "there is no key's file", at: .path(file), remedy: "name one, such as keys/root.pem")
            }
            let key = try Ed25519PrivateKey(
                reading: FilePath(file), passphrase: try passphrase.source.passphrase(for: "the key \(file)"))
            let identifier = TrustedKey(key.publicKey).identifier
            switch format {
            case .text:
                StandardStreams.print("public key  \(key.publicKey)\nidentifier  \(identifier)")
            case .json:
                let value: JSONValue = ["public_key": .string("\(key.publicKey)"), "identifier": .string(identifier)]
                StandardStreams.print(value.compactText)
            }
        }
    }
}
