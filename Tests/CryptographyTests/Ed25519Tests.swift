import Command
import Cryptography
import Fault
import FileIO
import Glibc
import SystemPackage
import Testing

@Suite("Ed25519 keys")
struct Ed25519Tests {
    let passphrase = Passphrase("correct horse".utf8)

    @Test("RFC 8032, section 7.1, test 2: key and signature")
    func knownAnswer() throws {
        let seed = try #require(
            [UInt8](hexadecimal: "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb"))
        let key = try Ed25519PrivateKey(seed: seed)
        #expect("\(key.publicKey)" == "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c")
        let signature = try key.signature(of: [0x72])
        #expect(
            signature.hexadecimal
                == "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
                + "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00")
        #expect(key.publicKey.verifies(signature, of: [0x72]))
    }

    @Test("a signature counts for its own message and key only, and not when cut or empty")
    func refused() throws {
        let key = try Ed25519PrivateKey.generate()
        let other = try Ed25519PrivateKey.generate()
        let signature = try key.signature(of: [1, 2, 3])
        #expect(!key.publicKey.verifies(signature, of: [1, 2, 4]))
        #expect(!other.publicKey.verifies(signature, of: [1, 2, 3]))
        #expect(!key.publicKey.verifies([], of: [1, 2, 3]))
        #expect(!key.publicKey.verifies(Array(signature.dropLast()), of: [1, 2, 3]))
        #expect(!key.publicKey.verifies(signature + [0], of: [1, 2, 3]))
        for bit in [0, 255, 511] {
            var flipped = signature
            flipped[bit / 8] ^= 1 << (bit % 8)
            #expect(!key.publicKey.verifies(flipped, of: [1, 2, 3]))
        }
        let inverted = Ed25519PublicKey(key.publicKey.bytes.map { ~$0 })
        #expect(inverted?.verifies(signature, of: [1, 2, 3]) == false)
    }

    @Test("a key file is read by openssl pkey, belongs to its owner alone, and is never overwritten")
    func file() async throws {
        let directory = try TemporaryDirectory()
        let path = directory.path.appending("root.pem")
        let key = try Ed25519PrivateKey.generate()
        try key.write(to: path, passphrase: passphrase)
        #expect(try FileStatus(of: path).permissions == 0o600)
        let shown = try await Command(
            "openssl", ["pkey", "-in", path.string, "-passin", "pass:correct horse", "-pubout", "-outform", "DER"]
        ).run()
        // SubjectPublicKeyInfo of RFC 8410 ends with the raw key.
        #expect(shown.output.suffix(32) == key.publicKey.bytes[...])
        let before = try path.contents()
        let fault = try #require(throws: CryptographyFault.self) {
            try Ed25519PrivateKey.generate().write(to: path, passphrase: passphrase)
        }
        #expect(fault.code == .exists)
        #expect(try path.contents() == before)
        #expect(try Ed25519PrivateKey(reading: path, passphrase: passphrase).publicKey == key.publicKey)
    }

    @Test("a key that openssl encrypted is read here")
    func foreign() async throws {
        let directory = try TemporaryDirectory()
        let path = directory.path.appending("key.pem")
        let arguments = ["genpkey", "-algorithm", "ed25519", "-out", path.string]
        try await Command("openssl", arguments + ["-aes-256-cbc", "-pass", "pass:correct horse"]).run()
        let key = try Ed25519PrivateKey(reading: path, passphrase: passphrase)
        #expect(try key.publicKey.verifies(key.signature(of: [1]), of: [1]))
    }

    @Test("a wrong passphrase, an open key, another kind of key and a cut file are told apart")
    func unusable() async throws {
        let directory = try TemporaryDirectory()
        let path = directory.path.appending("key.pem")
        func code(_ passphrase: Passphrase) throws -> CryptographyFaultCode? {
            try #require(throws: CryptographyFault.self) {
                try Ed25519PrivateKey(reading: path, passphrase: passphrase)
            }.code
        }
        try Ed25519PrivateKey.generate().write(to: path, passphrase: passphrase)
        #expect(try code(Passphrase("wrong".utf8)) == .wrongPassphrase)
        let text = try path.contents()
        try path.replaceContents(with: Array(text.prefix(text.count / 2)))
        #expect(try code(passphrase) == .wrongPassphrase)
        try await Command("openssl", ["genpkey", "-algorithm", "ed25519", "-out", path.string]).run()
        #expect(try code(passphrase) == .notAKey)
        try await Command(
            "openssl",
            ["genpkey", "-algorithm", "x25519", "-aes-256-cbc", "-pass", "pass:correct horse", "-out", path.string]
        ).run()
        #expect(try code(passphrase) == .notAKey)
        try path.removeTree()
        #expect(try code(passphrase) == .file)
    }

    @Test("a passphrase from a descriptor is its first line, and one that is empty or cut off is refused")
    func descriptor() throws {
        let directory = try TemporaryDirectory()
        let path = directory.path.appending("passphrase")
        let key = try Ed25519PrivateKey.generate()
        let pem = try key.encryptedPEM(passphrase: passphrase)
        try path.replaceContents(with: "correct horse\nsecond line\n")
        let file = try OpenFile(reading: path)
        let read = try PassphraseSource.descriptor(file.descriptor.rawValue).passphrase(for: "the test")
        #expect(try Ed25519PrivateKey(pem: pem, passphrase: read).publicKey == key.publicKey)
        for text in ["\n", String(repeating: "x", count: 1025)] {
            try path.replaceContents(with: text)
            let refused = try OpenFile(reading: path)
            let fault = try #require(throws: CryptographyFault.self) {
                try PassphraseSource.descriptor(refused.descriptor.rawValue).passphrase(for: "the test")
            }
            #expect(fault.code == .noPassphrase)
        }
        try path.replaceContents(with: String(repeating: "x", count: 1024) + "\n")
        let longest = try OpenFile(reading: path)
        _ = try PassphraseSource.descriptor(longest.descriptor.rawValue).passphrase(for: "the test")
    }
}
