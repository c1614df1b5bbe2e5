package import JSON
import Terminal

/// What a manifest may say at one place, described once: validation, merging, the JSON Schema and the reference are all read
/// from it.
package struct Schema: Sendable {
    /// One or two sentences for the reference and for editors.
    package var doc: String
    package var kind: Kind
    package var defaultValue: Default = .none
    /// A value that shows the use, as YAML.
    package var example: String?

    package indirect enum Kind: Sendable {
        /// Known keys, in the order the reference lists them.
        case mapping([Key], exactlyOneOf: [String] = [])
        case list(of: Schema, Joining)
        /// Text that matches a regular expression as a whole. The expression is one that ECMAScript reads the same way.
        case string(what: String, pattern: String?)
        case word(oneOf: [String])
        case integer(ClosedRange<Int64>, oneOf: [Int64] = [])
        case boolean
        case size(ClosedRange<Int64>, multipleOf: Int64)
        case duration(ClosedRange<Int>, orNone: Bool = false)
        /// A file or directory of the build machine, relative to the manifest that names it.
        case localPath(LocalPath)
    }

    package struct Key: Sendable {
        package var name: String
        package var schema: Schema
        package var isRequired = false
    }

    /// How a list joins the included one.
    package enum Joining: Sendable, Equatable {
        /// Elements that are not there yet are appended.
        case union
        /// Elements are mappings named by one of their keys; one of the same name takes the other's place.
        case keyed(by: String)
        /// Elements are package names with or without a version or suite; one of the same name takes the other's place.
        case byPackage
        /// The list is one value, a program by its absolute path and its arguments: it replaces the included one.
        case command
    }

    package enum LocalPath: Sendable, Equatable {
        case existingDirectory
        case manifest
        case existingFile
        /// A file that somebody may execute.
        case executableFile
        /// A pattern of files, as fnmatch(3) has it in the last component.
        case filePattern
    }

    package enum Default: Sendable {
        case none
        case value(JSONValue)
        /// Follows from other values; the text says how.
        case derived(String, @Sendable (ManifestNode) -> JSONValue)
    }

    /// The schema of `name` below this one.
    func key(_ name: String) -> Key? {
        if case .mapping(let keys, _) = kind { keys.first { $0.name == name } } else { nil }
    }

    /// What is expected here, for error messages.
    var expectation: String {
        switch kind {
        case .mapping: "a mapping"
        case .list(let element, _): "a list of \(element.pluralExpectation)"
        case .string(let what, _): what
        case .word(let words): words.map { "'\($0)'" }.joined(separator: " or ")
        case .integer(let range, let values):
            values.isEmpty
                ? "an integer from \(range.lowerBound) to \(range.upperBound)"
                : values.map(String.init).joined(separator: " or ")
        case .boolean: "true or false"
        case .size(let range, _):
            "a size from \(Quantity.text(bytes: range.lowerBound)) to \(Quantity.text(bytes: range.upperBound))"
                + ", such as '512 MiB'"
        case .duration(let range, let orNone):
            (orNone ? "0s, or " : "")
                + "a duration from \(Quantity.text(seconds: range.lowerBound)) to \(Quantity.text(seconds: range.upperBound))"
                + ", such as '90s'"
        case .localPath(.existingDirectory): "the path of a directory"
        case .localPath(.manifest): "the path of a manifest"
        case .localPath(.existingFile): "the path of a file"
        case .localPath(.executableFile): "the path of a program"
        case .localPath(.filePattern): "the path of a file, or a pattern such as 'debs/*.deb'"
        }
    }

    private var pluralExpectation: String {
        switch kind {
        case .mapping: "mappings"
        case .string(let what, _): what.hasPrefix("a ") || what.hasPrefix("an ") ? "strings, each \(what)" : what
        case .localPath: "paths"
        case .list, .word, .integer, .boolean, .size, .duration: "values"
        }
    }
}
