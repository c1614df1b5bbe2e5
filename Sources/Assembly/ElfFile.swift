import Fault
import JSON

/// What a dynamic ELF64 file needs at run time: the libraries it names, where it looks first, and those that it may load
/// later (the `.note.dlopen` sections of the UAPI specification of ELF dlopen metadata).
struct ElfFile {
    private(set) var needed: [String] = []
    private(set) var searchPaths: [String] = []
    private(set) var interpreter: String?
    private(set) var optional: [OptionalLibrary] = []

    /// One library that is loaded only where a feature is used.
    struct OptionalLibrary: Hashable {
        let feature: String
        let priority: String
        /// Names in the order in which they are tried.
        let names: [String]
    }

    /// Reads `bytes`, or returns nil where they are no ELF64 file in little-endian order.
    init?(_ bytes: [UInt8]) {
        guard bytes.count >= 64, bytes.starts(with: [0x7F, 0x45, 0x4C, 0x46, 2, 1]) else { return nil }
        let reader = Reader(bytes)
        guard let table = reader.number(at: 32, width: 8), let count = reader.number(at: 56, width: 2) else {
            return nil
        }
        var dynamic: Range<Int>?
        var loads: [(address: Int, offset: Int, size: Int)] = []
        var notes: [Range<Int>] = []
        for index in 0..<count {
            let header = table + index * 56
            guard let type = reader.number(at: header, width: 4), let offset = reader.number(at: header + 8, width: 8),
                let address = reader.number(at: header + 16, width: 8),
                let size = reader.number(at: header + 32, width: 8),
                offset <= bytes.count, size <= bytes.count - offset
            else { continue }
            switch type {
            case 1: loads.append((address, offset, size))
            case 2: dynamic = offset..<offset + size
            case 3: interpreter = reader.string(at: offset)
            case 4: notes.append(offset..<offset + size)
            default: break
            }
        }
        for note in notes { readNotes(note, reader) }
        guard let dynamic else { return }
        var strings: Int?
        var names: [(tag: Int, offset: Int)] = []
        for entry in stride(from: dynamic.lowerBound, to: dynamic.upperBound - 15, by: 16) {
            guard let tag = reader.number(at: entry, width: 8), let value = reader.number(at: entry + 8, width: 8),
                tag != 0
            else { break }
            if tag == 5 {
                strings = loads.first { $0.address <= value && value - $0.address < $0.size }.map {
                    $0.offset + value - $0.address
                }
            } else if [1, 15, 29].contains(tag) {
                names.append((tag, value))
            }
        }
        guard let strings else { return }
        for (tag, offset) in names {
            guard offset < bytes.count, let name = reader.string(at: strings + offset) else { continue }
            if tag == 1 { needed.append(name) } else { searchPaths += name.split(separator: ":").map(String.init) }
        }
    }

    private mutating func readNotes(_ range: Range<Int>, _ reader: Reader) {
        var position = range.lowerBound
        while position + 12 <= range.upperBound {
            guard let nameSize = reader.number(at: position, width: 4),
                let size = reader.number(at: position + 4, width: 4),
                let type = reader.number(at: position + 8, width: 4), nameSize < 256,
                size <= range.upperBound - position
            else { return }
            let start = position + 12 + (nameSize + 3) / 4 * 4
            // 0x407c0c0a is the type that the specification gives; the owner's name is "FDO".
            if type == 0x407C_0C0A, let text = reader.string(at: start) { readDlopenNote(text) }
            position = start + (size + 3) / 4 * 4
        }
    }

    private mutating func readDlopenNote(_ text: String) {
        guard let root = try? JSONCursor(parsing: Array(text.utf8), source: "dlopen note"),
            let entries = try? root.elements(atMost: 100)
        else { return }
        for entry in entries {
            guard let names = try? entry.field("soname").elements(atMost: 20).map({ try $0.string() }) else { continue }
            optional.append(
                OptionalLibrary(
                    feature: (try? entry.optional("feature")?.string()) ?? "",
                    priority: (try? entry.optional("priority")?.string()) ?? "recommended", names: names))
        }
    }

    private struct Reader {
        let bytes: [UInt8]
        init(_ bytes: [UInt8]) { self.bytes = bytes }

        func number(at offset: Int, width: Int) -> Int? {
            guard offset >= 0, offset <= bytes.count - width else { return nil }
            let value = bytes[offset..<offset + width].reversed().reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
            return Int(exactly: value)
        }

        func string(at offset: Int) -> String? {
            guard offset >= 0, offset < bytes.count, let end = bytes[offset...].firstIndex(of: 0) else { return nil }
            return String(validating: bytes[offset..<end], as: UTF8.self)
        }
    }
}
