public import JSON

extension Manifest {
    /// The JSON Schema (2020-12) of a manifest, for editors.
    public static var jsonSchema: JSONValue {
        var members: [String: JSONValue] = [
            "$schema": "https://json-schema.org/draft/2020-12/schema", "title": "Ballast manifest",
        ]
        if case .object(let root) = Schema.manifest.jsonSchema { members.merge(root) { first, _ in first } }
        return .object(members)
    }
}

extension Schema {
    fileprivate var jsonSchema: JSONValue {
        var members: [String: JSONValue] = [:]
        switch kind {
        case .mapping(let keys, let alternatives):
            members["type"] = "object"
            members["additionalProperties"] = false
            members["properties"] = .object(
                Dictionary(keys.map { ($0.name, $0.schema.jsonSchema) }) { first, _ in first })
            // The root's required keys may come from an included manifest.
            let required = keys.filter { $0.isRequired && $0.name != "product" }.map { JSONValue.string($0.name) }
            if !required.isEmpty { members["required"] = .array(required) }
            if !alternatives.isEmpty {
                members["oneOf"] = .array(alternatives.map { ["required": [.string($0)]] })
            }
        case .list(let element, let joining):
            members["type"] = "array"
            if case .keyed = joining {
                // After `!remove` the elements are names.
                members["items"] = ["anyOf": [element.jsonSchema, ["type": "string"]]]
            } else {
                members["items"] = element.jsonSchema
            }
            if joining == .command {
                members["minItems"] = 1
                members["prefixItems"] = [["type": "string", "pattern": .string("^(?:\(Schema.program))$")]]
            }
        case .string(_, let pattern):
            members["type"] = "string"
            if let pattern { members["pattern"] = .string("^(?:\(pattern))$") }
        case .word(let words): members["enum"] = .array(words.map(JSONValue.string))
        case .integer(let range, let values):
            members["type"] = "integer"
            if values.isEmpty {
                members["minimum"] = .integer(range.lowerBound)
                members["maximum"] = .integer(range.upperBound)
            } else {
                members["enum"] = .array(values.map(JSONValue.integer))
            }
        case .boolean: members["type"] = "boolean"
        case .size:
            members["type"] = "string"
            members["pattern"] = "^[0-9]+ *(KiB|MiB|GiB|TiB)$"
        case .duration:
            members["type"] = "string"
            members["pattern"] = "^([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?$"
        case .localPath:
            members["type"] = "string"
            members["minLength"] = 1
        }
        if !doc.isEmpty { members["description"] = .string(doc) }
        if case .value(let value) = defaultValue { members["default"] = value }
        return .object(members)
    }
}
