import Fault
import FileIO
import Glibc
import Manifest
import SystemPackage

/// Everything the manifest says beyond packages, written into the configured root: overlays, files, accounts, units, identity
/// and the agent.
struct Customization {
    let manifest: Manifest
    let identity: ImageIdentity
    let agent: AgentExecutables
    let root: FilePath
    let sandbox: Sandbox
    let log: InstallationLog

    func apply() async throws(AssemblyFault) {
        let directory = try RootDirectory(root)
        for (path, text) in HostUnits.files(for: manifest) {
            try directory.replaceFile(
                path, with: text, permissions: path == HostUnits.generatorPath ? 0o755 : 0o644)
        }
        try writeAccounts(into: directory, isNumbered: false)
        // Accounts first: overlays and files may be owned by them.
        try await sandbox.run("make the users and groups", ["/usr/bin/systemd-sysusers"])
        try writeAccounts(into: directory, isNumbered: true)
        let accounts = try Accounts(in: directory)
        for overlay in manifest.overlays {
            try OverlayCopy(root: directory, accounts: accounts).copy(overlay.directory)
        }
        for file in manifest.files {
            func place(_ key: String) -> Place {
                manifest.place(of: "files", named: file.path, by: "path", key: key) ?? .path(file.path)
            }
            if try directory.isDirectory(file.path) {
                throw AssemblyFault(
                    .invalidRequest, "'\(file.path)' is a directory in the image, and no file can take its place",
                    at: place("path"), remedy: "name a file below it")
            }
            try directory.replaceFile(
                String(file.path.dropFirst()), with: Array(file.content.utf8), permissions: file.mode,
                owner: try accounts.user(file.owner, at: place("owner")),
                group: try accounts.group(file.group, at: place("group")))
        }
        try await runScripts(directory)
        try AgentFiles(manifest: manifest).write(into: directory, agent: agent)
        // What the agent itself does not understand, or cannot even run to say so, would fail on each host.
        try await sandbox.run("have the agent read its settings", [HostUnits.agentPath, "settings"])
        try writeIdentity(into: directory)
        try writeVarPartition(into: directory)
        try await applyUnits(directory)
    }

    /// Runs the manifest's own steps in the tree.
    private func runScripts(_ directory: RootDirectory) async throws(AssemblyFault) {
        for (number, script) in manifest.scripts.enumerated() {
            try checkInterpreter(of: script, in: directory)
            var sandbox = sandbox
            let path = "/run/script-\(number + 1)"
            sandbox.shown.append(.init(path: path, file: script.file))
            sandbox.environment = ["IMAGE_ID": identity.product, "IMAGE_VERSION": identity.version]
            do {
                try await SandboxStubs(root: directory, work: sandbox.work).keepServicesDown {
                    try await sandbox.run(
                        "run the script '\(script.name)'", [path], log: log, remedy: "correct the script")
                }
            } catch let error as AssemblyFault {
                throw AssemblyFault(
                    error.code, error.message, at: script.place, remedy: error.remedy, cause: error.cause)
            } catch {
                throw .during("cannot run the script '\(script.name)'", error)
            }
        }
    }

    /// Refuses a script whose first line names a program that the image does not have: the kernel would only say that the script
    /// is not there (execve(2)).
    private func checkInterpreter(
        of script: Manifest.Script, in directory: RootDirectory
    ) throws(AssemblyFault) {
        let head = try attempt("cannot read the script '\(script.name)'", at: script.place) {
            try OpenFile(reading: script.file).bytes(
                at: 0, count: Int(min(256, FileStatus(following: script.file).size)))
        }
        guard head.starts(with: "#!".utf8) else { return }
        let line = String(decoding: head.dropFirst(2).prefix { $0 != UInt8(ascii: "\n") }, as: UTF8.self)
        guard let program = line.split(whereSeparator: { $0 == " " || $0 == "\t" }).first.map(String.init) else {
            return
        }
        if program.hasSuffix("\r") {
            throw AssemblyFault(
                .invalidRequest, "the script '\(script.name)' has CRLF line ends", at: script.place,
                remedy: "save it with LF line ends")
        }
        guard try directory.status(program, following: true) == nil else { return }
        throw AssemblyFault(
            .missing, "the script '\(script.name)' needs '\(program)', which no package or overlay has",
            at: script.place, remedy: "add the package that has it to 'packages.install' or 'packages.build_only'")
    }

