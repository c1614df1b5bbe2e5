import ArgumentParser
import JSON
import Manifest
import SystemPackage
import Terminal

/// `ballast manifest …`.
struct ManifestCommands: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "manifest",
        abstract: "Checks and shows what an image is to be.",
        discussion: "Example: ballast manifest check manifests/containerd.yaml",
        subcommands: [ManifestCheck.self, ManifestShow.self, ManifestSchema.self, ManifestReference.self])
}

/// `ballast manifest check`.
struct ManifestCheck: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "check",
        abstract: "Validates manifests and all they include, and names every problem in one run.",
        discussion: "Example: ballast manifest check manifests/base.yaml manifests/containerd.yaml")

    @Argument(help: "The manifests.", completion: .file(extensions: ["yaml", "yml"]))
    var manifests: [String]

    func run() throws {
        var failures = 0
        for path in manifests {
            do throws(ManifestFault) {
                let manifest = try Manifest.load(FilePath(path))
                StandardStreams.print("\(path): good (product '\(manifest.product)', digest \(manifest.digest))")
            } catch {
                failures += 1
                StandardStreams.report("\(error)")
            }
        }
        if failures > 0 { throw ExitCode.failure }
    }
}

/// `ballast manifest show`.
struct ManifestShow: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "show",
        abstract: "Prints the merged manifest with the origin of every value.",
        discussion: "Example: ballast manifest show manifests/containerd.yaml")

    @Argument(help: "The manifest.", completion: .file(extensions: ["yaml", "yml"]))
    var manifest: String

    @Option(help: "How to print it.")
    var format = OutputFormat.text

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
        abstract: "Prints the JSON Schema of a manifest, for editors.",
        discussion: "Example: ballast manifest schema > ballast.schema.json")

    func run() { StandardStreams.print(String(Manifest.jsonSchema.text().dropLast())) }
}

/// `ballast manifest reference`.
struct ManifestReference: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "reference",
        abstract: "Prints the reference of all keys as Markdown: docs/manifest.md.",
        discussion: "Example: ballast manifest reference > docs/manifest.md")

    func run() { StandardStreams.print(String(Manifest.reference.dropLast())) }
}

/// How a verb prints its result.
enum OutputFormat: String, ExpressibleByArgument, CaseIterable {
    case text
    case json
}
