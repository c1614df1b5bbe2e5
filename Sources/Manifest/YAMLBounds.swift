// The C library inside Yams. Its events give the size of a document before any node is made.
import CYaml
import Fault
import SystemPackage

/// Checks how large a YAML document is once its aliases are expanded, without expanding them.
///
/// Yams expands aliases while it reads. To find duplicate keys, it hashes each key with all its content.
struct YAMLBounds {
    /// A node with everything below it.
    private struct Extent {
        /// How many values it has, itself included. Keys are none.
        var size = 1
        /// How many levels it has, itself included.
        var height = 1
        var isScalar = false
    }

    /// A collection that has begun.
    private struct Collection {
        var extent = Extent()
        let isMapping: Bool
        var expectsKey: Bool
        let anchor: String?
    }

    private let file: FilePath
    private var collections: [Collection] = []
    private var anchors: [String: Extent] = [:]

    private init(file: FilePath) { self.file = file }

    /// Refuses a document with too many values, with aliases that nest too deep, or with a key that is not a scalar. Malformed
    /// YAML passes, because the parser describes the problem better.
    static func check(_ text: String, of file: FilePath) throws(ManifestFault) {
        var parser = yaml_parser_t()
        guard yaml_parser_initialize(&parser) == 1 else { return }
        defer { yaml_parser_delete(&parser) }
        let bytes = Array(text.utf8)
        var bounds = YAMLBounds(file: file)
        let result = bytes.withUnsafeBufferPointer { buffer -> Result<Void, ManifestFault> in
            yaml_parser_set_input_string(&parser, buffer.baseAddress, buffer.count)
            var event = yaml_event_t()
            while yaml_parser_parse(&parser, &event) == 1 {
                defer { yaml_event_delete(&event) }
                if event.type == YAML_STREAM_END_EVENT { break }
                do throws(ManifestFault) { try bounds.take(event) } catch { return .failure(error) }
            }
            return .success(())
        }
        try result.get()
    }

    private mutating func take(_ event: yaml_event_t) throws(ManifestFault) {
        switch event.type {
        case YAML_SCALAR_EVENT:
            try add(Extent(isScalar: true), anchor: Self.text(event.data.scalar.anchor), event.start_mark)
        case YAML_ALIAS_EVENT:
            let extent = Self.text(event.data.alias.anchor).flatMap { anchors[$0] } ?? Extent(isScalar: true)
            guard collections.count + extent.height <= ManifestReader.depthLimit else {
                throw ManifestReader.tooDeep(at: place(event.start_mark))
            }
            try add(extent, anchor: nil, event.start_mark)
        case YAML_SEQUENCE_START_EVENT:
            collections.append(
                .init(isMapping: false, expectsKey: false, anchor: Self.text(event.data.sequence_start.anchor)))
        case YAML_MAPPING_START_EVENT:
            collections.append(
                .init(isMapping: true, expectsKey: true, anchor: Self.text(event.data.mapping_start.anchor)))
        case YAML_SEQUENCE_END_EVENT, YAML_MAPPING_END_EVENT:
            guard let ended = collections.popLast() else { return }
            try add(ended.extent, anchor: ended.anchor, event.start_mark)
        default: break
        }
    }

    /// Takes a whole node in.
    private mutating func add(_ extent: Extent, anchor: String?, _ mark: yaml_mark_t) throws(ManifestFault) {
        if let anchor { anchors[anchor] = extent }
        guard extent.size <= ManifestReader.nodeLimit else {
            throw ManifestFault(.limit, "more than \(ManifestReader.nodeLimit) values", at: .path(file.string))
        }
        guard var parent = collections.popLast() else { return }
        if parent.expectsKey {
            guard extent.isScalar else { throw ManifestReader.badKey(at: place(mark)) }
            parent.expectsKey = false
        } else {
            parent.extent.size += extent.size
            parent.extent.height = max(parent.extent.height, extent.height + 1)
            parent.expectsKey = parent.isMapping
        }
        collections.append(parent)
    }

    private func place(_ mark: yaml_mark_t) -> Place {
        .position(path: file.string, line: Int(mark.line) + 1, column: Int(mark.column) + 1)
    }

    private static func text(_ pointer: UnsafeMutablePointer<yaml_char_t>?) -> String? {
        pointer.map { String(cString: $0) }
    }
}
