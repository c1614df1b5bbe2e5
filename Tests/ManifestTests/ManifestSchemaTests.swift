import FileIO
import JSON
import Manifest
import SystemPackage
import Terminal
import Testing

@Suite("The schema of manifests")
struct ManifestSchemaTests {
    private static let repository = FilePath(#filePath).removingLastComponent().removingLastComponent()
        .removingLastComponent()

    @Test("docs/manifest.md is what the schema says; if not, run `ballast manifest reference > docs/manifest.md`")
    func reference() throws {
        #expect(try Self.repository.appending("docs/manifest.md").text() == Manifest.reference)
    }

    @Test("the shipped manifests are good", arguments: ["base", "containerd"])
    func shipped(name: String) throws {
        let manifest = try Manifest.load(Self.repository.appending("manifests/\(name).yaml"))
        #expect(manifest.product == name)
    }

    /// Every key with its way, lists of mappings included.
    private static func keys(_ schema: Schema, below path: [String] = []) -> [(path: [String], schema: Schema)] {
        switch schema.kind {
        case .mapping(let keys, _):
            keys.flatMap { [(path + [$0.name], $0.schema)] + Self.keys($0.schema, below: path + [$0.name]) }
        case .list(let element, _): Self.keys(element, below: path + ["[]"])
        case .string, .word, .integer, .boolean, .size, .duration, .localPath: []
        }
    }

    @Test("every key has a sentence in the reference, and its example and default pass its own rule")
    func examples() throws {
        let keys = Self.keys(.manifest)
        #expect(keys.count > 50)
        for (path, schema) in keys {
            let name = path.joined(separator: ".")
            #expect(!schema.doc.isEmpty, "\(name)")
            if case .mapping = schema.kind { continue }
            let example = try #require(schema.example, "\(name)")
            let files = try ManifestFiles([
                "m.yaml": "value: \(example)\n", "o/": "", "docker.asc": "", "keys/docker.asc": "", "prepare.sh": "",
            ])
            let value = try #require(try ManifestReader.read(files.path.appending("m.yaml"))["value"], "\(name)")
            var validator = SchemaValidator()
            // These examples name files of another place.
            if !["overlays", "update.trusted_root"].contains(name) {
                _ = validator.validate(value, against: schema, at: name)
            }
            #expect(validator.problems.isEmpty, "\(name)")
            guard case .value(let json) = schema.defaultValue else { continue }
            var node = ManifestNode(default: json)
            if case .integer(let value) = node.content { node.content = .plain(String(value)) }
            if case .boolean(let value) = node.content { node.content = .plain(String(value)) }
            _ = validator.validate(node, against: schema, at: name)
            #expect(validator.problems.isEmpty, "\(name)")
        }
    }

    @Test("every pattern is one that this program can read, or it would refuse all values")
    func patterns() throws {
        func collect(_ schema: Schema) -> [String] {
            switch schema.kind {
            case .string(_, let pattern): pattern.map { [$0] } ?? []
            case .list(let element, _): collect(element)
            case .mapping(let keys, _): keys.flatMap { collect($0.schema) }
            case .word, .integer, .boolean, .size, .duration, .localPath: []
            }
        }
        for pattern in collect(.manifest) { #expect(throws: Never.self, "\(pattern)") { try Regex(pattern) } }
    }

    @Test("the JSON Schema refuses unknown keys at every level")
    func jsonSchema() throws {
        let schema = Manifest.jsonSchema
        #expect(schema["$schema"] == "https://json-schema.org/draft/2020-12/schema")
        #expect(schema["additionalProperties"] == false)
        #expect(schema["properties"]?["units"]?["additionalProperties"] == false)
        #expect(schema["properties"]?["disk"]?["properties"]?["sector_size"]?["enum"] == [512, 4096])
    }

    @Test(
        "sizes and durations are read as written",
        arguments: [("90s", 90), ("15m", 900), ("1h30m", 5400), ("2d", 172_800), ("0s", 0)])
    func durations(text: String, seconds: Int) { #expect(Quantity.seconds(text) == seconds) }

    @Test(
        "wrong sizes and durations are refused",
        arguments: ["", "1", "m", "1m1h", "-1s", "1.5h", "99999999999999999999d"])
    func wrongQuantities(text: String) {
        #expect(Quantity.seconds(text) == nil)
        #expect(Quantity.bytes(text) == nil)
    }

    @Test("a size keeps its bytes", arguments: [("512 MiB", 512 << 20), ("1GiB", 1 << 30), ("3 TiB", 3 << 40)])
    func sizes(text: String, bytes: Int) { #expect(Quantity.bytes(text) == Int64(bytes)) }

    @Test(
        "addresses that hosts can ask are taken",
        arguments: [
            "http://127.0.0.1:8080", "https://updates.example.org/a/b", "https://user:pass@host_1:1/",
            "http://[::1]:65535/x",
            "http://10.0.2.2:44321",
        ])
    func addresses(text: String) throws {
        let files = try ManifestFiles([
            "m.yaml": "product: x\nupdate: {url: \"\(text)\", trusted_root: root.json}\n", "root.json": "{}",
        ])
        #expect(try files.load("m.yaml").update.url == text)
    }

    @Test(
        "what is half said of a repository is refused",
        arguments: [
            (
                "mirrors: [\"http://a/\"]",
                "m.yaml:2:19: 'update.mirrors' is given without 'update.url'; name the repository's own address there"
            ),
            (
                "transfer: {client_key: /k}",
                "m.yaml:2:33: 'client_certificate' and 'client_key' belong together; give both or neither"
            ),
        ])
    func half(text: String, sentence: String) throws {
        let files = try ManifestFiles(["m.yaml": "product: x\nupdate: {\(text)}\n"])
        let fault = try #require(throws: ManifestFault.self) { try files.load("m.yaml") }
        #expect("\(fault)".replacing("\(files.path)/", with: "") == sentence)
    }

    @Test("windows of all manifests add up, one that is there already does not, and one can be taken away")
    func windows() throws {
        let files = try ManifestFiles([
            "base.yaml": """
            product: x
            update:
              windows:
                - {days: [sat, sun], start: "02:30", length: 2h}
                - {start: "23:30", length: 1h}
            """,
            "m.yaml": """
            include: [base.yaml]
            update:
              windows:
                - {length: 2h, start: "02:30", days: [sat, sun]}
                - {days: [mon], start: "02:30", length: 2h}
                - !remove {start: "23:30", length: 1h}
            """,
        ])
        let windows = try files.load("m.yaml").update.windows
        #expect(windows.map(\.days) == [["sat", "sun"], ["mon"]])
        #expect(try files.load("base.yaml").update.windows.last?.days.count == 7)
    }

    @Test(
        "a drain is a command or a unit, and is undone by the like",
        arguments: [
            (
                "{name: a, command: [/bin/a], undo_unit: b.service}",
                "m.yaml:2:59: 'undo_unit' is given beside 'command'; give 'undo' in its place"
            ),
            (
                "{name: a, unit: a.service, undo: [/bin/b]}",
                "m.yaml:2:52: 'undo' is given beside 'unit'; give 'undo_unit' in its place"
            ),
        ])
    func drains(text: String, sentence: String) throws {
        let files = try ManifestFiles(["m.yaml": "product: x\nupdate: {drains: [\(text)]}\n"])
        let fault = try #require(throws: ManifestFault.self) { try files.load("m.yaml") }
        #expect("\(fault)".replacing("\(files.path)/", with: "") == sentence)
    }

    @Test("a repository that hosts could not trust is refused")
    func untrusted() throws {
        let files = try ManifestFiles(["m.yaml": "product: x\nupdate: {url: \"https://example.org\"}\n"])
        let fault = try #require(throws: ManifestFault.self) { try files.load("m.yaml") }
        #expect(
            "\(fault)".replacing("\(files.path)/", with: "")
                == "m.yaml:2:15: 'update.url' is given without 'update.trusted_root', so hosts would trust no repository; make the "
                + "repository with 'ballast repo init', and name its root metadata")
    }
}
