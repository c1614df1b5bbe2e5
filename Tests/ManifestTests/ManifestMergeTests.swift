import Manifest
import SystemPackage
import Testing

@Suite("Merging manifests")
struct ManifestMergeTests {
    @Test("scalars override, mappings merge, lists append what is not there")
    func rules() throws {
        let files = try ManifestFiles([
            "base.yaml": """
            product: base
            packages: {install: [a1, b1], recommends: true}
            disk: {esp: 512 MiB, slot: 2 GiB}
            health:
              - {name: one, unit: one.service, timeout: 10s}
              - {name: two, unit: two.service}
            """,
            "m.yaml": """
            include: [base.yaml]
            product: top
            packages: {install: [b1, c1]}
            disk: {slot: 3 GiB}
            health:
              - {name: one, tcp: "127.0.0.1:80"}
            """,
        ])
        let manifest = try files.load("m.yaml")
        #expect(manifest.product == "top")
        #expect(manifest.packages.install == ["a1", "b1", "c1"])
        #expect(manifest.packages.installsRecommends)
        #expect(manifest.disk.esp == 512 << 20)
        #expect(manifest.disk.slot == 3 << 30)
        #expect(manifest.health.map(\.name) == ["one", "two"])
        #expect(manifest.health.map(\.timeout) == [60, 60])
        #expect(manifest.health.map(\.probe) == [.tcp("127.0.0.1:80"), .unit("two.service")])
    }

    @Test("!replace takes only what is written, !remove takes away")
    func directives() throws {
        let files = try ManifestFiles([
            "base.yaml": """
            packages: {install: [a1, b1, c1], remove: [d1], exclude_paths: [/x]}
            distribution: {suites: [trixie, trixie-updates]}
            health: [{name: one, unit: one.service}, {name: two, unit: two.service}]
            update: {url: "https://example.org", channel: beta}
            boot: {tries: 5, timeout: 3s}
            """,
            "m.yaml": """
            product: x
            include: [base.yaml]
            packages:
              install: [z1, !remove b1]
              remove: !remove [d1]
              exclude_paths: !replace [/y]
            distribution: {suites: !replace [sid]}
            health: !remove [one]
            update: {url: !remove }
            boot: !replace {tries: 4}
            """,
        ])
        let manifest = try files.load("m.yaml")
        #expect(manifest.packages.install == ["a1", "c1", "z1"])
        #expect(manifest.packages.remove == [])
        #expect(manifest.packages.excludedPaths == ["/y"])
        #expect(manifest.distribution.suites == ["sid"])
        #expect(manifest.health.map(\.name) == ["two"])
        #expect(manifest.update.url == nil)
        #expect(manifest.update.channel == "beta")
        #expect(manifest.boot.tries == 4 && manifest.boot.timeout == 0)
    }

    @Test("a command's arguments are one value: repeated words stay, an including manifest replaces them")
    func command() throws {
        let files = try ManifestFiles([
            "m.yaml": "product: x\nhealth: [{name: a, command: [/bin/x, -v, -v]}]\n"
        ])
        #expect(try files.load("m.yaml").health.first?.probe == .command(["/bin/x", "-v", "-v"]))
    }

    @Test("overlays are found from the file that names them, and two of the same words stay two")
    func overlays() throws {
        let files = try ManifestFiles([
            "a/base.yaml": "overlays: [tree, ../b/tree]\n", "a/tree/": "", "b/tree/": "",
            "b/m.yaml": "product: x\ninclude: [../a/base.yaml]\noverlays: [tree, ../a/tree]\n",
        ])
        let manifest = try files.load("b/m.yaml")
        #expect(manifest.overlays.map(\.name) == ["tree", "../b/tree"])
        #expect(manifest.overlays.map(\.directory) == [files.path.appending("a/tree"), files.path.appending("b/tree")])
    }

