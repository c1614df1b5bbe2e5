import CLinux
import Fault
package import FileIO
package import FileTree
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
    /// A key has at least so many base64 characters, and at least so many of them on a line that is not its last: what only
    /// knows the form of a key has none or a few.
    private static let leastBody = 32
    private static let leastLine = 16
    /// How far behind the first line the body is looked for.
    private static let longestHead = 2000

    /// Refuses a tree that has a private key which the manifest does not name.
    func check(_ tree: FileTree) throws(AssemblyFault) {
        let allowed = PathPatterns(manifest.privateKeys)
        var found: [String] = []
        do throws(FileTreeFault) {
            for path in tree.sortedPaths() {
                guard case .regular(let content)? = tree[path]?.kind, content.size >= 64, !allowed.excludes(path) else {
                    continue
                }
                let place = VarFactory.placeOnHost(of: path)
                if !allowed.excludes(place), try Self.hasKey(content, at: path) { found.append(place) }
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

    private static func hasKey(_ content: FileInode.Content, at path: String) throws(FileTreeFault) -> Bool {
        do throws(FileIOFault) { return try hasKey(content) } catch {
            throw FileTreeFault(.unreadable, "cannot read the file's content", at: .path(path), cause: error)
        }
    }

    /// How much of a file is looked at a time, in bytes; a key that begins near the end of a piece is in the next one too.
    private static let pieceSize = 1 << 20
    private static let overlap = longestLabel + marker.count + longestHead

    /// Whether the content of a file has a private key in it.
    package static func hasKey(_ content: FileInode.Content) throws(FileIOFault) -> Bool {
        var offset: Int64 = 0
        while true {
            let piece = try content.load(from: offset, count: pieceSize)
            // Libraries of cryptography carry the keys of their self-tests, which everybody knows.
            if offset == 0, piece.starts(with: elf) { return false }
            if hasKey(piece) { return true }
            guard offset + Int64(piece.count) < content.size else { return false }
            offset += Int64(piece.count - overlap)
        }
    }

    private static func hasKey(_ bytes: [UInt8]) -> Bool {
        bytes.withUnsafeBytes { buffer in
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
        let end = min(buffer.count, index + longestHead)
        var total = 0
        while true {
            index = skipSpace(buffer, from: index, to: end)
            let run = buffer[index..<end].prefix(while: isBase64)
            // Only the last line of a key is short.
            guard run.count >= leastLine || total + run.count >= leastBody else {
                guard total == 0, let next = endOfField(buffer, from: index, to: end) else { return false }
                index = next
                continue
            }
            total += run.count
            if total >= leastBody { return true }
            index = run.endIndex
        }
    }

    /// Line ends, indentation, and line ends as JSON writes them: `\n`.
    private static func skipSpace(_ buffer: UnsafeRawBufferPointer, from start: Int, to end: Int) -> Int {
        var index = start
        while index < end {
            if [0x09, 0x0A, 0x0D, 0x20].contains(buffer[index]) {
                index += 1
            } else if index + 1 < end, buffer[index] == UInt8(ascii: "\\"),
                [UInt8(ascii: "n"), UInt8(ascii: "r")].contains(buffer[index + 1])
            {
                index += 2
            } else {
                break
            }
        }
        return index
    }

    /// The end of a field of an encrypted key (RFC 1421: `Proc-Type: 4,ENCRYPTED`), where there is one.
    private static func endOfField(_ buffer: UnsafeRawBufferPointer, from start: Int, to end: Int) -> Int? {
        let line = buffer[start..<end].prefix { $0 != 0x0A && $0 != 0x0D && $0 != UInt8(ascii: "\\") }
        guard line.contains(UInt8(ascii: ":")), line.count < 200, line.endIndex < end else { return nil }
        return line.endIndex
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
