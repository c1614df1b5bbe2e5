import Command
import Fault
import FileIO
public import SystemPackage

/// Who may sign a Release file.
public struct Keyring: Sendable, Hashable {
    /// The file with the keys, armored or not.
    public let path: FilePath

    /// The keys in the file at `path`.
    public init(_ path: FilePath) { self.path = path }

    /// The Debian archive's keys, from the package debian-archive-keyring.
    public static let debianArchive = Keyring("/usr/share/keyrings/debian-archive-keyring.gpg")

    /// What a key of a ring has signed.
    struct Verified {
        /// What was signed, and nothing around it.
        let text: [UInt8]
        /// The fingerprints of the primary keys of who signed.
        let signers: [String]
    }

    private static let sizeLimit = 16 << 20

    /// What `signed` carries, when a key of this ring has signed it.
    ///
    /// Only what gpgv itself writes out of a clear-signed file is returned: there can be more text around the signed part,
    /// and a reader of the file as it came would take that for signed too.
    ///
    /// - Parameter signature: a signature apart from what it signs; nil where `signed` is clear-signed.
    func verify(
        _ signed: [UInt8], signature: [UInt8]?, source: String
    ) async throws(DebianArchiveFault) -> Verified {
        do {
            let directory = try TemporaryDirectory(prefix: "ballast-gpgv")
            let ring = directory.path.appending("keyring.gpg")
            let input = directory.path.appending("signed")
            let output = directory.path.appending("text")
            try ring.replaceContents(with: try keys())
            try input.replaceContents(with: signed)
            // apt believes no signature over these digests either.
            var arguments = ["--weak-digest", "SHA1", "--weak-digest", "RIPEMD160"]
            arguments += ["--keyring", ring.string, "--status-fd", "1"]
            if let signature {
                let detached = directory.path.appending("signature")
                try detached.replaceContents(with: signature)
                arguments += [detached.string, input.string]
            } else {
                arguments += ["--output", output.string, input.string]
            }
            let outcome = try await Command("gpgv", arguments).outcome()
            let status = Self.status(outcome.outputText)
            guard status.isGood else {
                throw DebianArchiveFault(
                    .signature, status.reason, at: .path(source),
                    remedy: status.isWrong
                        ? "do not use this mirror until it is known why; nothing was written"
                        : "get the archive's present key into \(path); nothing was written")
            }
            let text = signature == nil ? try output.contents(limit: ArchiveClient.releaseLimit) : signed
            return Verified(text: text, signers: status.signers)
        } catch let fault as DebianArchiveFault {
            throw fault
        } catch {
            throw DebianArchiveFault(.signature, "the signature could not be checked", at: .path(source), cause: error)
        }
    }

    /// The keys as gpgv reads them.
    private func keys() throws -> [UInt8] {
        let bytes: [UInt8]
        do throws(FileIOFault) { bytes = try path.contents(limit: Self.sizeLimit) } catch {
            throw DebianArchiveFault(
                .signature, error.code == .notFound ? "the keyring is not there" : "the keyring cannot be read",
                at: .path(path.string),
                remedy: self == .debianArchive ? "install the package debian-archive-keyring" : nil,
                cause: error.code == .notFound ? nil : error)
        }
        guard bytes.contains(0) || !String(decoding: bytes, as: UTF8.self).contains(Self.begin) else {
            return try binary(String(decoding: bytes, as: UTF8.self))
        }
        guard Self.beginsWithKey(bytes) else {
            throw DebianArchiveFault(
                .signature, "the keyring has no OpenPGP key", at: .path(path.string),
                remedy: "write it with 'gpg --export' of the key that signs the archive")
        }
        return bytes
    }

    /// Whether the first packet is a public key (RFC 9580, sections 4.2 and 5), or the file is one of GnuPG's key boxes.
    private static func beginsWithKey(_ bytes: [UInt8]) -> Bool {
        guard let first = bytes.first else { return false }
        return first == 0xC6 || first & 0xFC == 0x98 || bytes.dropFirst(8).starts(with: "KBXf".utf8)
    }

    private static let begin = "-----BEGIN PGP PUBLIC KEY BLOCK-----"