    @Test("a manifest that is reached by two ways counts once, below what was laid over it")
    func diamond() throws {
        let files = try ManifestFiles([
            "base.yaml": "etc: persistent\n", "a.yaml": "include: [base.yaml]\netc: ephemeral\n",
            "b.yaml": "include: [base.yaml]\n", "m.yaml": "product: x\ninclude: [a.yaml, b.yaml]\n",
        ])
        #expect(try files.load("m.yaml").etc == .ephemeral)
    }

    /// A chain of layers drawn from a small, fixed stream of numbers.
    private static func layers(seed: Int) -> [String] {
        var state = UInt64(seed) &* 0x9E37_79B9_7F4A_7C15 &+ 1
        func next(_ bound: Int) -> Int {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return Int((state >> 33) % UInt64(bound))
        }
        return (0..<3).map { _ in
            var lines = ["product: p\(next(5))"]
            let packages = (0..<next(4)).map { _ in "pkg\(next(6))" }
            if !packages.isEmpty { lines.append("packages: {install: [\(packages.joined(separator: ", "))]}") }
            if next(2) == 0 { lines.append("disk: {slot: \(next(4) + 1) GiB}") }
            if next(2) == 0 { lines.append("boot: {tries: \(next(9) + 1)}") }
            if next(2) == 0 { lines.append("health: [{name: h\(next(2)), unit: u\(next(3)).service}]") }
            return lines.joined(separator: "\n") + "\n"
        }
    }

    @Test("a chain of includes and a list of includes give the same manifest", arguments: 0..<40)
    func associativity(seed: Int) throws {
        let layers = Self.layers(seed: seed)
        let files = try ManifestFiles([
            "a.yaml": layers[0], "b.yaml": layers[1], "ab.yaml": layers[1] + "include: [a.yaml]\n",
            "chain.yaml": layers[2] + "include: [ab.yaml]\n", "list.yaml": layers[2] + "include: [a.yaml, b.yaml]\n",
        ])
        let chain = try files.load("chain.yaml")
        #expect(try files.load("list.yaml").digest == chain.digest)
        // Laying the same over itself changes nothing.
        let twice = try ManifestFiles(["a.yaml": layers[0], "m.yaml": layers[0] + "include: [a.yaml]\n"])
        #expect(try twice.load("m.yaml").digest == twice.load("a.yaml").digest)
    }

    @Test("the digest depends on what is said, not on where, in which order or with which comments")
    func digest() throws {
        let one = try ManifestFiles([
            "m.yaml": "product: x\netc: ephemeral\noverlays: [o]\n", "o/": "",
            "n.yaml": "product: x\netc: persistent\n",
        ])
        let two = try ManifestFiles([
            "sub/m.yaml": "# why\noverlays: [o]\netc: 'ephemeral'\nproduct: x\n", "sub/o/": "",
        ])
        let digest = try one.load("m.yaml").digest
        #expect(try two.load("sub/m.yaml").digest == digest)
        #expect(try one.load("n.yaml").digest != digest)
    }

    @Test("what is shown is a manifest that means the same, and every value has its origin")
    func show() throws {
        let repository = FilePath(#filePath).removingLastComponent().removingLastComponent().removingLastComponent()
        let merged = try MergedManifest.load(repository.appending("manifests/containerd.yaml")).get()
        let original = try Manifest(merged, source: "m.yaml")
        // Relative paths mean something else elsewhere.
        let text = merged.tree.annotatedText.replacing("../overlays", with: "\(repository)/overlays")
        let again = try ManifestFiles(["m.yaml": text]).load("m.yaml")
        #expect(again.packages == original.packages)
        #expect(again.kernel == original.kernel)
        #expect(again.health == original.health)
        #expect(again.overlays.map(\.directory) == original.overlays.map(\.directory))
        #expect(again.units == original.units)
        let origins = Dictionary(merged.tree.origins()) { first, _ in first }
        #expect(origins["product"]?.hasSuffix("containerd.yaml:3:10") == true)
        #expect(origins["etc"]?.contains("base.yaml:") == true)
        #expect(origins["initrd.modules"] == nil && origins["packages.recommends"] == "default")
    }
}
