import Fault
import FileTree
import Glibc
import Manifest
import SystemPackage

/// What the manifest's own files and overlays bring into the image, with where it was named. Each of it is in the image, or
/// ends the build.
struct BroughtFiles {
    enum Kind {
        case file, directory, other
        /// A directory whose mode and owner the overlay gives.
        case namedDirectory

        var isDirectory: Bool { self == .directory || self == .namedDirectory }
    }

    private struct Source {
        let place: Place?
        let kind: Kind
    }

    private var sources: [String: Source] = [:]
    /// Patterns of what each version has a host make anew, having removed what is there.
    private let renewed: [String]

    /// The paths, without directories whose mode and owner no overlay gives.
    var paths: Set<String> { Set(sources.filter { $0.value.kind != .directory }.keys) }

    init(_ manifest: Manifest) throws(AssemblyFault) {
        renewed = manifest.firstBoot.filter(\.renew).map(\.remove)
        for overlay in manifest.overlays {
            for (path, kind) in try OverlayCopy.paths(of: overlay.directory)
            where kind != .directory || sources[path] == nil {
                sources[path] = Source(place: overlay.place ?? .path(overlay.directory.string), kind: kind)
            }
        }
        for file in manifest.files {
            sources[String(file.path.drop { $0 == "/" })] = Source(
                place: manifest.place(of: "files", named: file.path, by: "path", key: "path"), kind: .file)
        }
    }

    private struct Refusal {
        let paths: [String]
        let reason: String
        let remedy: String
    }

    /// Places that are none of the image's.
    private static let refusals = [
        Refusal(
            paths: ["boot", "efi"], reason: "boot files are on a partition of their own there",
            remedy: "put it below /usr/lib"),
        Refusal(
            paths: ["dev", "proc", "sys"], reason: "a host has a file system of its kernel there", remedy: "take it out"
        ),
        Refusal(
            paths: ["run", "tmp", "var/run", "var/lock", "var/tmp"], reason: "each boot of a host begins it anew",
            remedy: "have a line of tmpfiles.d(5) make it, in a file below /usr/lib/tmpfiles.d"),
        Refusal(
            paths: [
                "etc/machine-id", "var/lib/dbus/machine-id", "var/lib/systemd/random-seed",
                "var/lib/systemd/credential.secret",
            ], reason: "each host has its own", remedy: "take it out"),
        Refusal(
            paths: [
                "etc/mtab", "etc/.updated", "usr/lib/repart.d/50-var.conf", "usr/lib/sysusers.d/ballast-manifest.conf",
                "usr/lib/systemd/system-preset/10-ballast.preset", "usr/lib/tmpfiles.d/ballast.conf",
                VarFactory.settings, VarFactory.firstSettings, AgentFiles.settingsPath, AgentFiles.trustedRootPath,
                String(HostUnits.agentPath.dropFirst()), String(HostUnits.controlPath.dropFirst()),
            ], reason: "the build itself writes it", remedy: "choose another name"),
    ]

    /// Refuses what lies where nothing of an image can be.
    func checkPlaces() throws(AssemblyFault) {
        for (path, source) in sources.sorted(by: { $0.key < $1.key }) {
            func isIn(_ top: String) -> Bool { path == top ? !source.kind.isDirectory : path.hasPrefix(top + "/") }
            for refusal in Self.refusals where refusal.paths.contains(where: isIn) {
                throw fault(path, source, refusal.reason, refusal.remedy)
            }
            guard !VarFactory.left.contains(where: isIn) else {
                throw fault(path, source, "only the build reads it", "take it out")
            }
            if let pattern = renewed.first(where: { Self.covers($0, path) }) {
                throw fault(
                    path, source, "a host's first boot removes what '\(pattern)' of 'first_boot' covers",
                    "choose another path, or a closer pattern")
            }
        }
    }

    /// Whether the pattern is of the path or of a directory that it is in.
    private static func covers(_ pattern: String, _ path: String) -> Bool {
        var prefix = ""
        return path.split(separator: "/").contains { part in
            prefix += "/" + part
            return fnmatch(pattern, prefix, FNM_PATHNAME) == 0
        }
    }

    /// Refuses a finished tree without what was brought.
    func check(_ tree: FileTree) throws(AssemblyFault) {
        for (path, source) in sources.sorted(by: { $0.key < $1.key }) where !source.kind.isDirectory {
            let parts = path.split(separator: "/")
            let directory = parts.dropLast().joined(separator: "/")
            guard let name = parts.last, !isThere(directory, String(name), source.kind, tree) else { continue }
            throw fault(path, source, "a later step of the build has removed or replaced it", "put it elsewhere")
        }
    }

    private func isThere(_ directory: String, _ name: String, _ kind: Kind, _ tree: FileTree) -> Bool {
        let directory = FinishedTree.placeOnHost(of: directory)
        if directory == "var" || directory.hasPrefix("var/") {
            // What is no file is made by a line of tmpfiles.d(5).
            return kind == .other || tree["\(VarFactory.directory)/\(directory)/\(name)"] != nil
        }
        guard let place = tree.resolve(directory) else { return false }
        return tree[place.isEmpty ? name : "\(place)/\(name)"] != nil
    }

    private func fault(_ path: String, _ source: Source, _ reason: String, _ remedy: String) -> AssemblyFault {
        AssemblyFault(
            .invalidRequest, "'/\(path)' would not be in the image: \(reason)", at: source.place ?? .path("/" + path),
            remedy: remedy)
    }
}
