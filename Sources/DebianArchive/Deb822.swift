public import Fault

/// Reads the paragraphs of a control file (Debian policy, section 5.1; deb822(5)), one at a time.
///
/// Indices have tens of megabytes, so that a paragraph is positions into the one text, and only what is asked for becomes a
/// `String`.
public struct Deb822Parser {
    /// More than any paragraph of an archive has.
    static let fieldLimit = 256

    private let text: [UInt8]
    private let source: String
    private let allowsComments: Bool
    private var position = 0
    private var line = 0
    private var paragraphStart = 0
    /// Whether the end of the current paragraph has been read.
    private var hasEnded = false

    /// A parser of `text`, which errors name `source`.
    ///
    /// - Parameter allowsComments: whether lines that begin with `#` are left out, as in files that people write.
    public init(_ text: [UInt8], source: String, allowsComments: Bool = false) {
        self.text = text
        self.source = source
        self.allowsComments = allowsComments
    }

    /// `text` with Unix line ends.
    static func withoutCarriageReturns(_ text: [UInt8]) -> [UInt8] {
        let (cr, lf) = (UInt8(ascii: "\r"), UInt8(ascii: "\n"))
        guard text.contains(cr) else { return text }
        return text.indices.filter { text[$0] != cr || $0 + 1 == text.count || text[$0 + 1] != lf }.map { text[$0] }
    }

    /// The next paragraph, or nil at the end.
    public mutating func next() throws(DebianArchiveFault) -> Deb822Paragraph? {
        var fields: [Deb822Paragraph.Field] = []
        var firstLine = 0
        var hasBegun = false
        hasEnded = false
        while position < text.count {
            let start = position
            let end = endOfLine(from: start)
            position = min(end + 1, text.count)
            line += 1
            if isBlank(start..<end) {
                if fields.isEmpty { continue }
                hasEnded = true
                break
            }
            if !hasBegun { paragraphStart = start }
            hasBegun = true
            if allowsComments, text[start] == UInt8(ascii: "#") { continue }
            if text[start] == 0x20 || text[start] == 0x09 {
                guard let last = fields.indices.last else {
                    throw malformed("a continuation line stands before the first field")
                }
                fields[last].value = fields[last].value.lowerBound..<end
                continue
            }
            guard let colon = colon(in: start..<end) else { throw malformed("expected 'Field: value'") }
            guard fields.count < Self.fieldLimit else { throw malformed("more than \(Self.fieldLimit) fields") }
            if fields.isEmpty { firstLine = line }
            fields.append(.init(name: start..<colon, value: (colon + 1)..<end))
        }
        guard !fields.isEmpty else { return nil }
        let paragraph = Deb822Paragraph(text: text, fields: fields, line: firstLine, source: source)
        try paragraph.refuseRepetition()
        return paragraph
    }

    /// Goes on after the paragraph that a fault ended, and returns the name of its package where it has one.
    mutating func skipParagraph() -> String {
        while !hasEnded, position < text.count {
            let end = endOfLine(from: position)
            hasEnded = isBlank(position..<end)
            position = min(end + 1, text.count)
            line += 1
        }
        let field = Array("\nPackage: ".utf8)
        let paragraph = [0x0A] + text[paragraphStart..<position]
        for index in paragraph.indices where paragraph[index...].starts(with: field) {
            return String(decoding: paragraph[(index + field.count)...].prefix { $0 != 0x0A }, as: UTF8.self)
        }
        return ""
    }

    private func malformed(_ what: String) -> DebianArchiveFault {
        DebianArchiveFault(.malformed, what, at: .position(path: source, line: line, column: 1))
    }

    private func endOfLine(from start: Int) -> Int {
        text[start...].firstIndex(of: UInt8(ascii: "\n")) ?? text.count
    }

    private func isBlank(_ range: Range<Int>) -> Bool {
        text[range].allSatisfy { $0 == 0x20 || $0 == 0x09 || $0 == 0x0D }
    }

    /// The end of a field's name: printable ASCII without space and colon.
    private func colon(in range: Range<Int>) -> Int? {
        for index in range {
            switch text[index] {
            case UInt8(ascii: ":"): return index > range.lowerBound ? index : nil
            case 0x21...0x7E: continue
            default: return nil
            }
        }
        return nil
    }
}

/// One paragraph: fields with their values.
public struct Deb822Paragraph: Sendable {
    struct Field {
        let name: Range<Int>
        var value: Range<Int>
    }

    private let text: [UInt8]
    private let fields: [Field]
    /// The line it begins at, counted from 1.
    public let line: Int
    private let source: String

    init(text: [UInt8], fields: [Field], line: Int, source: String) {
        self.text = text
        self.fields = fields
        self.line = line
        self.source = source
    }

    /// The value of `name`, whose case does not matter, without the space around it; lines are separated by newlines.
    public subscript(name: StaticString) -> String? {
        guard let field = fields.first(where: { isNamed($0, name) }) else { return nil }
        var value = text[field.value]
        while let byte = value.first, Self.isSpace(byte) { value.removeFirst() }
        while let byte = value.last, Self.isSpace(byte) { value.removeLast() }
        return String(decoding: value, as: UTF8.self)
    }

    /// The value of `name`, which must be there.
    public func required(_ name: StaticString) throws(DebianArchiveFault) -> String {
        guard let value = self[name], !value.isEmpty else { throw malformed("the field '\(name)' is missing") }
        return value
    }

    /// An error about this paragraph.
    public func malformed(_ what: String) -> DebianArchiveFault {
        DebianArchiveFault(.malformed, what, at: .position(path: source, line: line, column: 1))
    }

    /// Two readers of a file that names a field twice could take two different values.
    func refuseRepetition() throws(DebianArchiveFault) {
        for (index, field) in fields.enumerated() {
            for other in fields[..<index] where other.name.count == field.name.count {
                let isSame = zip(text[other.name], text[field.name]).allSatisfy { $0 | 0x20 == $1 | 0x20 }
                guard !isSame else {
                    throw malformed("the field '\(String(decoding: text[field.name], as: UTF8.self))' stands twice")
                }
            }
        }
    }

    private static func isSpace(_ byte: UInt8) -> Bool { byte == 0x20 || (0x09...0x0D).contains(byte) }

    private func isNamed(_ field: Field, _ name: StaticString) -> Bool {
        guard field.name.count == name.utf8CodeUnitCount else { return false }
        return name.withUTF8Buffer { letters in
            zip(letters, text[field.name]).allSatisfy { $0 == $1 || ($0 | 0x20 == $1 | 0x20 && Self.isLetter($0)) }
        }
    }

    private static func isLetter(_ byte: UInt8) -> Bool {
        (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte | 0x20)
    }
}
