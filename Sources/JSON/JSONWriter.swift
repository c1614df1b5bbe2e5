public import Fault

extension JSONValue {
    /// The OLPC canonical form that TUF signs (TUF 1.0, section 4.2): keys sorted by code point, no space, only `"` and
    /// `\` escaped.
    ///
    /// - Throws: `notCanonical` for a floating-point number, which has no canonical spelling.
    public func canonicalBytes() throws(JSONFault) -> [UInt8] {
        var bytes: [UInt8] = []
        try appendCanonical(to: &bytes)
        return bytes
    }

    private func appendCanonical(to bytes: inout [UInt8]) throws(JSONFault) {
        switch self {
        case .null: bytes.append(contentsOf: "null".utf8)
        case .bool(let value): bytes.append(contentsOf: (value ? "true" : "false").utf8)
        case .integer(let value): bytes.append(contentsOf: String(value).utf8)
        case .double(let value):
            throw JSONFault(.notCanonical, "the floating-point number \(value) has no canonical JSON form")
        case .string(let value): Self.appendCanonical(string: value, to: &bytes)
        case .array(let elements):
            bytes.append(UInt8(ascii: "["))
            for (position, element) in elements.enumerated() {
                if position > 0 { bytes.append(UInt8(ascii: ",")) }
                try element.appendCanonical(to: &bytes)
            }
            bytes.append(UInt8(ascii: "]"))
        case .object(let members):
            bytes.append(UInt8(ascii: "{"))
            for (position, member) in Self.sorted(members).enumerated() {
                if position > 0 { bytes.append(UInt8(ascii: ",")) }
                Self.appendCanonical(string: member.key, to: &bytes)
                bytes.append(UInt8(ascii: ":"))
                try member.value.appendCanonical(to: &bytes)
            }
            bytes.append(UInt8(ascii: "}"))
        }
    }

    private static func appendCanonical(string: String, to bytes: inout [UInt8]) {
        bytes.append(UInt8(ascii: "\""))
        for byte in string.utf8 {
            if byte == UInt8(ascii: "\"") || byte == UInt8(ascii: "\\") { bytes.append(UInt8(ascii: "\\")) }
            bytes.append(byte)
        }
        bytes.append(UInt8(ascii: "\""))
    }

    /// Keys in the order of their code points, which UTF-8 bytes keep. `String`'s own order is another one.
    private static func sorted(_ members: [String: JSONValue]) -> [(key: String, value: JSONValue)] {
        members.sorted { $0.key.utf8.lexicographicallyPrecedes($1.key.utf8) }
    }

    /// RFC 8259 text on one line with sorted keys and no space: equal values give equal bytes.
    public var compactText: String {
        var text = ""
        append(to: &text, indent: nil, inlineDepth: .max)
        return text
    }

    /// RFC 8259 text with sorted keys, two spaces a level, and a newline at the end.
    ///
    /// - Parameter inlineDepth: objects and arrays at this depth and below stand on one line each, so that a table in a
    ///   file is one row a line and its diffs read well.
    public func text(inlineDepth: Int = .max) -> String {
        var text = ""
        append(to: &text, indent: 0, inlineDepth: inlineDepth)
        return text + "\n"
    }

    private func append(to text: inout String, indent: Int?, inlineDepth: Int) {
        switch self {
        case .null: text += "null"
        case .bool(let value): text += value ? "true" : "false"
        case .integer(let value): text += String(value)
        case .double(let value): text += value.isFinite ? String(value) : "null"
        case .string(let value): Self.append(string: value, to: &text)
        case .array(let elements):
            Self.append(
                elements.map { (nil, $0) }, between: "[", and: "]", to: &text, indent: indent, inlineDepth: inlineDepth)
        case .object(let members):
            Self.append(
                Self.sorted(members).map { ($0.key, $0.value) }, between: "{", and: "}", to: &text, indent: indent,
                inlineDepth: inlineDepth)
        }
    }

    private static func append(
        _ children: [(key: String?, value: JSONValue)], between opening: String, and closing: String,
        to text: inout String, indent: Int?, inlineDepth: Int
    ) {
        let depth = indent.flatMap { $0 < inlineDepth ? $0 : nil }
        text += opening
        for (position, child) in children.enumerated() {
            if position > 0 { text += depth == nil && indent != nil ? ", " : "," }
            if let depth { text += "\n" + String(repeating: "  ", count: depth + 1) }
            if let key = child.key {
                append(string: key, to: &text)
                text += indent == nil ? ":" : ": "
            }
            child.value.append(to: &text, indent: indent.map { $0 + 1 }, inlineDepth: inlineDepth)
        }
        if let depth, !children.isEmpty { text += "\n" + String(repeating: "  ", count: depth) }
        text += closing
    }

    private static func append(string: String, to text: inout String) {
        text += "\""
        for scalar in string.unicodeScalars {
            switch scalar {
            case "\"": text += "\\\""
            case "\\": text += "\\\\"
            case "\n": text += "\\n"
            case "\r": text += "\\r"
            case "\t": text += "\\t"
            case "\u{0}"..<"\u{20}", "\u{7F}":
                let digits = String(scalar.value, radix: 16)
                text += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
            default: text.unicodeScalars.append(scalar)
            }
        }
        text += "\""
    }
}
