import Fault

/// A PE32+ executable as far as sections are concerned (Microsoft PE Format, revision of 2024). Little-endian throughout.
///
///     DOS header        60  u32 offset of "PE\0\0"
///     COFF header       +4  u16 machine   +6 u16 sections   +20 u16 size of the optional header
///     optional header   +24: 0 u16 magic 0x20B   8 u32 size of initialised data   32 u32 section alignment
///                       36 u32 file alignment   56 u32 size of image   60 u32 size of headers   64 u32 checksum
///                       70 u16 DLL characteristics   108 u32 number of directories   144 u32,u32 signature directory
///     section header    0 char[8] name   8 u32 virtual size   12 u32 virtual address   16 u32 size of raw data
///     (40 bytes each)   20 u32 pointer to raw data   36 u32 characteristics
struct PEFile {
    private struct Section {
        let header: Int
        let name: String
        let virtualSize: Int
        let virtualAddress: Int
        let rawSize: Int
        let rawOffset: Int
    }

    private static let sectionHeaderSize = 40
    private static let nxCompatible: UInt16 = 0x100
    private static let codeFlags: UInt32 = 0x4000_0020  // readable, code
    private static let dataFlags: UInt32 = 0x4000_0040  // readable, initialised data

    private(set) var bytes: [UInt8]
    private let name: String
    private let coff: Int
    private let optional: Int
    private let sectionTable: Int
    private let fileAlignment: Int
    private let sectionAlignment: Int
    private let headersSize: Int

    init(_ bytes: [UInt8], name: String) throws(UnifiedKernelFault) {
        self.bytes = bytes
        self.name = name
        func bad(_ what: String) -> UnifiedKernelFault {
            UnifiedKernelFault(
                .badExecutable, what, at: .named(name),
                remedy: "check that the locked packages are for this architecture")
        }
        func number<T: FixedWidthInteger>(_ type: T.Type, _ offset: Int) throws(UnifiedKernelFault) -> Int {
            guard let value = bytes.number(type, at: offset) else { throw bad("the PE headers are cut off") }
            return Int(value)
        }
        guard bytes.starts(with: "MZ".utf8) else { throw bad("not a PE file: it does not begin with 'MZ'") }
        coff = try number(UInt32.self, 60)
        guard try number(UInt32.self, coff) == 0x4550 else { throw bad("not a PE file: the PE signature is missing") }
        optional = coff + 24
        sectionTable = optional + (try number(UInt16.self, coff + 20))
        guard try number(UInt16.self, optional) == 0x20B else { throw bad("not a PE32+ file") }
        sectionAlignment = try number(UInt32.self, optional + 32)
        fileAlignment = try number(UInt32.self, optional + 36)
        headersSize = try number(UInt32.self, optional + 60)
        guard sectionAlignment.nonzeroBitCount == 1, fileAlignment.nonzeroBitCount == 1, headersSize <= bytes.count
        else {
            throw bad("the PE headers contradict themselves")
        }
        for section in try sections() where section.rawSize > 0 {
            guard section.rawOffset + section.rawSize <= bytes.count else {
                throw bad("the section '\(section.name)' reaches beyond the end of the file")
            }
        }
    }

    var isNXCompatible: Bool { (bytes.number(UInt16.self, at: optional + 70) ?? 0) & Self.nxCompatible != 0 }

    mutating func clearNXCompatibility() {
        let flags = bytes.number(UInt16.self, at: optional + 70) ?? 0
        bytes.put(flags & ~Self.nxCompatible, at: optional + 70)
    }

    private func sections() throws(UnifiedKernelFault) -> [Section] {
        let count = Int(bytes.number(UInt16.self, at: coff + 6) ?? 0)
        var sections: [Section] = []
        for index in 0..<count {
            let header = sectionTable + index * Self.sectionHeaderSize
            guard header + Self.sectionHeaderSize <= bytes.count else {
                throw UnifiedKernelFault(.badExecutable, "the section table is cut off", at: .named(name))
            }
            func field(_ offset: Int) -> Int { Int(bytes.number(UInt32.self, at: header + offset) ?? 0) }
            sections.append(
                Section(
                    header: header,
                    name: String(decoding: bytes[header..<header + 8].prefix { $0 != 0 }, as: UTF8.self),
                    virtualSize: field(8), virtualAddress: field(12), rawSize: field(16), rawOffset: field(20)))
        }
        return sections
    }

