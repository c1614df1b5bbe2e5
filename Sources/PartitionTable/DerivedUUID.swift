public import Cryptography

/// UUIDs that follow from content, so that equal inputs give equal disks.
public enum DerivedUUID {
    /// The RFC 9562 version 8 UUID made of the SHA-256 of `name`: 16 bytes.
    public static func bytes(_ name: String) -> [UInt8] {
        var bytes = Array(SHA256Digest(of: name.utf8).bytes.prefix(16))
        bytes[6] = bytes[6] & 0x0F | 0x80
        bytes[8] = bytes[8] & 0x3F | 0x80
        return bytes
    }

    /// The same as text in upper case.
    public static func text(_ name: String) -> String { format(bytes(name)) }

    /// 16 bytes as text, in the order in which they are written; in upper case.
    public static func format(_ bytes: [UInt8]) -> String {
        let digits = bytes.hexadecimal.uppercased()
        var text = ""
        for (index, digit) in digits.enumerated() {
            if [8, 12, 16, 20].contains(index) { text += "-" }
            text.append(digit)
        }
        return text
    }

    /// The UUIDs of a root partition and of its hash partition: the two halves of the root hash, by which
    /// systemd-veritysetup-generator(8) finds both.
    public static func halves(of rootHash: SHA256Digest) -> (root: String, verity: String) {
        (format(Array(rootHash.bytes.prefix(16))), format(Array(rootHash.bytes.suffix(16))))
    }
}
