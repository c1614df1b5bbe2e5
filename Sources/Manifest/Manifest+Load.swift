public import Fault
import Glibc
public import SystemPackage
import Terminal

extension Manifest {
    /// Reads the manifest at `path` and all that it includes.
    ///
    /// - Throws: every problem of all files at once: a single one as itself, more as one fault with a line for each.
    public static func load(_ path: FilePath) throws(ManifestFault) -> Manifest {
        switch MergedManifest.load(path) {
        case .success(let merged): try Manifest(merged, source: path)
        case .failure(let problems): throw problems.fault
        }
    }

    /// The typed form of a merged manifest.
    public init(_ merged: MergedManifest, source: FilePath) throws(ManifestFault) {
        let root = TypedNode(node: merged.tree, path: "")
        product = try root.string("product")
        architecture = try root.choice("architecture")
        distribution = try Self.distribution(root.below("distribution"))
        packages = try Self.packages(root.below("packages"))
        let kernel = try root.below("kernel")
        self.kernel = Kernel(
            package: try kernel.string("package"), commandLine: kernel.strings("command_line"),
            microcode: try kernel.bool("microcode"),
            modules: kernel.strings("modules"))
        let initrd = try root.below("initrd")
        self.initrd = Initrd(
            modules: initrd.strings("modules"), files: initrd.strings("files"), units: initrd.strings("units"))
        debconf = root.strings("debconf")
        overlays = root.list("overlays").compactMap { overlay in
            guard let name = overlay.node.text, let directory = overlay.absolutePath else { return nil }
            return Overlay(name: name, directory: directory, place: overlay.node.origin?.place)
        }
        files = try root.map("files") { file throws(ManifestFault) in
            InlineFile(
                path: try file.string("path"), content: try file.string("content"),
                mode: UInt16(try file.string("mode"), radix: 8) ?? 0o644, owner: try file.string("owner"),
                group: try file.string("group"))
        }
        scripts = root.list("scripts").compactMap { script in
            guard let name = script.node.text, let file = script.absolutePath else { return nil }
            return Script(name: name, file: file, place: script.node.origin?.place)
        }
        let units = try root.below("units")
        self.units = Units(
            enable: units.strings("enable"), disable: units.strings("disable"), mask: units.strings("mask"),
            presets: units.strings("presets"))
        users = try root.map("users") { user throws(ManifestFault) in
            User(
                name: try user.string("name"), uid: user.optionalInteger("uid"), gecos: user.optionalString("gecos"),
                home: user.optionalString("home"), shell: user.optionalString("shell"))
        }
        groups = try root.map("groups") { group throws(ManifestFault) in
            Group(
                name: try group.string("name"), gid: group.optionalInteger("gid"), members: group.strings("members"))
        }
        try Self.requireDistinct(root.list("users"), "uid")
        try Self.requireDistinct(root.list("groups"), "gid")
        firstBoot = try root.map("first_boot") { entry throws(ManifestFault) in try Self.firstBoot(entry) }
        privateKeys = root.strings("private_keys")
        etc = try root.choice("etc")
        let disk = try root.below("disk")
        self.disk = Disk(
            esp: try disk.bytes("esp"), slot: try disk.bytes("slot"), varMinimum: try disk.bytes("var_minimum"),
            sectorSize: try disk.integer("sector_size"))
        health = try root.map("health") { check throws(ManifestFault) in
            HealthCheck(
                name: try check.string("name"), timeout: try check.seconds("timeout"), probe: try Self.probe(check),
                blame: try check.choice("blame"))
        }
        update = try Self.update(root.below("update"))
        let boot = try root.below("boot")
        self.boot = Boot(
            tries: try boot.integer("tries"), timeout: try boot.seconds("timeout"),
            watchdog: try boot.seconds("watchdog"))
        digest = merged.digest
        self.source = source
        tree = merged.tree
    }

    private static func distribution(_ node: TypedNode) throws(ManifestFault) -> Distribution {
        Distribution(
            release: try node.string("release"), suites: node.strings("suites"), components: node.strings("components"),
            archives: try node.map("archives") { archive throws(ManifestFault) in
                Archive(
                    name: try archive.string("name"), uri: try archive.string("uri"),
                    suite: try archive.string("suite"),
                    components: archive.strings("components"), signedBy: try archive.path("signed_by"),
                    packages: archive.strings("packages"), priority: archive.optionalInteger("priority"),
                    place: archive.node["name"]?.origin?.place)
            })
    }