    /// Declares the manifest's users and groups to systemd-sysusers(8).
    ///
    /// - Parameter isNumbered: whether with all numbers that they are to have. While the tree is built some may belong to
    ///   somebody else, until `AccountNumbers` has changed them all; what is free they have from the beginning.
    private func writeAccounts(into directory: RootDirectory, isNumbered: Bool) throws(AssemblyFault) {
        let present = try Accounts(in: directory)
        let taken = Set(present.users.values).union(present.groups.values)
        var lines: [String] = []
        func quoted(_ text: String?) -> String { text.map { "\"\($0)\"" } ?? "-" }
        func shown(_ number: Int?) -> String {
            guard let number, isNumbered || UInt32(exactly: number).map({ !taken.contains($0) }) == true else {
                return "-"
            }
            return String(number)
        }
        for group in manifest.groups {
            lines.append("g \(group.name) \(shown(group.gid))")
            lines += group.members.map { "m \($0) \(group.name)" }
        }
        for user in manifest.users {
            lines.append(
                "u \(user.name) \(shown(user.uid)) \(quoted(user.gecos)) \(user.home ?? "-") \(user.shell ?? "-")")
        }
        guard !lines.isEmpty else { return }
        try directory.replaceFile(
            "usr/lib/sysusers.d/ballast-manifest.conf", with: lines.map { $0 + "\n" }.joined())
    }

    private func writeIdentity(into directory: RootDirectory) throws(AssemblyFault) {
        guard let bytes = try directory.contents("usr/lib/os-release") else {
            throw AssemblyFault(
                .missing, "the image has no os-release", at: .path("/usr/lib/os-release"),
                remedy: "add 'base-files' to 'packages.install'")
        }
        let text = String(decoding: bytes, as: UTF8.self)
        let kept = text.split(separator: "\n").filter { !$0.hasPrefix("IMAGE_ID=") && !$0.hasPrefix("IMAGE_VERSION=") }
        let lines = kept.map(String.init) + ["IMAGE_ID=\(identity.product)", "IMAGE_VERSION=\(identity.version)"]
        try directory.replaceFile("usr/lib/os-release", with: lines.map { $0 + "\n" }.joined())
    }

    private func writeVarPartition(into directory: RootDirectory) throws(AssemblyFault) {
        let text = """
            # Everything that changes. It takes the rest of the disk at the first boot.
            [Partition]
            Type=var
            Label=var
            UUID=\(identity.varPartition.lowercased())
            Format=ext4
            SizeMinBytes=\(manifest.disk.varMinimum)

            """
        try directory.replaceFile("usr/lib/repart.d/50-var.conf", with: text)
    }

