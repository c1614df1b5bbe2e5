import CCrypto
public import Fault
import FileIO
import Glibc
public import SystemPackage

extension Ed25519PrivateKey {
    // scrypt with these costs 16 MiB and about a fifth of a second a guess. More memory would be better, but libcrypto's
    // own reader, and with it `openssl pkey`, refuses more than 32 MiB.
    private static let scryptCost: (n: UInt64, r: UInt64, p: UInt64) = (1 << 14, 8, 5)

    /// The key as PKCS #8 in PEM, encrypted by AES-256-CBC under a key that scrypt makes of `passphrase`
    /// (RFC 5958, RFC 7914): `openssl pkey` reads it.
    public func encryptedPEM(passphrase: Passphrase) throws(CryptographyFault) -> [UInt8] {
        guard let information = EVP_PKEY2PKCS8(handle) else { throw .last("cannot encode the key") }
        defer { PKCS8_PRIV_KEY_INFO_free(information) }
        // No salt and no vector given: libcrypto draws them at random.
        guard
            let algorithm = PKCS5_pbe2_set_scrypt(
                EVP_aes_256_cbc(), nil, 0, nil, Self.scryptCost.n, Self.scryptCost.r, Self.scryptCost.p)
        else { throw .last("cannot set up the encryption") }
        let sealed = passphrase.withCString { text, count in
            PKCS8_set0_pbe(text, Int32(count), information, algorithm)
        }
        guard let sealed else {
            X509_ALGOR_free(algorithm)
            throw .last("cannot encrypt the key")
        }
        defer { X509_SIG_free(sealed) }
        guard let output = BIO_new(BIO_s_mem()) else { throw .last("cannot write the key") }
        defer { BIO_free(output) }
        guard PEM_write_bio_PKCS8(output, sealed) == 1 else { throw .last("cannot write the key") }
        var text = [UInt8](repeating: 0, count: BIO_ctrl_pending(output))
        guard BIO_read(output, &text, Int32(text.count)) == text.count else { throw .last("cannot write the key") }
        return text
    }

    /// Writes the key, encrypted, to a new file that only its owner may read.
    ///
    /// - Throws: `exists` where there is something by that name already: a key is never overwritten.
    public func write(to path: FilePath, passphrase: Passphrase) throws(CryptographyFault) {
        let text = try encryptedPEM(passphrase: passphrase)
        do throws(FileIOFault) {
            let file = try OpenFile(path, .writeOnly, options: [.create, .exclusiveCreate])
            do throws(FileIOFault) {
                try file.append(text)
                try file.flush()
            } catch {
                unlink(path.string)
                throw error
            }
        } catch {
            guard error.code == .exists else {
                throw CryptographyFault(
                    .file, "the key could not be written",
                    remedy: error.code == .notFound ? "make the directory first" : nil, cause: error)
            }
            throw CryptographyFault(
                .exists, "there is a file already, and a key is never overwritten", at: .path(path.string),
                remedy: "choose another name, or move the old key away if nothing is signed by it any more")
        }
    }

    /// Reads a key that `write` or `openssl genpkey -algorithm ed25519 -aes-256-cbc` wrote.
    public convenience init(reading path: FilePath, passphrase: Passphrase) throws(CryptographyFault) {
        let text: [UInt8]
        do throws(FileIOFault) {
            text = try path.contents(limit: 1 << 16)
        } catch {
            throw CryptographyFault(
                .file, "the key could not be read", remedy: "name a key's file, such as keys/root.pem", cause: error)
        }
        do throws(CryptographyFault) {
            try self.init(pem: text, passphrase: passphrase)
        } catch {
            throw CryptographyFault(
                error.code, error.message, at: .path(path.string), remedy: error.remedy, cause: error.cause)
        }
    }

    /// The key in an encrypted PEM text.
    ///
    /// - Throws: `notAKey` also where the key is not encrypted; `wrongPassphrase`.
    public convenience init(pem text: [UInt8], passphrase: Passphrase) throws(CryptographyFault) {
        guard text.count < 1 << 20,
            String(decoding: text, as: UTF8.self).contains("-----BEGIN ENCRYPTED PRIVATE KEY-----")
        else {
            throw CryptographyFault(
                .notAKey, "no encrypted private key in PEM",
                remedy: "make one with 'ballast key generate', or encrypt yours with 'openssl pkcs8 -topk8 -scrypt'")
        }
        guard let input = BIO_new_mem_buf(text, Int32(text.count)) else { throw .last("cannot read the key") }
        defer { BIO_free(input) }
        let handle = passphrase.withCString { password, _ in
            PEM_read_bio_PrivateKey(input, nil, nil, UnsafeMutableRawPointer(mutating: password))
        }
        guard let handle else {
            // libcrypto says in several ways that padding or structure came out wrong, which is what a wrong key does.
            ERR_clear_error()
            throw CryptographyFault(
                .wrongPassphrase, "the passphrase does not open the key", remedy: "give the passphrase it was made with"
            )
        }
        try self.init(owning: handle)
    }
}