    private static func packages(_ node: TypedNode) throws(ManifestFault) -> Packages {
        Packages(
            install: node.strings("install"),
            local: node.list("local").compactMap { entry in
                guard let name = entry.node.text, let path = entry.absolutePath else { return nil }
                return LocalPattern(name: name, path: path, place: entry.node.origin?.place)
            }, buildOnly: node.strings("build_only"), remove: node.strings("remove"),
            excludedPaths: node.strings("exclude_paths"), installsRecommends: try node.bool("recommends"))
    }

    private static func firstBoot(_ entry: TypedNode) throws(ManifestFault) -> FirstBoot {
        let (run, renew) = (entry.strings("run"), try entry.bool("renew"))
        guard !renew || !run.isEmpty else {
            throw ManifestFault(
                .badValue, "'renew' is true, and there is no 'run' that would make the files anew",
                at: entry.node["renew"]?.origin?.place, remedy: "say under 'run' what makes them")
        }
        return FirstBoot(remove: try entry.string("remove"), run: run, renew: renew)
    }

    private static func update(_ node: TypedNode) throws(ManifestFault) -> Update {
        let update = Update(
            url: node.optionalString("url"), mirrors: node.strings("mirrors"),
            transfer: try Self.transfer(node.below("transfer")), channel: try node.string("channel"),
            interval: try node.seconds("interval"), jitter: try node.seconds("jitter"),
            reboot: try node.choice("reboot"), probation: try node.seconds("probation"),
            windows: try node.map("windows") { window throws(ManifestFault) in
                let days = window.strings("days")
                return Window(
                    days: days.isEmpty ? Window.dayNames : days, start: try window.string("start"),
                    length: try window.seconds("length"))
            }, timeZone: try node.string("time_zone"),
            gates: try node.map("gates") { gate throws(ManifestFault) in
                Gate(
                    name: try gate.string("name"), timeout: try gate.seconds("timeout"),
                    question: try Self.question(gate))
            }, drains: try node.map("drains") { drain throws(ManifestFault) in try Self.drain(drain) },
            trustedRoot: node.optional("trusted_root")?.absolutePath)
        if update.url != nil, update.trustedRoot == nil {
            throw ManifestFault(
                .badValue, "'update.url' is given without 'update.trusted_root', so hosts would trust no repository",
                at: node.node["url"]?.origin?.place,
                remedy: "make the repository with 'ballast repo init', and name its root metadata")
        }
        if update.url == nil, !update.mirrors.isEmpty {
            throw ManifestFault(
                .badValue, "'update.mirrors' is given without 'update.url'", at: node.node["mirrors"]?.origin?.place,
                remedy: "name the repository's own address there")
        }
        return update
    }

    private static func transfer(_ node: TypedNode) throws(ManifestFault) -> Transfer {
        let (certificate, key) = (node.optionalString("client_certificate"), node.optionalString("client_key"))
        guard (certificate == nil) == (key == nil) else {
            throw ManifestFault(
                .badValue, "'client_certificate' and 'client_key' belong together",
                at: (node.node["client_certificate"] ?? node.node["client_key"])?.origin?.place,
                remedy: "give both or neither")
        }
        return Transfer(
            proxy: node.optionalString("proxy"), noProxy: node.strings("no_proxy"),
            bandwidth: node.optional("bandwidth") == nil ? nil : try node.bytes("bandwidth"),
            authorities: node.optionalString("ca_certificates"), certificate: certificate, key: key)
    }

    private static func question(_ gate: TypedNode) throws(ManifestFault) -> Gate.Question {
        if let unit = gate.optionalString("unit") { return .unit(unit) }
        if let file = gate.optionalString("file") {
            let hidden = ["/tmp", "/var/tmp", "/home", "/root", "/run/user"]
            guard let directory = hidden.first(where: { file == $0 || file.hasPrefix($0 + "/") }) else {
                return .file(file)
            }
            throw ManifestFault(
                .badValue, "the agent does not see \(file): its \(directory) is its own",
                at: gate.node["file"]?.origin?.place, remedy: "take another place, such as /run")
        }
        if let address = gate.optionalString("http") { return .http(address) }
        return .command(gate.strings("command"))
    }

    private static func drain(_ drain: TypedNode) throws(ManifestFault) -> Drain {
        let hasCommands = drain.optional("command") != nil
        let (own, other) = hasCommands ? ("undo", "undo_unit") : ("undo_unit", "undo")
        guard drain.optional(other) == nil else {
            throw ManifestFault(
                .badValue, "'\(other)' is given beside '\(hasCommands ? "command" : "unit")'",
                at: drain.node[other]?.origin?.place, remedy: "give '\(own)' in its place")
        }
        let (name, timeout) = (try drain.string("name"), try drain.seconds("timeout"))
        guard hasCommands else {
            return Drain(
                name: name, timeout: timeout, action: .unit(try drain.string("unit")),
                undo: drain.optionalString("undo_unit").map { .unit($0) })
        }
        let undo = drain.strings("undo")
        return Drain(
            name: name, timeout: timeout, action: .command(drain.strings("command")),
            undo: undo.isEmpty ? nil : .command(undo))
    }