    func contents(of sectionName: String) throws(UnifiedKernelFault) -> [UInt8]? {
        guard let section = try sections().first(where: { $0.name == sectionName }) else { return nil }
        return Array(bytes[section.rawOffset..<section.rawOffset + min(section.rawSize, section.virtualSize)])
    }

    /// Gives a section new content: in place where it exists and has the room, at the end of the file otherwise.
    mutating func setSection(_ sectionName: String, to data: [UInt8], isCode: Bool = false) throws(UnifiedKernelFault) {
        let sections = try sections()
        if let section = sections.first(where: { $0.name == sectionName }) {
            guard data.count <= section.rawSize else {
                throw UnifiedKernelFault(
                    .noRoom, "the section '\(sectionName)' has \(section.rawSize) bytes and \(data.count) are needed",
                    at: .named(name))
            }
            bytes.replaceSubrange(
                section.rawOffset..<section.rawOffset + section.rawSize,
                with: data + [UInt8](repeating: 0, count: section.rawSize - data.count))
            bytes.put(UInt32(data.count), at: section.header + 8)
            return
        }
        let header = sectionTable + sections.count * Self.sectionHeaderSize
        guard header + Self.sectionHeaderSize <= headersSize, let size = UInt32(exactly: data.count) else {
            throw UnifiedKernelFault(
                .noRoom, "there is no room for a section '\(sectionName)' of \(data.count) bytes", at: .named(name))
        }
        let end = sections.map { $0.virtualAddress + max($0.virtualSize, $0.rawSize) }.max() ?? headersSize
        let address = end.roundedUp(to: sectionAlignment)
        let offset = bytes.count.roundedUp(to: fileAlignment)
        let rawSize = data.count.roundedUp(to: fileAlignment)
        guard let imageSize = UInt32(exactly: (address + data.count).roundedUp(to: sectionAlignment)) else {
            throw UnifiedKernelFault(.noRoom, "the image would be larger than 4 GiB", at: .named(name))
        }
        bytes.replaceSubrange(
            header..<header + Self.sectionHeaderSize, with: [UInt8](repeating: 0, count: Self.sectionHeaderSize))
        bytes.replaceSubrange(header..<header + min(8, sectionName.utf8.count), with: sectionName.utf8.prefix(8))
        bytes.put(size, at: header + 8)
        bytes.put(UInt32(address), at: header + 12)
        bytes.put(UInt32(rawSize), at: header + 16)
        bytes.put(UInt32(offset), at: header + 20)
        bytes.put(isCode ? Self.codeFlags : Self.dataFlags, at: header + 36)
        bytes.put(UInt16(sections.count + 1), at: coff + 6)
        let initialised = bytes.number(UInt32.self, at: optional + 8) ?? 0
        bytes.put(initialised &+ size, at: optional + 8)
        bytes.put(imageSize, at: optional + 56)
        bytes.put(UInt32(0), at: optional + 64)
        bytes += [UInt8](repeating: 0, count: offset - bytes.count)
        bytes += data
        bytes += [UInt8](repeating: 0, count: rawSize - data.count)
    }
}

extension Int {
    func roundedUp(to alignment: Int) -> Int { (self + alignment - 1) / alignment * alignment }
}

extension [UInt8] {
    /// The little-endian number at `offset`, or nil where it is not inside.
    func number<T: FixedWidthInteger>(_ type: T.Type, at offset: Int) -> T? {
        let size = MemoryLayout<T>.size
        guard offset >= 0, offset <= count - size else { return nil }
        return self[offset..<offset + size].reversed().reduce(T.zero) { $0 << 8 | T(truncatingIfNeeded: $1) }
    }

    mutating func put(_ value: some FixedWidthInteger, at offset: Int) {
        for index in 0..<MemoryLayout.size(ofValue: value) {
            self[offset + index] = UInt8(truncatingIfNeeded: value >> (8 * index))
        }
    }
}
