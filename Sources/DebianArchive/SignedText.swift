import Command
import Fault
import FileIO
public import SystemPackage

/// Who may sign a Release file.
public struct Keyring: Sendable {
    /// The keyring file that gpgv reads.
    public let path: FilePath

    /// The keys in the file at `path`.
    public init(_ path: FilePath) { self.path = path }

    /// The Debian archive's keys, from the package debian-archive-keyring.
    public static let debianArchive = Keyring("/usr/share/keyrings/debian-archive-keyring.gpg")

    /// The text that `signed` carries, when a key of this ring has signed it.
    ///
    /// Only what gpgv itself writes out is returned: a clear-signed file can have more text around the signed part, and a
    /// reader of the file as it came would take that for signed too.
    func verifiedText(of signed: [UInt8], source: String) async throws(DebianArchiveFault) -> [UInt8] {
        guard path.exists else {
            throw DebianArchiveFault(
                .signature, "the keyring is not there", at: .path(path.string),
                remedy: "install the package debian-archive-keyring")
        }
        do {
            let directory = try TemporaryDirectory(prefix: "ballast-gpgv")
            let input = directory.path.appending("signed")
            let output = directory.path.appending("text")
            try input.replaceContents(with: signed)
            let outcome = try await Command(
                "gpgv",
                [
                    "--keyring", path.string, "--status-fd", "1", "--output", output.string, input.string,
                ]
            ).outcome()
            let status = Self.status(outcome.outputText)
            guard status.isGood, outcome.status == 0 || status.hasUnknownKey else {
                throw DebianArchiveFault(
                    .signature, status.reason, at: .path(source),
                    remedy: "do not use this mirror until it is known why; nothing was written")
            }
            return try output.contents(limit: ArchiveClient.releaseLimit)
        } catch let fault as DebianArchiveFault {
            throw fault
        } catch {
            throw DebianArchiveFault(.signature, "the signature could not be checked", at: .path(source), cause: error)
        }
    }

    private struct Status {
        var hasValid = false
        var hasUnknownKey = false
        var failure: String?

        var isGood: Bool { hasValid && failure == nil }

        var reason: String {
            failure ?? (hasUnknownKey ? "signed only by keys that the keyring does not have" : "not signed")
        }
    }

    /// The lines of GnuPG's status interface (doc/DETAILS). An archive signs with its old and its new key, and a keyring may
    /// have only one of them; every signature that can be checked must be good.
    private static func status(_ text: String) -> Status {
        var status = Status()
        for line in text.split(separator: "\n") {
            let words = line.split(separator: " ")
            guard words.count > 1, words[0] == "[GNUPG:]" else { continue }
            switch words[1] {
            case "VALIDSIG": status.hasValid = true
            case "BADSIG": status.failure = "the signature is wrong: the file was changed after it was signed"
            case "EXPSIG": status.failure = "the signature has expired"
            case "EXPKEYSIG": status.failure = "the signature is by an expired key"
            case "REVKEYSIG": status.failure = "the signature is by a revoked key"
            case "NODATA": status.failure = "not signed"
            case "ERRSIG":
                // The last but one word is the reason; 9 is a missing key.
                if words.count > 7, words[7] == "9" {
                    status.hasUnknownKey = true
                } else {
                    status.failure = "the signature cannot be checked"
                }
            default: break
            }
        }
        return status
    }
}
