import Fault
import FileIO
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

    func apply() async throws(AssemblyFault) {
        let directory = try RootDirectory(root)
        for (path, text) in HostUnits.files(longestCheck: manifest.health.map(\.timeout).max() ?? 0) {
            try directory.replaceFile(path, with: text)
        }
        if manifest.etc == .persistent {
            try directory.replaceFile(HostUnits.varUnderEtc.path, with: HostUnits.varUnderEtc.text)
        }
        try writeAccounts(into: directory)
        // Accounts first: overlays and files may be owned by them.
        try await sandbox.run("make the users and groups", ["/usr/bin/systemd-sysusers"])
        let accounts = try Accounts(root: root)
        for overlay in manifest.overlayDirectories {
            try OverlayCopy(root: directory, accounts: accounts).copy(overlay)
        }
        for file in manifest.files {
            try directory.replaceFile(
                String(file.path.dropFirst()), with: Array(file.content.utf8), permissions: file.mode,
                owner: try accounts.user(file.owner, for: file.path),
                group: try accounts.group(file.group, for: file.path))
        }
        try AgentFiles(manifest: manifest).write(into: directory, agent: agent)
        try writeIdentity(into: directory)
        try writeVarPartition(into: directory)
        try await applyUnits(directory)
    }

    private func writeAccounts(into directory: RootDirectory) throws(AssemblyFault) {
        var lines: [String] = []
        func quoted(_ text: String?) -> String { text.map { "\"\($0)\"" } ?? "-" }
        for group in manifest.groups {
            lines.append("g \(group.name) \(group.gid.map(String.init) ?? "-")")
            lines += group.members.map { "m \($0) \(group.name)" }
        }
        for user in manifest.users {
            lines.append(
                "u \(user.name) \(user.uid.map(String.init) ?? "-") \(quoted(user.gecos)) \(user.home ?? "-") \(user.shell ?? "-")"
            )
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
            HostUnits.enabled.map { "enable \($0)" } + units.enable.map { "enable \($0)" }
            + units.disable.map { "disable \($0)" } + units.presets
        try directory.replaceFile(
            "usr/lib/systemd/system-preset/10-ballast.preset", with: lines.map { $0 + "\n" }.joined())
        let present = try unitFiles()
        for unit in units.enable where !present.contains(Self.template(of: unit)) {
            throw AssemblyFault(
                .missing, "the manifest enables the unit '\(unit)', and no package or overlay has it",
                at: manifest.place(of: "units.enable", element: unit) ?? .named(unit),
                remedy: Spelling.nearest(to: unit, among: present).map { "did you mean '\($0)'?" }
                    ?? "add the package that has it to 'packages.install'")
        }
        var named = HostUnits.enabled + units.enable + units.disable.filter { present.contains(Self.template(of: $0)) }
        for line in units.presets {
            guard let pattern = line.split(separator: " ").dropFirst().first else { continue }
            let patterns = PathPatterns(["/" + pattern])
            named += present.filter { !$0.contains("@.") && patterns.excludes($0, isDirectory: false) }.sorted()
        }
        try await sandbox.run("apply the unit presets", ["/usr/bin/systemctl", "--root=/", "preset"] + named)
        if !units.mask.isEmpty {
            try await sandbox.run("mask units", ["/usr/bin/systemctl", "--root=/", "mask"] + units.mask)
        }
    }

    static func template(of unit: String) -> String {
        guard let at = unit.firstIndex(of: "@"), let dot = unit.lastIndex(of: "."), at < dot else { return unit }
        return String(unit[...at] + unit[dot...])
    }

    private func unitFiles() throws(AssemblyFault) -> Set<String> {
        var names: Set<String> = []
        for directory in ["usr/lib/systemd/system", "etc/systemd/system"] {
            names.formUnion((try? root.appending(directory).directoryEntries()) ?? [])
        }
        return names
    }
}