    /// The keys of all blocks of an armored file (RFC 9580, section 6).
    private func binary(_ text: String) throws(DebianArchiveFault) -> [UInt8] {
        var keys: [UInt8] = []
        var isInBlock = false
        var isInHeaders = false
        var block: [UInt8] = []
        for line in text.split(omittingEmptySubsequences: false, whereSeparator: \.isNewline) {
            let line = line.trimmed
            if line == Self.begin {
                (isInBlock, isInHeaders, block) = (true, true, [])
            } else if line.hasPrefix("-----END PGP") {
                guard isInBlock, let bytes = Self.base64(block) else { break }
                keys += bytes
                isInBlock = false
            } else if isInBlock, isInHeaders {
                if line.isEmpty {
                    isInHeaders = false
                } else if !line.contains(": ") {
                    isInHeaders = false
                    block += line.utf8
                }
            } else if isInBlock, !line.hasPrefix("=") {
                block += line.utf8
            }
        }
        guard !isInBlock, !keys.isEmpty else {
            throw DebianArchiveFault(
                .signature, "the keyring is damaged: its armor cannot be read", at: .path(path.string),
                remedy: "fetch it again, or write it with 'gpg --armor --export'")
        }
        return keys
    }

    private static func base64(_ text: [UInt8]) -> [UInt8]? {
        var bytes: [UInt8] = []
        var (bits, count): (UInt32, Int) = (0, 0)
        for byte in text where byte != UInt8(ascii: "=") {
            let value: UInt8
            switch byte {
            case UInt8(ascii: "A")...UInt8(ascii: "Z"): value = byte - 65
            case UInt8(ascii: "a")...UInt8(ascii: "z"): value = byte - 71
            case UInt8(ascii: "0")...UInt8(ascii: "9"): value = byte + 4
            case UInt8(ascii: "+"): value = 62
            case UInt8(ascii: "/"): value = 63
            default: return nil
            }
            bits = bits << 6 | UInt32(value)
            count += 6
            if count >= 8 {
                count -= 8
                bytes.append(UInt8(truncatingIfNeeded: bits >> count))
            }
        }
        return bytes
    }

    private struct Status {
        var signers: [String] = []
        /// Who signed and is not in the keyring, by fingerprint or what of it the signature has.
        var strangers: [String] = []
        /// Why a signature counts for nothing, which another one may make up for.
        var worthless: String?
        /// Why nothing of it is believed.
        var failure: String?

        var isGood: Bool { !signers.isEmpty && failure == nil }
        /// Whether what was signed is not what came, rather than signed by somebody else.
        var isWrong: Bool { failure != nil }

        var reason: String {
            failure ?? worthless
                ?? (strangers.isEmpty
                    ? "not signed"
                    : "signed only by keys that the keyring does not have (\(strangers.joined(separator: ", ")))")
        }
    }

    /// The lines of GnuPG's status interface (doc/DETAILS). An archive signs with its old and its new key, of which a keyring may
    /// have only one and one may have expired or be revoked: one good signature is enough, and none may be wrong.
    private static func status(_ text: String) -> Status {
        var status = Status()
        // VALIDSIG follows for each signature that fits what was signed, by an expired key too.
        var isByGoodKey = false
        for line in text.split(separator: "\n") {
            let words = line.split(separator: " ")
            guard words.count > 1, words[0] == "[GNUPG:]" else { continue }
            switch words[1] {
            case "NEWSIG": isByGoodKey = false
            case "GOODSIG": isByGoodKey = true
            // The last word is the primary key's fingerprint.
            case "VALIDSIG":
                if isByGoodKey, let signer = words.last { status.signers.append(String(signer)) }
                isByGoodKey = false
            case "BADSIG": status.failure = "the signature is wrong: the file was changed after it was signed"
            case "EXPSIG": status.worthless = "the signature has expired"
            case "EXPKEYSIG": status.worthless = "the signature is by an expired key"
            case "REVKEYSIG": status.worthless = "the signature is by a revoked key"
            case "NODATA": status.failure = "not signed"
            case "ERRSIG":
                // The last but one word is the reason; 9 is a missing key.
                if words.count > 7, words[7] == "9" {
                    // The fingerprint is the last word, where the signature has it.
                    status.strangers.append(String(words.count > 8 && words[8] != "-" ? words[8] : words[2]))
                } else {
                    status.worthless = "the signature is of a kind that is too weak or that gpgv does not know"
                }
            default: break
            }
        }
        return status
    }
}

extension Substring {
    /// Without the space around it.
    fileprivate var trimmed: Substring {
        var text = drop { $0 == " " || $0 == "\t" }
        while text.last == " " || text.last == "\t" { text.removeLast() }
        return text
    }
}
