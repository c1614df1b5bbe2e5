import Fault
import FileIO
package import SystemPackage
import Yams

/// Reads one manifest file into nodes that know their place. Everything a hostile or broken file could make large is
/// bounded: its bytes, its nesting, and the number of its values after aliases are expanded.
package struct ManifestReader {
    static let sizeLimit = 1 << 20
    static let depthLimit = 32
    static let nodeLimit = 20_000

    private let file: FilePath

    /// The root of `file`; an empty file is an empty mapping.
    package static func read(_ file: FilePath) throws(ManifestFault) -> ManifestNode {
        let bytes: [UInt8]
        do {
            bytes = try file.contents(limit: sizeLimit)
        } catch {
            switch error.code {
            case .tooLarge:
                throw ManifestFault(
                    .limit, "the manifest is larger than 1 MiB", at: .path(file.string),
                    remedy: "large files belong into an overlay")
            case .notFound:
                throw ManifestFault.missing(file)
            case .notPermitted, .exists, .noSpace, .truncated, .other:
                throw ManifestFault(.notFound, "cannot read the manifest", at: .path(file.string), cause: error.cause)
            }
        }
        guard var text = String(validating: bytes, as: UTF8.self) else {
            throw ManifestFault(
                .syntax, "the manifest is not UTF-8 text", at: .path(file.string), remedy: "save it as UTF-8")
        }
        // Some editors begin a file with a byte order mark.
        if text.unicodeScalars.first == "\u{FEFF}" { text.unicodeScalars.removeFirst() }
        try YAMLBounds.check(text, of: file)
        let reader = ManifestReader(file: file)
        do {
            guard let root = try Yams.compose(yaml: text) else {
                return ManifestNode(.mapping([]), origin: .init(file: file, line: 1, column: 1))
            }
            return try reader.node(root, depth: 0)
        } catch let fault as ManifestFault {
            throw fault
        } catch {
            throw syntaxFault(error, in: file, text)
        }
    }

    private static func syntaxFault(_ error: any Error, in file: FilePath, _ text: String) -> ManifestFault {
        func fault(_ what: String, line: Int, column: Int) -> ManifestFault {
            ManifestFault(
                .syntax, "not valid YAML: \(what)",
                at: .position(path: file.string, line: max(line, 1), column: max(column, 1)))
        }
        func fault(_ what: String, _ mark: Mark) -> ManifestFault { fault(what, line: mark.line, column: mark.column) }
        switch error as? YamlError {
        case .scanner(_, let problem, let mark, _), .composer(_, let problem, let mark, _):
            let lines = text.split(separator: "\n", omittingEmptySubsequences: false)
            if lines.indices.contains(mark.line - 1),
                lines[mark.line - 1].dropFirst(max(mark.column - 1, 0)).first == "\t"
            {
                return fault("a tab stands where YAML takes only spaces", mark)
            }
            return fault(problem, mark)
        case .parser(let context, let problem, let mark, _):
            // libyaml has its own limit, and its sentence names a function of its C interface.
            if problem.contains("nesting") {
                return ManifestFault(.limit, "nested too deep", at: .path(file.string))
            }
            // What is not closed began elsewhere.
            guard let context, context.mark.line != mark.line else { return fault(problem, mark) }
            return fault("\(problem) \(context.text) from \(context.mark.line):\(context.mark.column) on", mark)
        case .duplicatedKeysInMapping(let keys, let context):
            let key = keys.first ?? ""
            let line = repetition(of: key, after: context.mark, in: text) ?? context.mark.line
            return fault("the key '\(key)' stands twice in one mapping", line: line, column: context.mark.column)
        case .reader(let problem, _, _, _), .writer(let problem), .emitter(let problem), .representer(let problem):
            return ManifestFault(.syntax, "not valid YAML: \(problem)", at: .path(file.string))
        case .no, .memory, .dataCouldNotBeDecoded, nil:
            return ManifestFault(.syntax, "not valid YAML", at: .path(file.string), cause: error)
        }
    }

    /// The line on which `key` stands for the second time in the block mapping that begins at `start`, or nil where it cannot be seen.
    private static func repetition(of key: String, after start: Mark, in text: String) -> Int? {
        let lines = text.split(separator: "\n", omittingEmptySubsequences: false)
        let column = max(start.column, 1)
        var isSecond = false
        for (index, line) in lines.enumerated().dropFirst(max(start.line - 1, 0)) {
            // The first key of a mapping in a list has the list's dash before it.
            let rest = line.dropFirst(column - 1)
            let before = line.prefix(column - 1)
            guard index == start.line - 1 || before.allSatisfy({ $0 == " " }) else { continue }
            guard [key, "'\(key)'", "\"\(key)\""].contains(where: { rest.hasPrefix($0 + ":") }) else { continue }
            if isSecond { return index + 1 }
            isSecond = true
        }
        return nil
    }

    private func node(_ node: Node, depth: Int) throws(ManifestFault) -> ManifestNode {
        let origin = origin(of: node)
        guard depth < Self.depthLimit else { throw Self.tooDeep(at: origin.place) }
        switch node {
        case .scalar(let scalar):
            let content: ManifestNode.Content =
                if scalar.style != .plain && scalar.style != .any {
                    .string(scalar.string)
                } else if scalar.string.isEmpty || scalar.string == "~" || scalar.string == "null" {
                    .null
                } else {
                    .plain(scalar.string)
                }
            return ManifestNode(content, origin: origin, directive: try directive(scalar.tag, at: origin))
        case .sequence(let sequence):
            var elements: [ManifestNode] = []
            for element in sequence { elements.append(try self.node(element, depth: depth + 1)) }
            return ManifestNode(.list(elements), origin: origin, directive: try directive(sequence.tag, at: origin))
        case .mapping(let mapping):
            var entries: [ManifestNode.Entry] = []
            for (key, value) in mapping {
                let keyOrigin = self.origin(of: key)
                guard let name = key.scalar?.string else {
                    throw Self.badKey(at: keyOrigin.place)
                }
                entries.append(.init(key: name, keyOrigin: keyOrigin, value: try self.node(value, depth: depth + 1)))
            }
            return ManifestNode(.mapping(entries), origin: origin, directive: try directive(mapping.tag, at: origin))
        case .alias:
            throw ManifestFault(.syntax, "an alias without its anchor", at: origin.place)
        }
    }

    static func tooDeep(at place: Place) -> ManifestFault {
        ManifestFault(.limit, "nested more than \(depthLimit) levels deep", at: place)
    }

    static func badKey(at place: Place) -> ManifestFault { ManifestFault(.syntax, "a key must be a word", at: place) }

    private func origin(of node: Node) -> ManifestNode.Origin {
        .init(file: file, line: node.mark?.line ?? 1, column: node.mark?.column ?? 1)
    }

    private func directive(_ tag: Tag, at origin: ManifestNode.Origin) throws(ManifestFault) -> ManifestNode.Directive?
    {
        switch tag.description {
        case "!replace": return .replace
        case "!remove": return .remove
        case let name where name.isEmpty || name == "!" || name.hasPrefix("tag:yaml.org,2002:"): return nil
        case let name:
            throw ManifestFault(
                .syntax, "unknown tag '\(name)', expected '!replace' or '!remove'", at: origin.place,
                remedy: Spelling.nearest(to: name, among: ["!replace", "!remove"]).map { "did you mean '\($0)'?" })
        }
    }
}
