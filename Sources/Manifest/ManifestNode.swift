import Fault
public import JSON
public import SystemPackage

/// A value of a manifest together with where it was written.
public struct ManifestNode: Sendable, Hashable {
    /// What stands there.
    public package(set) var content: Content
    /// Where it was written, or nil for a default.
    public internal(set) var origin: Origin?
    /// What merging does with it.
    var directive: Directive?

    /// A position in a manifest file; both numbers count from 1.
    public struct Origin: Sendable, Hashable, CustomStringConvertible {
        /// The file, as it was named or found through `include`.
        public let file: FilePath
        /// The line.
        public let line: Int
        /// The column.
        public let column: Int

        /// `FILE:LINE:COLUMN`.
        public var description: String { "\(file):\(line):\(column)" }

        var place: Place { .position(path: file.string, line: line, column: column) }
    }

    /// The kinds of values.
    public enum Content: Sendable, Hashable {
        /// No value.
        case null
        /// A word without quotes: only its key's rule says what it is. None is left after validation.
        case plain(String)
        case string(String)
        case integer(Int64)
        case boolean(Bool)
        case list([ManifestNode])
        case mapping([Entry])
    }

    /// A key and its value.
    public struct Entry: Sendable, Hashable {
        /// The key.
        public let key: String
        /// Where the key was written, or nil for a default.
        public let keyOrigin: Origin?
        /// The value.
        public internal(set) var value: ManifestNode
    }

    /// A tag that says how a value joins what was included.
    enum Directive: Sendable, Hashable {
        case replace
        case remove
    }

    /// The value without its places, the same for the same value: keys in order.
    var spelling: String {
        switch content {
        case .list(let elements): return "[" + elements.map(\.spelling).joined(separator: ",") + "]"
        case .mapping(let entries):
            let members = entries.sorted { $0.key < $1.key }.map { "\($0.key): \($0.value.spelling)" }
            return "{" + members.joined(separator: ", ") + "}"
        case .null, .plain, .string, .integer, .boolean: return text.map { "'\($0)'" } ?? "null"
        }
    }

    /// A value that stands in no file.
    package init(default value: JSONValue) {
        origin = nil
        switch value {
        case .null: content = .null
        case .bool(let value): content = .boolean(value)
        case .integer(let value): content = .integer(value)
        case .double(let value): content = .string(String(value))
        case .string(let value): content = .string(value)
        case .array(let elements): content = .list(elements.map(ManifestNode.init(default:)))
        case .object(let members):
            content = .mapping(
                members.sorted { $0.key < $1.key }.map {
                    Entry(key: $0.key, keyOrigin: nil, value: ManifestNode(default: $0.value))
                })
        }
    }

    init(_ content: Content, origin: Origin?, directive: Directive? = nil) {
        self.content = content
        self.origin = origin
        self.directive = directive
    }

    /// The value of `key`, where this is a mapping that has it.
    public subscript(key: String) -> ManifestNode? {
        get { entries.first { $0.key == key }?.value }
        set {
            var entries = entries
            let position = entries.firstIndex { $0.key == key }
            switch (position, newValue) {
            case (let position?, let value?): entries[position].value = value
            case (let position?, nil): entries.remove(at: position)
            case (nil, let value?): entries.append(Entry(key: key, keyOrigin: value.origin, value: value))
            case (nil, nil): return
            }
            content = .mapping(entries)
        }
    }

    /// The entries of a mapping; none where this is something else.
    public var entries: [Entry] {
        if case .mapping(let entries) = content { entries } else { [] }
    }

    /// The elements of a list; none where this is something else.
    public var elements: [ManifestNode] {
        if case .list(let elements) = content { elements } else { [] }
    }

    /// The text of a string or a word without quotes.
    public var text: String? {
        switch content {
        case .plain(let text), .string(let text): text
        case .null, .integer, .boolean, .list, .mapping: nil
        }
    }

    /// The value without its origins.
    public var json: JSONValue {
        switch content {
        case .null: .null
        case .plain(let text), .string(let text): .string(text)
        case .integer(let value): .integer(value)
        case .boolean(let value): .bool(value)
        case .list(let elements): .array(elements.map(\.json))
        case .mapping(let entries): .object(Dictionary(entries.map { ($0.key, $0.value.json) }) { first, _ in first })
        }
    }

    /// The origin of every scalar by the way to it, such as `packages.install[0]`; `default` where no file names it.
    public func origins(below path: String = "") -> [(path: String, origin: String)] {
        switch content {
        case .null, .plain, .string, .integer, .boolean:
            [(path, origin.map(\.description) ?? "default")]
        case .list(let elements):
            elements.enumerated().flatMap { $1.origins(below: "\(path)[\($0)]") }
        case .mapping(let entries):
            entries.flatMap { $0.value.origins(below: path.isEmpty ? $0.key : "\(path).\($0.key)") }
        }
    }

    /// What a person calls this kind of value.
    var kind: String {
        switch content {
        case .null: "nothing"
        case .plain(let text):
            if text == "true" || text == "false" {
                "a boolean"
            } else if Int64(text) != nil {
                "an integer"
            } else {
                "a string"
            }
        case .string: "a string"
        case .integer: "an integer"
        case .boolean: "a boolean"
        case .list: "a list"
        case .mapping: "a mapping"
        }
    }
}
