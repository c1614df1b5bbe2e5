public import Fault
public import JSON

/// An interface as its text in Varlink's definition language has it (<https://varlink.org/Interface-Definition>), for checking what is
/// called and answered against it.
public struct InterfaceDefinition: Sendable, Hashable {
    /// What a value has to be.
    public indirect enum Shape: Sendable, Hashable {
        case bool, integer, number, text, object
        /// A type of the interface.
        case named(String)
        case array(Shape)
        /// An object with any members, all of one shape.
        case dictionary(Shape)
        case optional(Shape)
        case structure([Field])
        case choice([String])
    }

    /// A member of an object.
    public struct Field: Sendable, Hashable {
        /// Its name.
        public let name: String
        /// What it has to be.
        public let shape: Shape
    }

    /// What a method takes and gives.
    public struct Method: Sendable, Hashable {
        /// Its parameters.
        public let parameters: [Field]
        /// Its answer.
        public let answer: [Field]
    }

    /// The interface's name.
    public private(set) var name = ""
    /// Its types.
    public private(set) var types: [String: Shape] = [:]
    /// Its methods.
    public private(set) var methods: [String: Method] = [:]
    /// Its errors and their parameters.
    public private(set) var errors: [String: [Field]] = [:]

    /// Reads `text`.
    ///
    /// - Throws: `malformed` where it is no interface, defines a name twice, or names a type that it does not have.
    public init(parsing text: String) throws(ControlFault) {
        var reader = Reader(text)
        try reader.expect("interface")
        name = try reader.word()
        var members: Set<String> = []
        while let keyword = reader.next() {
            let member = try reader.word()
            // systemd's reader refuses a type and a method of one name.
            guard members.insert(member).inserted else { throw Reader.fault("'\(member)' is defined twice") }
            switch keyword {
            case "type": types[member] = try reader.shape()
            case "error": errors[member] = try reader.fields()
            case "method":
                let parameters = try reader.fields()
                try reader.expect("->")
                methods[member] = Method(parameters: parameters, answer: try reader.fields())
            default: throw Reader.fault("'\(keyword)' where a type, a method or an error is expected")
            }
        }
        let fields = errors.values.flatMap { $0 } + methods.values.flatMap { $0.parameters + $0.answer }
        for shape in Array(types.values) + fields.map(\.shape) { try requireKnown(shape) }
    }

    private func requireKnown(_ shape: Shape) throws(ControlFault) {
        switch shape {
        case .bool, .integer, .number, .text, .object, .choice: break
        case .named(let name):
            guard types[name] != nil else { throw Reader.fault("there is no type '\(name)'") }
        case .array(let inner), .dictionary(let inner), .optional(let inner): try requireKnown(inner)
        case .structure(let fields): for field in fields { try requireKnown(field.shape) }
        }
    }

    // MARK: Checking

    /// The name of the first parameter of a call that `fields` do not have or that has another shape; nil where all are right.
    func wrongParameter(_ parameters: JSONValue, of fields: [Field]) -> String? {
        guard case .object(let members) = parameters else { return "" }
        if let stranger = members.keys.sorted().first(where: { key in !fields.contains { $0.name == key } }) {
            return stranger
        }
        return fields.first { mismatch(members[$0.name] ?? .null, $0.shape, at: $0.name) != nil }?.name
    }

    /// Why `value` is not an object of just these `fields`; nil where it is one.
    public func mismatch(_ value: JSONValue, of fields: [Field], at path: String = "") -> String? {
        guard case .object(let members) = value else { return "\(path): no object" }
        let prefix = path.isEmpty ? "" : path + "."
        if let stranger = members.keys.sorted().first(where: { key in !fields.contains { $0.name == key } }) {
            return "\(prefix)\(stranger): not in the definition"
        }
        return fields.lazy.compactMap { mismatch(members[$0.name] ?? .null, $0.shape, at: prefix + $0.name) }.first
    }

