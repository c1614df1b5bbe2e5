public import Fault

/// A value inside a document together with the way to it, so that a wrong document is answered with
/// `FILE: signed.expires: expected a string, found an integer`.
public struct JSONCursor: Sendable {
    /// The value the cursor stands on.
    public let value: JSONValue
    /// The way from the document's root, such as `signed.keys[2]`; empty at the root.
    public let path: String
    /// The file or address the document came from.
    public let source: String

    /// A cursor on the root of the document that came from `source`.
    public init(_ value: JSONValue, source: String) {
        self.init(value: value, path: "", source: source)
    }

    private init(value: JSONValue, path: String, source: String) {
        self.value = value
        self.path = path
        self.source = source
    }

    /// The way to a member: bounded, as a key of a hostile document is as long as that itself, and each of its members would
    /// have it once more.
    private func way(to key: String) -> String {
        let key = key.excerpt()
        guard !path.isEmpty else { return key }
        return path.utf8.count > 1000 ? "….\(key)" : "\(path).\(key)"
    }

    /// Parses `text` and stands on its root.
    public init(parsing text: [UInt8], source: String) throws(JSONFault) {
        self.init(try JSONValue(parsing: text, source: source), source: source)
    }

    /// An error about this very value.
    public func unexpected(_ what: String, remedy: String? = nil) -> JSONFault {
        JSONFault(.unexpected, (path.isEmpty ? "" : "\(path): ") + what, at: .path(source), remedy: remedy)
    }

    private func expected(_ what: String) -> JSONFault { unexpected("expected \(what), found \(value.kind)") }

    /// The member `key`, which must be there.
    public func field(_ key: String) throws(JSONFault) -> JSONCursor {
        guard let member = try optional(key) else { throw unexpected("the member '\(key)' is missing") }
        return member
    }

    /// The member `key`, or nil where it is missing or null.
    public func optional(_ key: String) throws(JSONFault) -> JSONCursor? {
        guard case .object(let members) = value else { throw expected("an object") }
        guard let member = members[key], member != .null else { return nil }
        return JSONCursor(value: member, path: way(to: key), source: source)
    }

    /// The elements of an array, at most `limit` of them.
    public func elements(atMost limit: Int = 1_000_000) throws(JSONFault) -> [JSONCursor] {
        guard case .array(let elements) = value else { throw expected("an array") }
        guard elements.count <= limit else { throw unexpected("more than \(limit) elements") }
        return elements.enumerated().map { JSONCursor(value: $1, path: "\(path)[\($0)]", source: source) }
    }

    /// The members of an object, sorted by key.
    public func members() throws(JSONFault) -> [(key: String, value: JSONCursor)] {
        guard case .object(let members) = value else { throw expected("an object") }
        return members.sorted { $0.key.utf8.lexicographicallyPrecedes($1.key.utf8) }.map {
            ($0.key, JSONCursor(value: $0.value, path: way(to: $0.key), source: source))
        }
    }

    /// The value as a string.
    public func string() throws(JSONFault) -> String {
        guard case .string(let string) = value else { throw expected("a string") }
        return string
    }

    /// The value as a boolean.
    public func bool() throws(JSONFault) -> Bool {
        guard case .bool(let bool) = value else { throw expected("a boolean") }
        return bool
    }

    /// The value as an integer inside `range`.
    public func integer(in range: ClosedRange<Int> = 0...Int.max) throws(JSONFault) -> Int {
        guard case .integer(let integer) = value else { throw expected("an integer") }
        guard let integer = Int(exactly: integer), range.contains(integer) else {
            throw unexpected("\(integer) is outside \(range.lowerBound)...\(range.upperBound)")
        }
        return integer
    }

    /// Refuses members that no reader knows, so that a misspelt one is not silently without effect.
    public func refuseMembers(except known: Set<String>) throws(JSONFault) {
        guard let stranger = try members().first(where: { !known.contains($0.key) }) else { return }
        throw unexpected("unknown member '\(stranger.key.excerpt())'")
    }
}
