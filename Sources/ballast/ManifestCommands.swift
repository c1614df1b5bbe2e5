import ArgumentParser
import Fault
import JSON
import Manifest
import SystemPackage
import Terminal

/// `ballast manifest …`.
struct ManifestCommands: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "manifest",
        abstract: "Check and show what an image is to be.",
        discussion: "Example: ballast manifest check manifests/containerd.yaml",
        subcommands: [ManifestCheck.self, ManifestShow.self, ManifestSchema.self, ManifestReference.self])
}

/// `ballast manifest check`.
struct ManifestCheck: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "check",
        abstract: "Validate manifests and all they include, and name every problem in one run.",
        discussion: "Example: ballast manifest check manifests/base.yaml manifests/containerd.yaml")

    @Argument(help: "The manifests.", completion: .file(extensions: ["yaml", "yml"]))
    var manifests: [String]

    @Option(help: "How to print what is found.")
    var format = OutputFormat.text
    @OptionGroup var common: CommonOptions

    func run() throws {
        let results = manifests.map { path in
            (path, Result { () throws(ManifestFault) in try Manifest.load(FilePath(path)) })
        }
        switch format {
        case .text:
            for (path, result) in results {
                switch result {
                case .success(let manifest):
                    StandardStreams.print("\(path): good (product '\(manifest.product)', digest \(manifest.digest))")
                case .failure(let fault): StandardStreams.report("\(fault)")
                }
            }
        case .json:
            let entries = results.map { path, result in Self.entry(path, result) }
            StandardStreams.print(String(JSONValue.array(entries).text(inlineDepth: 3).dropLast()))
        }
        let isGood = results.allSatisfy { if case .success = $0.1 { true } else { false } }
        if !isGood { throw ExitCode.failure }
    }

    private static func entry(_ path: String, _ result: Result<Manifest, ManifestFault>) -> JSONValue {
        switch result {
        case .success(let manifest):
            return [
                "manifest": .string(path), "product": .string(manifest.product),
                "digest": .string("\(manifest.digest)"), "problems": [],
            ]
        case .failure(let fault):
            // The merging knows its problems one by one; what comes after it stops at the first.
            var problems = [fault]
            if case .failure(let several) = MergedManifest.load(FilePath(path)) { problems = several.problems }
            return [
                "manifest": .string(path),
                "problems": .array(problems.map(Self.problem)),
            ]
        }
    }

    private static func problem(_ fault: ManifestFault) -> JSONValue {
        var members: [String: JSONValue] = ["code": .string(fault.codeName), "message": .string(fault.message)]
        if let remedy = fault.remedy { members["remedy"] = .string(remedy) }
        switch fault.place {
        case .position(path: let file, line: let line, column: let column):
            members["file"] = .string(file)
            members["line"] = .integer(Int64(line))
            members["column"] = .integer(Int64(column))
        case .path(let file): members["file"] = .string(file)
        case .offset, .url, .named: members["place"] = fault.place.map { .string($0.description) }
        case nil: break
        }
        return .object(members)
    }
}

/// `ballast manifest show`.
struct ManifestShow: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "show",
        abstract: "Print the merged manifest with the origin of every value.",
        discussion: "Example: ballast manifest show manifests/containerd.yaml")

    @Argument(help: "The manifest.", completion: .file(extensions: ["yaml", "yml"]))
    var manifest: String

    @Option(help: "How to print it.")
    var format = OutputFormat.text
    @OptionGroup var common: CommonOptions

    func run() throws {
        let merged = try MergedManifest.load(FilePath(manifest)).mapError(\.fault).get()
        switch format {
        case .text:
            StandardStreams.print(String(merged.tree.annotatedText.dropLast()))
        case .json:
            let origins = merged.tree.origins().map { ($0.path, JSONValue.string($0.origin)) }
            let document: JSONValue = [
                "files": .array(merged.files.map { .string($0.string) }),
                "manifest": merged.tree.json,
                "origins": .object(Dictionary(origins) { first, _ in first }),
            ]
            StandardStreams.print(String(document.text().dropLast()))
        }
    }
}

/// `ballast manifest schema`.
struct ManifestSchema: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "schema",
        abstract: "Print the JSON Schema of a manifest, for editors.",
        discussion: "Example: ballast manifest schema > ballast.schema.json")

    @OptionGroup var common: CommonOptions

    func run() { StandardStreams.print(String(Manifest.jsonSchema.text().dropLast())) }
}

/// `ballast manifest reference`.
struct ManifestReference: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "reference",
        abstract: "Print the reference of all keys as Markdown: docs/manifest.md.",
        discussion: "Example: ballast manifest reference > docs/manifest.md")

    @OptionGroup var common: CommonOptions

    func run() { StandardStreams.print(String(Manifest.reference.dropLast())) }
}