    private func mismatch(_ value: JSONValue, _ shape: Shape, at path: String) -> String? {
        switch (shape, value) {
        case (.bool, .bool), (.integer, .integer), (.number, .integer), (.number, .double), (.text, .string),
            (.object, .object), (.optional, .null):
            return nil
        case (.optional(let inner), _): return mismatch(value, inner, at: path)
        case (.named(let name), _):
            return types[name].map { mismatch(value, $0, at: path) } ?? "\(path): of an unknown type"
        case (.array(let inner), .array(let elements)):
            return elements.enumerated().lazy.compactMap { mismatch($1, inner, at: "\(path)[\($0)]") }.first
        case (.dictionary(let inner), .object(let members)):
            return members.lazy.compactMap { mismatch($1, inner, at: "\(path).\($0)") }.first
        case (.structure(let fields), _): return mismatch(value, of: fields, at: path)
        case (.choice(let names), .string(let text)):
            return names.contains(text) ? nil : "\(path): '\(text.excerpt())' is none of \(names)"
        default: return "\(path): of another type"
        }
    }
}

/// The words and signs of a definition.
private struct Reader {
    private static let depthLimit = 16
    private var tokens: [Substring]
    private var depth = 0

    init(_ text: String) {
        tokens = []
        for line in text.split(separator: "\n") {
            var rest = line.prefix { $0 != "#" }
            while let first = rest.first {
                var token = rest.prefix { $0.isLetter || $0.isNumber || $0 == "_" || $0 == "." }
                if token.isEmpty { token = rest.prefix(rest.hasPrefix("->") ? 2 : 1) }
                if !first.isWhitespace { tokens.append(token) }
                rest = rest.dropFirst(token.count)
            }
        }
        tokens.reverse()
    }

    static func fault(_ what: String) -> ControlFault { ControlFault(.malformed, "no Varlink interface: \(what)") }

    mutating func next() -> String? { tokens.popLast().map(String.init) }

    mutating func word() throws(ControlFault) -> String {
        guard let token = next(), token.first?.isLetter == true else { throw Self.fault("a name is missing") }
        return token
    }

    mutating func expect(_ token: String) throws(ControlFault) {
        guard let found = next() else { throw Self.fault("it ends where '\(token)' is expected") }
        guard found == token else { throw Self.fault("'\(found)' where '\(token)' is expected") }
    }

    private mutating func takes(_ token: Substring) -> Bool {
        guard tokens.last == token else { return false }
        tokens.removeLast()
        return true
    }

    mutating func fields() throws(ControlFault) -> [InterfaceDefinition.Field] {
        guard case .structure(let fields) = try shape() else { throw Self.fault("members are missing") }
        return fields
    }

    mutating func shape() throws(ControlFault) -> InterfaceDefinition.Shape {
        depth += 1
        defer { depth -= 1 }
        guard depth <= Self.depthLimit else { throw Self.fault("types within types") }
        if takes("?") { return .optional(try shape()) }
        if takes("[") {
            if takes("]") { return .array(try shape()) }
            try expect("string")
            try expect("]")
            return .dictionary(try shape())
        }
        if takes("(") { return try members() }
        switch try word() {
        case "bool": return .bool
        case "int": return .integer
        case "float": return .number
        case "string": return .text
        case "object": return .object
        case let name: return .named(name)
        }
    }

    /// What follows an opening parenthesis: members with types, or the names of a choice.
    private mutating func members() throws(ControlFault) -> InterfaceDefinition.Shape {
        var fields: [InterfaceDefinition.Field] = []
        var names: [String] = []
        while !takes(")") {
            let name = try word()
            if takes(":") {
                fields.append(InterfaceDefinition.Field(name: name, shape: try shape()))
            } else {
                names.append(name)
            }
            guard takes(",") || tokens.last == ")" else { throw Self.fault("',' or ')' is missing after '\(name)'") }
        }
        guard names.isEmpty || fields.isEmpty else { throw Self.fault("'\(names[0])' has no type") }
        return names.isEmpty ? .structure(fields) : .choice(names)
    }
}
