import Fault
import FileIO
import SystemPackage
import Terminal

/// Checks one manifest file's nodes against the schema. It goes on after a problem, so that one run reports all of them.
package struct SchemaValidator {
    package private(set) var problems: [ManifestFault] = []

    package init() {}

    /// `node` with its words turned into what the schema says they are, without the parts that are wrong.
    package mutating func validate(_ node: ManifestNode, against schema: Schema, at path: String = "") -> ManifestNode?
    {
        if node.directive == .remove { return validateRemoval(node, against: schema, at: path) }
        switch schema.kind {
        case .mapping(let keys, let alternatives):
            return validateMapping(node, keys: keys, exactlyOneOf: alternatives, schema: schema, at: path)
        case .list(let element, let joining):
            return validateList(node, of: element, joining, schema: schema, at: path)
        case .string, .word, .integer, .boolean, .size, .duration, .localPath:
            return validateScalar(node, against: schema, at: path)
        }
    }

    /// Keys that must be there, looked for in the merged tree only: a manifest that is included may leave them to others.
    mutating func requireKeys(in node: ManifestNode, schema: Schema, of file: FilePath) {
        guard case .mapping(let keys, _) = schema.kind else { return }
        for key in keys where key.isRequired && node[key.name] == nil {
            problems.append(
                ManifestFault(
                    .missingKey, "the key '\(key.name)' is missing, expected \(key.schema.expectation)",
                    at: .position(path: file.string, line: 1, column: 1),
                    remedy: key.schema.example.map { "add '\(key.name): \($0)'" }))
        }
    }

    private mutating func report(
        _ code: ManifestFaultCode, _ message: String, at origin: ManifestNode.Origin?, remedy: String? = nil
    ) {
        problems.append(ManifestFault(code, message, at: origin?.place, remedy: remedy))
    }

    private mutating func reportType(_ node: ManifestNode, _ schema: Schema, at path: String, remedy: String? = nil) {
        let subject = path.isEmpty ? "the manifest" : "'\(path)'"
        report(
            .wrongType, "\(subject) is \(node.kind), expected \(schema.expectation)", at: node.origin, remedy: remedy)
    }

    private mutating func validateMapping(
        _ node: ManifestNode, keys: [Schema.Key], exactlyOneOf alternatives: [String], schema: Schema, at path: String
    ) -> ManifestNode? {
        guard case .mapping(let entries) = node.content else {
            reportType(node, schema, at: path)
            return nil
        }
        var valid: [ManifestNode.Entry] = []
        for entry in entries {
            guard let key = keys.first(where: { $0.name == entry.key }) else {
                let names = keys.map(\.name)
                report(
                    .unknownKey,
                    "unknown key '\(entry.key)'\(path.isEmpty ? "" : " in '\(path)'"), expected one of "
                        + names.joined(separator: ", "),
                    at: entry.keyOrigin,
                    remedy: Spelling.nearest(to: entry.key, among: names).map { "did you mean '\($0)'?" })
                continue
            }
            let below = path.isEmpty ? entry.key : "\(path).\(entry.key)"
            guard let value = validate(entry.value, against: key.schema, at: below) else { continue }
            valid.append(.init(key: entry.key, keyOrigin: entry.keyOrigin, value: value))
        }
        if !alternatives.isEmpty {
            let named = entries.map(\.key).filter(alternatives.contains)
            if named.count != 1 {
                report(
                    .badValue,
                    named.isEmpty
                        ? "'\(path)' says nothing to check, expected one of \(alternatives.joined(separator: ", "))"
                        : "'\(path)' has \(named.joined(separator: " and ")), expected exactly one of them",
                    at: node.origin)
            }
        }
        return ManifestNode(.mapping(valid), origin: node.origin, directive: node.directive)
    }

    private mutating func validateList(
        _ node: ManifestNode, of element: Schema, _ joining: Schema.Joining, schema: Schema, at path: String
    ) -> ManifestNode? {
        guard case .list(let elements) = node.content else {
            reportType(
                node, schema, at: path, remedy: node.text.map { "write [\($0)]" })
            return nil
        }
        if joining == .command && elements.isEmpty {
            report(.badValue, "'\(path)' is empty, expected at least one element", at: node.origin)
        }
        var valid: [ManifestNode] = []
        var seen: [String: ManifestNode.Origin] = [:]
        for (position, child) in elements.enumerated() {
            let below = "\(path)[\(position)]"
            if child.directive == .replace {
                report(
                    .badValue, "'!replace' stands on an element, expected it on the list '\(path)'", at: child.origin)
                continue
            }
            guard case .keyed(let key) = joining else {
                if let value = validate(child, against: element, at: below) { valid.append(value) }
                if joining == .command, position == 0, let text = child.text, !Self.matches(text, Schema.program) {
                    report(
                        .badValue, "'\(below)' is '\(text)', expected a program by its absolute path", at: child.origin,
                        remedy: text.isEmpty || text.contains("/") ? nil : "did you mean '/usr/bin/\(text)'?")
                }
                continue
            }
            if child.directive == .remove {
                let nameSchema = element.key(key)?.schema ?? element
                if let value = validateScalar(child, against: nameSchema, at: below) { valid.append(value) }
                continue
            }
            guard let value = validate(child, against: element, at: below) else { continue }
            guard case .mapping(let keys, _) = element.kind else { continue }
            for required in keys
            where required.isRequired && !child.entries.contains(where: { $0.key == required.name }) {
                report(
                    .missingKey, "'\(below)' has no '\(required.name)', expected \(required.schema.expectation)",
                    at: child.origin)
            }
            if let name = value[key]?.text {
                if let first = seen[name] {
                    report(
                        .badValue, "\(key) '\(name)' stands twice in '\(path)', first at line \(first.line)",
                        at: child.origin)
                } else if let origin = child.origin {
                    seen[name] = origin
                }
            }
            valid.append(value)
        }
        return ManifestNode(.list(valid), origin: node.origin, directive: node.directive)
    }

    /// `!remove` takes elements of a list (by name, where they are mappings), or, with no value, away with the whole key.
    private mutating func validateRemoval(
        _ node: ManifestNode, against schema: Schema, at path: String
    ) -> ManifestNode? {
        if case .list(let element, let joining) = schema.kind, case .list(let elements) = node.content {
            let names: Schema =
                if case .keyed(let key) = joining { element.key(key)?.schema ?? element } else { element }
            let valid = elements.compactMap { child -> ManifestNode? in
                validateRemoved(child, against: names, at: path)
            }
            return ManifestNode(.list(valid), origin: node.origin)
        }
        if case .null = node.content { return node }
        // An element of a list, such as `- !remove nano`.
        if path.hasSuffix("]") { return validateRemoved(node, against: schema, at: path) }
        report(
            .badValue, "'!remove' on '\(path)' has a value, expected none: the whole key is removed", at: node.origin)
        return nil
    }

    /// An element that is taken away: the value itself, or its name.
    private mutating func validateRemoved(
        _ node: ManifestNode, against schema: Schema, at path: String
    ) -> ManifestNode? {
        var value: ManifestNode?
        if case .mapping = schema.kind, case .mapping = node.content {
            var plain = node
            plain.directive = nil
            value = validate(plain, against: schema, at: path)
        } else {
            value = validateScalar(node, against: schema, at: path, isRemoval: true)
        }
        value?.directive = .remove
        return value
    }

    private mutating func validateScalar(
        _ node: ManifestNode, against schema: Schema, at path: String, isRemoval: Bool = false
    ) -> ManifestNode? {
        guard let text = node.text else {
            reportType(node, schema, at: path)
            return nil
        }
        var result = node
        switch schema.kind {
        case .mapping, .list:
            reportType(node, schema, at: path)
            return nil
        case .boolean:
            guard case .plain = node.content, text == "true" || text == "false" else {
                reportType(node, schema, at: path)
                return nil
            }
            result.content = .boolean(text == "true")
        case .integer(let range, let values):
            guard case .plain = node.content, let value = Int64(text) else {
                reportType(node, schema, at: path)
                return nil
            }
            guard range.contains(value), values.isEmpty || values.contains(value) else {
                reportValue(node, schema, at: path)
                return nil
            }
            result.content = .integer(value)
        case .string, .word, .size, .duration, .localPath:
            // YAML 1.1 readers take these for booleans, and so do many people: quotes make the meaning plain.
            if case .plain = node.content, text == "true" || text == "false" {
                reportType(node, schema, at: path, remedy: "put it in quotes if the text is meant")
                return nil
            }
            guard isValid(text, node, schema, at: path, isRemoval: isRemoval) else { return nil }
            result.content = .string(text)
        }
        return result
    }

    private mutating func reportValue(_ node: ManifestNode, _ schema: Schema, at path: String, remedy: String? = nil) {
        report(
            .badValue, "'\(path)' is '\(node.text ?? "")', expected \(schema.expectation)", at: node.origin,
            remedy: remedy)
    }

    private mutating func isValid(
        _ text: String, _ node: ManifestNode, _ schema: Schema, at path: String, isRemoval: Bool
    ) -> Bool {
        switch schema.kind {
        case .string(let what, let pattern):
            guard let pattern, !Self.matches(text, pattern) else { return true }
            var remedy: String?
            if what.hasPrefix("a unit name"), Self.matches(text + ".service", pattern) {
                remedy = "did you mean '\(text).service'?"
            }
            let lowered = text.lowercased()
            if lowered != text, Self.matches(lowered, pattern) { remedy = "did you mean '\(lowered)'?" }
            reportValue(node, schema, at: path, remedy: remedy)
            return false
        case .word(let words):
            if words.contains(text) { return true }
            reportValue(
                node, schema, at: path,
                remedy: Spelling.nearest(to: text, among: words).map { "did you mean '\($0)'?" })
            return false
        case .size(let range, let multiple):
            guard let bytes = Quantity.bytes(text), range.contains(bytes) else {
                let likely = Quantity.likelySize(text).flatMap { likely in
                    Quantity.bytes(likely).map(range.contains) == true ? likely : nil
                }
                reportValue(node, schema, at: path, remedy: likely.map { "did you mean '\($0)'?" })
                return false
            }
            guard bytes % multiple == 0 else {
                reportValue(
                    node, schema, at: path, remedy: "round it to a multiple of \(Quantity.text(bytes: multiple))")
                return false
            }
            return true
        case .duration(let range, let orNone):
            guard let seconds = Quantity.seconds(text), range.contains(seconds) || orNone && seconds == 0 else {
                let likely = Quantity.likelyDuration(text).flatMap { likely in
                    Quantity.seconds(likely).map(range.contains) == true ? likely : nil
                }
                reportValue(node, schema, at: path, remedy: likely.map { "did you mean '\($0)'?" })
                return false
            }
            return true
        case .localPath(let kind):
            guard !text.isEmpty, !text.utf8.contains(0) else {
                reportValue(node, schema, at: path)
                return false
            }
            switch kind {
            case .existingDirectory:
                return isRemoval || isThere(text, .directory, called: "directory", node, otherwise: nil)
            case .existingFile:
                let remedy = path == "update.trusted_root" ? "make the repository first, with 'ballast repo init'" : nil
                return isRemoval || isThere(text, .regular, called: "file", node, otherwise: remedy)
            case .executableFile:
                return isRemoval
                    || isThere(text, .regular, called: "file", node, otherwise: nil) && isExecutable(text, node)
            case .manifest, .filePattern: return true
            }
        case .mapping, .list, .integer, .boolean:
            return false
        }
    }

    /// Whether a path of the build machine leads to what its key takes.
    private mutating func isThere(
        _ text: String, _ kind: FileStatus.Kind, called noun: String, _ node: ManifestNode, otherwise remedy: String?
    ) -> Bool {
        guard let origin = node.origin else { return true }
        let file = origin.resolve(text)
        let status = try? FileStatus(following: file)
        if status?.kind == kind { return true }
        let siblings = (try? file.removingLastComponent().directoryEntries()) ?? []
        let name = file.lastComponent?.string ?? ""
        let parent = FilePath(text).removingLastComponent()
        report(
            .notFound,
            status == nil
                ? "there is no \(noun) '\(text)'" + (file.string == text ? "" : ", expected it at \(file)")
                : "'\(text)' is not a \(noun), expected one at \(file)", at: origin,
            remedy: Spelling.nearest(to: name, among: siblings.filter { $0 != name }).map {
                "did you mean '\(parent.appending($0))'?"
            } ?? remedy)
        return false
    }

    private mutating func isExecutable(_ text: String, _ node: ManifestNode) -> Bool {
        guard let origin = node.origin, let status = try? FileStatus(following: origin.resolve(text)),
            status.permissions & 0o111 == 0
        else { return true }
        report(.badValue, "'\(text)' cannot be run", at: origin, remedy: "make it executable with 'chmod +x'")
        return false
    }

    static func matches(_ text: String, _ pattern: String) -> Bool {
        guard let expression = try? Regex(pattern) else { return false }
        // By scalars: by characters, the Kelvin sign would match as the letter K it is equivalent to.
        return (try? expression.matchingSemantics(.unicodeScalar).wholeMatch(in: text)) != nil
    }
}

extension ManifestNode.Origin {
    /// The path that `text`, written here, means.
    func resolve(_ text: String) -> FilePath {
        file.removingLastComponent().pushing(FilePath(text)).lexicallyNormalized()
    }
}
