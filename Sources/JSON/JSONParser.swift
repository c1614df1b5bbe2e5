public import Fault

extension JSONValue {
    /// Reads one JSON document that fills `text`.
    ///
    /// Input from a network passes through here, so that everything is bounded: nesting at `depthLimit` levels, numbers
    /// at what `Int64` and `Double` hold, and an object that names a key twice is refused, since two readers could then
    /// see two documents under one signature.
    ///
    /// - Parameters:
    ///   - text: the document's bytes, in UTF-8.
    ///   - source: the file or address named in errors.
    public init(parsing text: [UInt8], source: String, depthLimit: Int = 64) throws(JSONFault) {
        var parser = JSONParser(text: text, source: source, depthLimit: depthLimit)
        self = try parser.parseDocument()
    }

    /// Reads one JSON document that fills `text`.
    public init(parsing text: String, source: String) throws(JSONFault) {
        try self.init(parsing: Array(text.utf8), source: source)
    }
}

private struct JSONParser {
    let text: [UInt8]
    let source: String
    let depthLimit: Int
    var index = 0

    mutating func parseDocument() throws(JSONFault) -> JSONValue {
        let value = try parseValue(depth: 0)
        skipSpace()
        guard index == text.count else { throw malformed("more text after the end of the document") }
        return value
    }

    func malformed(_ what: String) -> JSONFault {
        var line = 1
        var column = 1
        for byte in text.prefix(index) {
            if byte == UInt8(ascii: "\n") {
                line += 1
                column = 1
            } else {
                column += 1
            }
        }
        return JSONFault(.malformed, "not valid JSON: \(what)", at: .position(path: source, line: line, column: column))
    }

    var next: UInt8? { index < text.count ? text[index] : nil }

    mutating func skipSpace() {
        while let byte = next, byte == 0x20 || byte == 0x0A || byte == 0x0D || byte == 0x09 { index += 1 }
    }

    mutating func take(_ byte: UInt8) -> Bool {
        guard next == byte else { return false }
        index += 1
        return true
    }

    mutating func parseValue(depth: Int) throws(JSONFault) -> JSONValue {
        guard depth < depthLimit else { throw malformed("nested more than \(depthLimit) levels deep") }
        skipSpace()
        guard let byte = next else { throw malformed("the document ends where a value is expected") }
        switch byte {
        case UInt8(ascii: "{"): return try parseObject(depth: depth)
        case UInt8(ascii: "["): return try parseArray(depth: depth)
        case UInt8(ascii: "\""): return .string(try parseString())
        case UInt8(ascii: "t"): return try parseWord("true", as: .bool(true))
        case UInt8(ascii: "f"): return try parseWord("false", as: .bool(false))
        case UInt8(ascii: "n"): return try parseWord("null", as: .null)
        case UInt8(ascii: "-"), UInt8(ascii: "0")...UInt8(ascii: "9"): return try parseNumber()
        default: throw malformed("a value is expected here")
        }
    }

    mutating func parseWord(_ word: String, as value: JSONValue) throws(JSONFault) -> JSONValue {
        guard text[index...].starts(with: word.utf8) else { throw malformed("a value is expected here") }
        index += word.utf8.count
        return value
    }

    mutating func parseObject(depth: Int) throws(JSONFault) -> JSONValue {
        index += 1
        var members: [String: JSONValue] = [:]
        skipSpace()
        if take(UInt8(ascii: "}")) { return .object(members) }
        while true {
            skipSpace()
            guard next == UInt8(ascii: "\"") else { throw malformed("a key in quotes is expected here") }
            let key = try parseString()
            skipSpace()
            guard take(UInt8(ascii: ":")) else { throw malformed("':' is expected after the key '\(key.excerpt())'") }
            guard members.updateValue(try parseValue(depth: depth + 1), forKey: key) == nil else {
                throw malformed("the key '\(key.excerpt())' stands twice in one object")
            }
            skipSpace()
            if take(UInt8(ascii: "}")) { return .object(members) }
            guard take(UInt8(ascii: ",")) else { throw malformed("',' or '}' is expected here") }
        }
    }

