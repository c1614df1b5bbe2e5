import Fault
import FileTree
import Manifest

/// What the manifest names and only the whole image can have: units and programs of health checks, gates
/// and drains, users' shells, time zones. One that is missing would fail on each host.
struct NamedTargets {
    let manifest: Manifest

    /// Kinds of units that come from packages. Those of other kinds may be made at boot: mounts, devices, scopes.
    private static let kinds = ["service", "socket", "timer", "path", "target"]
    private static let unitDirectories = [
        "usr/lib/systemd/system", "usr/local/lib/systemd/system", "etc/systemd/system",
    ]

    /// Refuses what `tree` does not have.
    func check(_ tree: FileTree) throws(AssemblyFault) {
        for user in manifest.users {
            guard let shell = user.shell else { continue }
            try check(
                program: shell, "the user '\(user.name)' has the shell",
                at: manifest.place(of: "users", named: user.name, key: "shell"), tree)
        }
        for entry in manifest.firstBoot {
            guard let program = entry.run.first else { continue }
            try check(
                program: program, "'first_boot' runs",
                at: manifest.place(of: "first_boot", named: entry.remove, by: "remove", key: "run"), tree)
        }
        try checkRestart(tree)
        for check in manifest.health {
            switch check.probe {
            case .unit(let unit):
                try self.check(
                    unit: unit, "the health check '\(check.name)' looks at",
                    at: manifest.place(ofHealthCheck: check.name, key: "unit") ?? .named(check.name), tree)
            case .command(let arguments):
                guard let program = arguments.first else { continue }
                try self.check(
                    program: program, "the health check '\(check.name)' runs",
                    at: manifest.place(ofHealthCheck: check.name, key: "command"), tree)
            case .http, .tcp, .containerd: break
            }
        }
    }

    private func checkRestart(_ tree: FileTree) throws(AssemblyFault) {
        let zone = manifest.update.timeZone
        if zone != "UTC", tree.resolve("/usr/share/zoneinfo/\(zone)") == nil {
            throw AssemblyFault(
                .missing, "'update.time_zone' is '\(zone)', and the image has no /usr/share/zoneinfo/\(zone)",
                at: manifest.place(of: "update.time_zone"),
                remedy: "add 'tzdata' to 'packages.install', or correct the name")
        }
        for gate in manifest.update.gates {
            let subject = "the gate '\(gate.name)'"
            func place(_ key: String) -> Place? { manifest.place(of: "update.gates", named: gate.name, key: key) }
            switch gate.question {
            case .command(let words):
                guard let program = words.first else { continue }
                try check(program: program, "\(subject) runs", at: place("command"), tree)
            case .unit(let unit): try check(unit: unit, "\(subject) starts", at: place("unit"), tree)
            case .file, .http: break
            }
        }
        for drain in manifest.update.drains {
            let subject = "the drain '\(drain.name)'"
            func place(_ key: String) -> Place? { manifest.place(of: "update.drains", named: drain.name, key: key) }
            for (action, keys) in [(drain.action, ("command", "unit")), (drain.undo, ("undo", "undo_unit"))] {
                switch action {
                case .command(let words)?:
                    guard let program = words.first else { continue }
                    try check(program: program, "\(subject) runs", at: place(keys.0), tree)
                case .unit(let unit)?: try check(unit: unit, "\(subject) starts", at: place(keys.1), tree)
                case nil: break
                }
            }
        }
    }

    private func check(
        unit: String, _ subject: String, at place: Place?, _ tree: FileTree
    ) throws(AssemblyFault) {
        guard let kind = unit.split(separator: ".").last, Self.kinds.contains(String(kind)) else { return }
        let file = Customization.template(of: unit)
        let names = Set(
            Self.unitDirectories.flatMap { directory in
                tree.descendants(of: directory).map { String($0.dropFirst(directory.utf8.count + 1)) }
            })
        let isScript = unit.hasSuffix(".service") && tree["etc/init.d/\(unit.dropLast(8))"] != nil
        guard !names.contains(unit), !names.contains(file), !isScript else { return }
        throw AssemblyFault(
            .missing, "\(subject) the unit '\(unit)', and no package or overlay has it", at: place,
            remedy: Spelling.nearest(to: unit, among: names.filter { !$0.contains("/") }).map {
                "did you mean '\($0)'?"
            }
                ?? "add the package that has it to 'packages.install'")
    }

    private func check(
        program: String, _ subject: String, at place: Place?, _ tree: FileTree
    ) throws(AssemblyFault) {
        // What is elsewhere, below /var or /run, may come to be on the host.
        guard ["/usr/", "/bin/", "/sbin/", "/lib"].contains(where: program.hasPrefix) else { return }
        let what: String
        switch tree.resolve(program).flatMap({ tree[$0] }) {
        case nil: what = "no package or overlay has it"
        case let inode?:
            guard case .regular = inode.kind, inode.permissions & 0o111 != 0 else {
                what = "it is not an executable file"
                break
            }
            return
        }
        throw AssemblyFault(
            .missing, "\(subject) '\(program)', and \(what)", at: place,
            remedy: "correct its path, or add the package that has it to 'packages.install'")
    }
}