    /// Writes the presets and has systemctl apply them, unit by unit, so that what packages enabled by themselves stays.
    private func applyUnits(_ directory: RootDirectory) async throws(AssemblyFault) {
        let units = manifest.units
        let lines =
            HostUnits.enabled(for: manifest).map { "enable \($0)" } + units.enable.map { "enable \($0)" }
            + units.disable.map { "disable \($0)" } + units.presets
        try directory.replaceFile(
            "usr/lib/systemd/system-preset/10-ballast.preset", with: lines.map { $0 + "\n" }.joined())
        let present = try unitFiles(directory)
        for unit in units.enable where !present.contains(Self.template(of: unit)) {
            throw AssemblyFault(
                .missing, "the manifest enables the unit '\(unit)', and no package or overlay has it",
                at: manifest.place(of: "units.enable", element: unit) ?? .named(unit),
                remedy: Spelling.nearest(to: unit, among: present).map { "did you mean '\($0)'?" }
                    ?? "add the package that has it to 'packages.install'")
        }
        for (key, unit) in units.mask.map({ ("mask", $0) }) + units.disable.map({ ("disable", $0) })
        where !present.contains(Self.template(of: unit)) {
            // One that is not in this image at all is no matter; one that is almost there was meant.
            guard let likely = Spelling.nearest(to: unit, among: present, within: 2) else { continue }
            throw AssemblyFault(
                .missing, "no package or overlay has the unit '\(unit)' that the manifest would \(key)",
                at: manifest.place(of: "units.\(key)", element: unit) ?? .named(unit),
                remedy:
                    "did you mean '\(likely)'? Otherwise take it out of 'units.\(key)', with '!remove' where it is included"
            )
        }
        var named =
            HostUnits.enabled(for: manifest) + units.enable
            + units.disable.filter { present.contains(Self.template(of: $0)) }
        for line in units.presets {
            guard let pattern = line.split(separator: " ").dropFirst().first else { continue }
            let patterns = PathPatterns(["/" + pattern])
            named += present.filter { !$0.contains("@.") && patterns.excludes($0) }.sorted()
        }
        let scripts = try scriptUnits(directory)
        try await sandbox.run(
            "apply the unit presets",
            ["/usr/bin/systemctl", "--root=/", "preset"] + named.filter { !scripts.contains($0) })
        // Presets do not reach the scripts of /etc/init.d, which update-rc.d(8) enables.
        for (verb, names) in [("enable", units.enable), ("disable", units.disable)] {
            let named = names.filter(scripts.contains)
            guard !named.isEmpty else { continue }
            try await sandbox.run("\(verb) scripts of /etc/init.d", ["/usr/bin/systemctl", "--root=/", verb] + named)
        }
        try await checkEnabled(units.enable.filter { !scripts.contains($0) }, directory)
        if !units.mask.isEmpty {
            try await sandbox.run("mask units", ["/usr/bin/systemctl", "--root=/", "mask"] + units.mask)
        }
    }

    /// A unit that nothing starts stays as it is when it is enabled, and systemctl says so to nobody.
    private func checkEnabled(_ units: [String], _ directory: RootDirectory) async throws(AssemblyFault) {
        guard !units.isEmpty else { return }
        let text = try await sandbox.run(
            "see which units are enabled",
            ["/bin/sh", "-c", "/usr/bin/systemctl --root=/ is-enabled \"$@\" || true", "sh"] + units)
        for (unit, standing) in zip(units, text.split(separator: "\n")) where standing == "static" {
            if try isLinked(unit, directory) { continue }
            throw AssemblyFault(
                .invalidRequest, "the manifest enables the unit '\(unit)', whose file does not say what starts it",
                at: manifest.place(of: "units.enable", element: unit) ?? .named(unit),
                remedy:
                    "give it a section [Install] with a line such as 'WantedBy=multi-user.target', or take it out of 'units.enable'"
            )
        }
    }

    /// Whether a unit of the image wants or requires `unit`, so that it starts anyway.
    private func isLinked(_ unit: String, _ directory: RootDirectory) throws(AssemblyFault) -> Bool {
        for path in Self.unitDirectories {
            for name in try directory.entries(path) where name.hasSuffix(".wants") || name.hasSuffix(".requires") {
                if try directory.status("\(path)/\(name)/\(unit)") != nil { return true }
            }
        }
        return false
    }

    static func template(of unit: String) -> String {
        guard let at = unit.firstIndex(of: "@"), let dot = unit.lastIndex(of: "."), at < dot else { return unit }
        return String(unit[...at] + unit[dot...])
    }

    /// All units of packages and overlays by name: unit files, and scripts of /etc/init.d, for which
    /// systemd-sysv-generator(8) makes a unit at each boot.
    private func unitFiles(_ directory: RootDirectory) throws(AssemblyFault) -> Set<String> {
        var names = try scriptUnits(directory)
        for path in Self.unitDirectories { names.formUnion(try directory.entries(path)) }
        return names
    }

    /// The units of the scripts of /etc/init.d that no unit file replaces.
    private func scriptUnits(_ directory: RootDirectory) throws(AssemblyFault) -> Set<String> {
        var names: Set<String> = []
        for name in try directory.entries("etc/init.d") {
            guard let status = try directory.status("etc/init.d/\(name)", following: true),
                status.st_mode & S_IFMT == S_IFREG, status.st_mode & 0o111 != 0
            else { continue }
            names.insert("\(name).service")
        }
        for path in Self.unitDirectories { names.subtract(try directory.entries(path)) }
        return names
    }

    private static let unitDirectories = ["usr/lib/systemd/system", "etc/systemd/system"]
}