    mutating func parseArray(depth: Int) throws(JSONFault) -> JSONValue {
        index += 1
        var elements: [JSONValue] = []
        skipSpace()
        if take(UInt8(ascii: "]")) { return .array(elements) }
        while true {
            elements.append(try parseValue(depth: depth + 1))
            skipSpace()
            if take(UInt8(ascii: "]")) { return .array(elements) }
            guard take(UInt8(ascii: ",")) else { throw malformed("',' or ']' is expected here") }
        }
    }

    mutating func parseString() throws(JSONFault) -> String {
        index += 1
        var bytes: [UInt8] = []
        while let byte = next {
            index += 1
            switch byte {
            case UInt8(ascii: "\""):
                guard let string = String(validating: bytes, as: UTF8.self) else {
                    throw malformed("a string is not valid UTF-8")
                }
                return string
            case UInt8(ascii: "\\"):
                try parseEscape(into: &bytes)
            case 0..<0x20:
                throw malformed("a control character must be written as an escape inside a string")
            default:
                bytes.append(byte)
            }
        }
        throw malformed("the document ends inside a string")
    }

    mutating func parseEscape(into bytes: inout [UInt8]) throws(JSONFault) {
        guard let escape = next else { throw malformed("the document ends inside a string") }
        index += 1
        switch escape {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): bytes.append(escape)
        case UInt8(ascii: "b"): bytes.append(0x08)
        case UInt8(ascii: "f"): bytes.append(0x0C)
        case UInt8(ascii: "n"): bytes.append(0x0A)
        case UInt8(ascii: "r"): bytes.append(0x0D)
        case UInt8(ascii: "t"): bytes.append(0x09)
        case UInt8(ascii: "u"):
            var code = UInt32(try parseHexadecimal())
            if 0xD800..<0xDC00 ~= code {
                guard take(UInt8(ascii: "\\")), take(UInt8(ascii: "u")) else {
                    throw malformed("a high surrogate stands without its low one")
                }
                let low = UInt32(try parseHexadecimal())
                guard 0xDC00..<0xE000 ~= low else { throw malformed("a high surrogate stands without its low one") }
                code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00)
            }
            guard let scalar = Unicode.Scalar(code) else { throw malformed("a low surrogate stands alone") }
            bytes.append(contentsOf: String(Character(scalar)).utf8)
        default: throw malformed("an unknown escape in a string")
        }
    }

    mutating func parseHexadecimal() throws(JSONFault) -> UInt16 {
        var value: UInt16 = 0
        for _ in 0..<4 {
            guard let byte = next, let digit = Character(Unicode.Scalar(byte)).hexDigitValue else {
                throw malformed("four hexadecimal digits are expected after '\\u'")
            }
            index += 1
            value = value << 4 | UInt16(digit)
        }
        return value
    }

    mutating func parseNumber() throws(JSONFault) -> JSONValue {
        let start = index
        _ = take(UInt8(ascii: "-"))
        let integerStart = index
        skipDigits()
        let integerLength = index - integerStart
        guard integerLength > 0, integerLength == 1 || text[integerStart] != UInt8(ascii: "0") else {
            throw malformed("a number has no digits or a leading zero")
        }
        var isInteger = true
        if take(UInt8(ascii: ".")) {
            isInteger = false
            guard skipDigits() else { throw malformed("digits are expected after the decimal point") }
        }
        if next == UInt8(ascii: "e") || next == UInt8(ascii: "E") {
            isInteger = false
            index += 1
            if !take(UInt8(ascii: "+")) { _ = take(UInt8(ascii: "-")) }
            guard skipDigits() else { throw malformed("digits are expected in the exponent") }
        }
        let digits = String(decoding: text[start..<index], as: UTF8.self)
        if isInteger {
            guard let value = Int64(digits) else { throw malformed("the integer \(digits.excerpt()) is out of range") }
            return .integer(value)
        }
        guard let value = Double(digits), value.isFinite else {
            throw malformed("the number \(digits.excerpt()) is out of range")
        }
        return .double(value)
    }

    @discardableResult
    mutating func skipDigits() -> Bool {
        let start = index
        while let byte = next, UInt8(ascii: "0")...UInt8(ascii: "9") ~= byte { index += 1 }
        return index > start
    }
}
