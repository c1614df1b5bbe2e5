import Fault
import SystemPackage

/// Lays one manifest over another.
///
/// Scalars override, mappings merge, lists append what is not there yet; `!replace` and `!remove` say otherwise.
struct ManifestMerge {
    private(set) var problems: [ManifestFault] = []

    /// `top` over `base`, which both passed validation against `schema`.
    mutating func merge(_ top: ManifestNode, over base: ManifestNode?, schema: Schema, at path: String = "")
        -> ManifestNode
    {
        var base = base
        if top.directive == .replace { base = nil }
        switch schema.kind {
        case .mapping(let keys, _): return mergeMapping(top, over: base, keys: keys, at: path)
        case .list(_, let joining): return mergeList(top, over: base, joining, schema: schema, at: path)
        case .string, .word, .integer, .boolean, .size, .duration, .localPath:
            var result = top
            result.directive = nil
            return result
        }
    }

    private mutating func mergeMapping(
        _ top: ManifestNode, over base: ManifestNode?, keys: [Schema.Key], at path: String
    ) -> ManifestNode {
        var result = base ?? ManifestNode(.mapping([]), origin: top.origin)
        for entry in top.entries {
            guard let key = keys.first(where: { $0.name == entry.key }) else { continue }
            let below = path.isEmpty ? entry.key : "\(path).\(entry.key)"
            if entry.value.directive == .remove {
                if result[entry.key] == nil { reportNothing("the key '\(below)'", entry.value, among: []) }
                result[entry.key] = nil
                continue
            }
            let value = merge(entry.value, over: result[entry.key], schema: key.schema, at: below)
            result[entry.key] = value
        }
        return result
    }

    private mutating func mergeList(
        _ top: ManifestNode, over base: ManifestNode?, _ joining: Schema.Joining, schema: Schema, at path: String
    ) -> ManifestNode {
        var result: [ManifestNode] = joining == .command ? [] : base?.elements ?? []
        func identity(_ node: ManifestNode) -> String? {
            switch joining {
            case .keyed(let key): return node[key]?.text ?? node.text
            case .byPackage: return node.text.map { String($0.prefix { $0 != "=" && $0 != "/" }) }
            case .union, .command:
                guard let text = node.text else { return node.spelling }
                // The same words in two directories are two directories.
                if case .list(let element, _) = schema.kind, case .localPath = element.kind, let origin = node.origin {
                    return origin.resolve(text).string
                }
                return text
            }
        }
        for element in top.elements {
            let name = identity(element)
            let position = joining == .command ? nil : result.firstIndex { identity($0) == name }
            switch (element.directive, position) {
            case (.remove, let position?): result.remove(at: position)
            case (.remove, nil):
                reportNothing("'\(element.text ?? "")' of '\(path)'", element, among: result.compactMap(identity))
            case (_, let position?):
                switch joining {
                case .keyed, .byPackage: result[position] = element
                case .union, .command: break
                }
            case (_, nil): result.append(element)
            }
        }
        return ManifestNode(.list(result), origin: top.origin ?? base?.origin)
    }

    private mutating func reportNothing(_ what: String, _ node: ManifestNode, among candidates: [String]) {
        problems.append(
            ManifestFault(
                .nothingToRemove, "'!remove' names \(what), expected something that an included manifest has",
                at: node.origin?.place,
                remedy: Spelling.nearest(to: node.text ?? "", among: candidates).map { "did you mean '\($0)'?" }))
    }
}

extension ManifestNode {
    /// This node with the schema's defaults where nothing was written.
    func fillingDefaults(_ schema: Schema, root: ManifestNode? = nil) -> ManifestNode {
        let root = root ?? self
        switch schema.kind {
        case .mapping(let keys, _):
            var result = self
            for key in keys {
                if let value = self[key.name] {
                    result[key.name] = value.fillingDefaults(key.schema, root: root)
                    continue
                }
                switch key.schema.defaultValue {
                case .value(let value): result[key.name] = ManifestNode(default: value)
                case .derived(_, let derive): result[key.name] = ManifestNode(default: derive(root))
                case .none:
                    guard case .mapping(_, exactlyOneOf: []) = key.schema.kind else { continue }
                    let empty = ManifestNode(.mapping([]), origin: nil)
                    result[key.name] = empty.fillingDefaults(key.schema, root: root)
                }
            }
            return result.inOrder(of: keys)
        case .list(let element, .keyed):
            return ManifestNode(.list(elements.map { $0.fillingDefaults(element, root: root) }), origin: origin)
        case .list, .string, .word, .integer, .boolean, .size, .duration, .localPath:
            return self
        }
    }

    private func inOrder(of keys: [Schema.Key]) -> ManifestNode {
        let sorted = keys.compactMap { key in entries.first { $0.key == key.name } }
        return ManifestNode(.mapping(sorted), origin: origin)
    }
}
