import Assembly
import Command
import FileIO
import FileTree
import SystemPackage
import Testing

/// Keys made by the programs that people make them with.
@Suite("Private keys in an image") struct PrivateKeyTests {
    @Test(
        "a key is found whatever made it, also within another file and with lines ended as on Windows",
        arguments: [
            "openssl genpkey -algorithm ed25519 -out key",
            "openssl genpkey -algorithm rsa -pkeyopt rsa_keygen_bits:2048 -out key",
            "openssl ecparam -name prime256v1 -genkey -out key",
            "openssl genrsa -traditional -aes128 -passout pass:word -out key 2048",
            "openssl genpkey -algorithm ed25519 -aes256 -pass pass:word -out key",
            "ssh-keygen -q -t ed25519 -N '' -f key",
            "ssh-keygen -q -t rsa -b 2048 -m PEM -N '' -f key",
            "ssh-keygen -q -t ecdsa -N word -f key",
        ])
    func found(command: String) async throws {
        let work = try TemporaryDirectory()
        try await Command("sh", ["-c", command], directory: work.path).run()
        let key = try work.path.appending("key").contents()
        func isFound(_ bytes: [UInt8]) throws -> Bool { try PrivateKeys.hasKey(.bytes(bytes)) }
        #expect(try isFound(key))
        #expect(try isFound(Array("# a comment\nkey = ".utf8) + key))
        #expect(try isFound(key.flatMap { $0 == 0x0A ? [0x0D, 0x0A] : [$0] }))
        #expect(try isFound(key.flatMap { $0 == 0x0A ? [0x0A, 0x20, 0x20, 0x20] : [$0] }), "as in YAML")
        #expect(try isFound(key.flatMap { $0 == 0x0A ? Array("\\n".utf8) : [$0] }), "as in JSON")
        #expect(try isFound(key.flatMap { $0 == 0x0A ? [0x20, 0x0A] : [$0] }), "with blanks at the ends of lines")
        // Wherever it is in a file that is read piece by piece.
        let large = work.path.appending("large")
        for before in stride(from: (1 << 20) - 2200, through: (1 << 20) + 10, by: 170) {
            let bytes =
                [UInt8](repeating: 0x2E, count: before) + [0x0A] + key + [UInt8](repeating: 0x2E, count: 1 << 20)
            try large.replaceContents(with: bytes)
            #expect(try PrivateKeys.hasKey(.file(large, size: Int64(bytes.count))), "\(before)")
        }
    }

    @Test("what only knows the form of a key, a public key or a certificate is none")
    func notFound() async throws {
        let work = try TemporaryDirectory()
        try await Command(
            "openssl",
            [
                "req", "-x509", "-newkey", "ed25519", "-nodes", "-keyout", "key", "-out", "certificate", "-subj",
                "/CN=x",
            ],
            directory: work.path
        ).run()
        #expect(try PrivateKeys.hasKey(.bytes(work.path.appending("key").contents())))
        #expect(try !PrivateKeys.hasKey(.bytes(work.path.appending("certificate").contents())))
        for path in ["/usr/bin/ssh-keygen", "/usr/bin/openssl", "/usr/share/perl5/Debconf/Db.pm"] {
            guard FilePath(path).exists else { continue }
            #expect(try !PrivateKeys.hasKey(.bytes(FilePath(path).contents())), "\(path)")
        }
        for text in [
            "-----BEGIN PRIVATE KEY-----", "-----BEGIN PRIVATE KEY-----\n", "-----BEGIN PRIVATE KEY-----\n\n\n",
            "PRIVATE KEY-----\n", "grep -q -- '-----BEGIN RSA PRIVATE KEY-----' file\nexit 1\n",
            "-----BEGIN PRIVATE KEY-----\n...\n-----END PRIVATE KEY-----\n",
        ] { #expect(try !PrivateKeys.hasKey(.bytes(Array(text.utf8))), "\(text)") }
    }
}
