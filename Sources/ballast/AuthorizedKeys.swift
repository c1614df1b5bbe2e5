import Fault
import FileIO
import Glibc
import SystemPackage
import VirtualMachine

/// The public keys with which a person may log in to a virtual machine.
enum AuthorizedKeys {
    private static let limit = 1 << 14

    /// The lines of the key file at `path`, or of all of the user's own where none is named.
    static func read(_ path: FilePath?) throws -> [UInt8] {
        var lines: [UInt8] = []
        for file in try path.map({ [$0] }) ?? ownKeys() {
            let text = try file.contents(limit: limit)
            let words = text.split(separator: UInt8(ascii: " "))
            guard words.count > 1, let kind = words.first,
                ["ssh-", "ecdsa-", "sk-"].contains(where: { kind.starts(with: $0.utf8) })
            else {
                throw VirtualMachineFault(
                    .notStarted, "is not an OpenSSH public key", at: .path(file.string),
                    remedy: "name the file that ends in '.pub' with --ssh-key")
            }
            lines += text
            if text.last != 0x0A { lines.append(0x0A) }
        }
        return lines
    }

    private static func ownKeys() throws -> [FilePath] {
        let home = getenv("HOME").map { String(cString: $0) } ?? "/root"
        let directory = FilePath(home).appending(".ssh")
        let names = ((try? directory.directoryEntries()) ?? []).filter {
            $0.hasPrefix("id_") && $0.hasSuffix(".pub") && !$0.hasSuffix("-cert.pub")
        }
        guard !names.isEmpty else {
            throw VirtualMachineFault(
                .notStarted, "you have no SSH key", at: .path(directory.string),
                remedy: "make one by 'ssh-keygen -t ed25519', or name a public key with --ssh-key")
        }
        return names.map { directory.appending($0) }
    }
}
