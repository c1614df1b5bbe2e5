import JSON

extension ManifestNode {
    /// The tree as YAML that a manifest could hold, with every value's origin as a comment behind it.
    public var annotatedText: String {
        var lines: [(text: String, note: String)] = []
        for entry in entries { Self.append(entry.value, after: "\(entry.key):", indent: 0, to: &lines) }
        let column = min(lines.map(\.text.count).max() ?? 0, 60)
        return lines.map { line in
            guard !line.note.isEmpty else { return line.text + "\n" }
            return line.text + String(repeating: " ", count: max(column - line.text.count, 0)) + "  # \(line.note)\n"
        }.joined()
    }

    private static func append(
        _ node: ManifestNode, after head: String, indent: Int, to lines: inout [(text: String, note: String)]
    ) {
        let space = String(repeating: " ", count: indent)
        let note = node.origin.map { "\($0.file):\($0.line)" } ?? "default"
        switch node.content {
        case .list(let elements) where elements.isEmpty: lines.append((space + head + " []", note))
        case .mapping(let entries) where entries.isEmpty: lines.append((space + head + " {}", note))
        case .list(let elements):
            lines.append((space + head, ""))
            for element in elements { append(element, after: "-", indent: indent + 2, to: &lines) }
        case .mapping(let entries):
            // The first key of a list's element stands behind the dash.
            var rest = entries[...]
            if head == "-", let first = rest.popFirst() {
                append(first.value, after: "- \(first.key):", indent: indent, to: &lines)
            } else {
                lines.append((space + head, ""))
            }
            for entry in rest { append(entry.value, after: "\(entry.key):", indent: indent + 2, to: &lines) }
        case .null, .plain, .string, .integer, .boolean:
            lines.append(("\(space)\(head) \(node.scalarText)", note))
        }
    }

    /// The value on one line, quoted where YAML would read it as something else.
    private var scalarText: String {
        switch content {
        case .null, .list, .mapping: return "null"
        case .integer(let value): return String(value)
        case .boolean(let value): return String(value)
        case .plain(let text), .string(let text):
            let words: Set = ["true", "false", "yes", "no", "on", "off", "null", "~"]
            let isPlain =
                !words.contains(text.lowercased()) && Double(text) == nil
                && SchemaValidator.matches(
                    text, "[A-Za-z/_.][A-Za-z0-9/_.@+=-]*( [A-Za-z0-9/_.@+=-]+)*|[0-9]+[ A-Za-z]+")
            return isPlain ? text : JSONValue.string(text).compactText
        }
    }
}
