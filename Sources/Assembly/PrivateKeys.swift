import CLinux
import Fault
import FileIO
import FileTree
import Manifest
import SystemPackage

/// Looks for private keys in a tree, in PEM (RFC 7468) or OpenSSH's form: all hosts of an image would have the same ones.
package struct PrivateKeys {
    let manifest: Manifest

    private static let marker = Array("PRIVATE KEY-----".utf8)
    private static let beginning = Array("-----BEGIN ".utf8)
    /// No label of a key is longer (`-----BEGIN ENCRYPTED PRIVATE KEY-----`).
    private static let longestLabel = 40
    private static let elf: [UInt8] = [0x7F, 0x45, 0x4C, 0x46]
    /// A key has at least so many base64 characters on its first line; programs that know the form have only its lines.
    private static let leastBody = 32

    /// Refuses a tree that has a private key which the manifest does not name.
    func check(_ tree: FileTree) throws(AssemblyFault) {
        let allowed = PathPatterns(manifest.privateKeys)
        var found: [String] = []
        do throws(FileTreeFault) {
            for path in tree.sortedPaths() {
                guard case .regular(let content)? = tree[path]?.kind, content.size >= 64, !allowed.excludes(path) else {
                    continue
                }
                if Self.hasKey(try Self.bytes(of: content, at: path)) { found.append(path) }
            }
        } catch {
            throw .during("cannot look for private keys", error)
        }
        guard !found.isEmpty else { return }
        throw AssemblyFault(
            .invalidRequest,
            "\(found.count == 1 ? "a private key is" : "\(found.count) private keys are") in the image, the same on every host: "
                + found.prefix(20).map { "/\($0)" }.joined(separator: ", "),
            at: .named(manifest.source.string),
            remedy: "have each host make its own by 'first_boot', leave it out, or name it in 'private_keys'")
    }

    private static func bytes(of content: FileInode.Content, at path: String) throws(FileTreeFault) -> [UInt8] {
        do throws(FileIOFault) { return try content.load() } catch {
            throw FileTreeFault(.unreadable, "cannot read the file's content", at: .path(path), cause: error)
        }
    }

    /// Whether the content of a file has a private key in it.
    package static func hasKey(_ bytes: [UInt8]) -> Bool {
        // Libraries of cryptography carry the keys of their self-tests, which everybody knows.
        if bytes.starts(with: elf) { return false }
        return bytes.withUnsafeBytes { buffer in
            var start = 0
            while start < buffer.count,
                let base = buffer.baseAddress,
                let hit = ballast_find(base + start, buffer.count - start, marker, marker.count)
            {
                let position = hit - base
                if isKey(buffer, markerAt: position) { return true }
                start = position + marker.count
            }
            return false
        }
    }

    private static func isKey(_ buffer: UnsafeRawBufferPointer, markerAt position: Int) -> Bool {
        let label = buffer[max(0, position - longestLabel)..<position]
        guard let base = buffer.baseAddress, !label.isEmpty,
            ballast_find(base + label.startIndex, label.count, beginning, beginning.count) != nil
        else { return false }
        var index = position + marker.count
        // Fields of an encrypted key (RFC 1421) and empty lines stand before its body.
        while let end = buffer[min(index, buffer.count)...].firstIndex(of: 0x0A) {
            let next = end + 1
            let line = buffer[next..<(buffer[next...].firstIndex(of: 0x0A) ?? buffer.count)]
            let text = line.filter { $0 != 0x0D }
            if text.isEmpty || text.contains(UInt8(ascii: ":")) {
                guard text.count < 200, next - position < 2000 else { return false }
                index = next
                continue
            }
            return text.count >= leastBody && text.allSatisfy(isBase64)
        }
        return false
    }

    private static func isBase64(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "+"), UInt8(ascii: "/"), UInt8(ascii: "="):
            true
        default: false
        }
    }
}
