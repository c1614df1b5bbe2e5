public import Fault

/// A JSON document (RFC 8259) in memory.
///
/// Numbers keep apart what signing needs apart: an integer has one canonical spelling, a floating-point number has none.
public enum JSONValue: Sendable, Hashable {
    case null
    case bool(Bool)
    case integer(Int64)
    case double(Double)
    case string(String)
    case array([JSONValue])
    case object([String: JSONValue])

    /// The value of `key`, if this is an object that has it.
    public subscript(key: String) -> JSONValue? {
        if case .object(let members) = self { members[key] } else { nil }
    }

    /// What a person calls this kind of value in an error message.
    public var kind: String {
        switch self {
        case .null: "null"
        case .bool: "a boolean"
        case .integer: "an integer"
        case .double: "a number"
        case .string: "a string"
        case .array: "an array"
        case .object: "an object"
        }
    }
}

extension JSONValue: ExpressibleByStringLiteral, ExpressibleByIntegerLiteral, ExpressibleByBooleanLiteral,
    ExpressibleByArrayLiteral, ExpressibleByDictionaryLiteral
{
    /// The literal as a string.
    public init(stringLiteral value: String) { self = .string(value) }
    /// The literal as an integer.
    public init(integerLiteral value: Int64) { self = .integer(value) }
    /// The literal as a boolean.
    public init(booleanLiteral value: Bool) { self = .bool(value) }
    /// The literal as an array.
    public init(arrayLiteral elements: JSONValue...) { self = .array(elements) }
    /// The literal as an object.
    public init(dictionaryLiteral elements: (String, JSONValue)...) {
        self = .object(Dictionary(elements) { _, last in last })
    }
}

/// Why a text is no JSON document, or why a document is not the one that was expected.
public enum JSONFaultCode: String, FaultCode {
    /// The text breaks the grammar of RFC 8259, or a limit that was set for it.
    case malformed
    /// The document is well-formed, but not of the expected shape.
    case unexpected
    /// A value has no canonical form (a floating-point number).
    case notCanonical
}

/// A failure of reading or writing JSON.
public typealias JSONFault = Fault<JSONFaultCode>