    /// Refuses two accounts with one number.
    private static func requireDistinct(_ accounts: [TypedNode], _ key: String) throws(ManifestFault) {
        var names: [Int: String] = [:]
        for account in accounts {
            guard let number = account.optionalInteger(key), let name = account.optionalString("name") else { continue }
            if let other = names.updateValue(name, forKey: number) {
                throw ManifestFault(
                    .badValue, "'\(name)' has the \(key) \(number), which '\(other)' has",
                    at: account.node[key]?.origin?.place,
                    remedy: "choose another number")
            }
        }
    }

    private static func probe(_ check: TypedNode) throws(ManifestFault) -> HealthCheck.Probe {
        if let unit = check.optionalString("unit") { return .unit(unit) }
        if check.optional("command") != nil { return .command(check.strings("command")) }
        if let address = check.optionalString("http") { return .http(address) }
        if let endpoint = check.optionalString("tcp") { return .tcp(endpoint) }
        guard try check.bool("containerd") else {
            throw ManifestFault(
                .badValue, "'containerd' is false, expected true", at: check.node["containerd"]?.origin?.place,
                remedy: "remove the check instead")
        }
        return .containerd
    }
}

/// A node of the merged tree, read as the type that the schema already made sure of.
private struct TypedNode {
    let node: ManifestNode
    let path: String

    private func fault(_ key: String) -> ManifestFault {
        ManifestFault(
            .missingKey, "'\(path.isEmpty ? key : "\(path).\(key)")' has no value", at: node.origin?.place)
    }

    func optional(_ key: String) -> TypedNode? {
        node[key].map { TypedNode(node: $0, path: path.isEmpty ? key : "\(path).\(key)") }
    }

    func below(_ key: String) throws(ManifestFault) -> TypedNode {
        guard let child = optional(key) else { throw fault(key) }
        return child
    }

    func optionalString(_ key: String) -> String? { node[key]?.text }

    func string(_ key: String) throws(ManifestFault) -> String {
        guard let text = node[key]?.text else { throw fault(key) }
        return text
    }

    func optionalInteger(_ key: String) -> Int? {
        if case .integer(let value) = node[key]?.content { Int(exactly: value) } else { nil }
    }

    func integer(_ key: String) throws(ManifestFault) -> Int {
        guard let value = optionalInteger(key) else { throw fault(key) }
        return value
    }

    func bool(_ key: String) throws(ManifestFault) -> Bool {
        guard case .boolean(let value) = node[key]?.content else { throw fault(key) }
        return value
    }

    func choice<Choice: RawRepresentable<String>>(_ key: String) throws(ManifestFault) -> Choice {
        guard let choice = Choice(rawValue: try string(key)) else { throw fault(key) }
        return choice
    }

    func path(_ key: String) throws(ManifestFault) -> FilePath {
        guard let path = optional(key)?.absolutePath else { throw fault(key) }
        return path
    }

    func bytes(_ key: String) throws(ManifestFault) -> Int64 {
        guard let bytes = Quantity.bytes(try string(key)) else { throw fault(key) }
        return bytes
    }

    func seconds(_ key: String) throws(ManifestFault) -> Int {
        guard let seconds = Quantity.seconds(try string(key)) else { throw fault(key) }
        return seconds
    }

    func list(_ key: String) -> [TypedNode] {
        (node[key]?.elements ?? []).enumerated().map { TypedNode(node: $1, path: "\(path).\(key)[\($0)]") }
    }

    func strings(_ key: String) -> [String] { list(key).compactMap(\.node.text) }

    func map<Element>(
        _ key: String, _ transform: (TypedNode) throws(ManifestFault) -> Element
    ) throws(ManifestFault) -> [Element] {
        var elements: [Element] = []
        for child in list(key) { elements.append(try transform(child)) }
        return elements
    }

    /// A path of the build machine: relative to the file that names it, and absolute from here on.
    var absolutePath: FilePath? {
        guard let text = node.text, let origin = node.origin else { return nil }
        return origin.resolve(text).absolute
    }
}

extension FilePath {
    /// This path from the root, seen from the working directory of now.
    fileprivate var absolute: FilePath {
        guard isRelative, let directory = getcwd(nil, 0) else { return self }
        defer { free(directory) }
        return FilePath(platformString: directory).pushing(self).lexicallyNormalized()
    }
}
