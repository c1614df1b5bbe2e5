import FileIO
public import SystemPackage

/// Where the agent finds and keeps its files.
public struct HostPaths: Sendable {
    /// Before all paths: `/`, except in tests.
    public let prefix: FilePath

    /// The paths below `prefix`.
    public init(prefix: FilePath = "/") {
        self.prefix = prefix
    }

    /// What the image says: settings and health checks.
    var settings: FilePath { prefix.appending("usr/lib/ballast/agent.json") }
    /// What the operator says otherwise.
    var overlay: FilePath { prefix.appending("etc/ballast/agent.json") }
    /// The root metadata that the image brings.
    var trustedRoot: FilePath { prefix.appending("usr/lib/ballast/root.json") }
    /// Product and version.
    var osRelease: FilePath { prefix.appending("usr/lib/os-release") }
    /// The host's own number.
    var machineIdentifier: FilePath { prefix.appending("etc/machine-id") }
    /// All that the agent keeps.
    var state: FilePath { prefix.appending("var/lib/ballast") }
    /// The metadata that was accepted.
    var trust: FilePath { state.appending("trust") }
    /// How far an update has come.
    var staging: FilePath { state.appending("staging.json") }
    /// Where the fetch workers are.
    public var fetchSocket: FilePath { prefix.appending("run/ballast/fetch") }
    /// Where the image's supervisor listens for the outcome of a boot.
    var verdict: FilePath { prefix.appending("dev/virtio-ports/io.ballast.verdict") }

    /// How many times as long as elsewhere everything takes here, from 1 to 100, where the machine says so: an emulator by
    /// the credential `ballast.health_patience` (systemd.system-credentials(7)).
    var patience: Int {
        let file = prefix.appending("run/credentials/@system/ballast.health_patience")
        guard let text = try? file.contents(limit: 16) else { return 1 }
        let number = Int(String(decoding: text, as: UTF8.self).filter { !$0.isWhitespace }) ?? 1
        return min(max(number, 1), 100)
    }

    /// The report of the health checks that `version` failed.
    func healthReport(of version: String) -> FilePath { file(version, "json", in: "health") }

    /// Left by `version` where it could not even run its health checks.
    func leaving(of version: String) -> FilePath { file(version, "left", in: "health") }

    /// The end of the journal of the last boot of `version`.
    func journal(of version: String) -> FilePath { file(version, "log", in: "journal") }

    private func file(_ version: String, _ suffix: String, in directory: String) -> FilePath {
        // A version has no '/', but this one may come from a file that anybody could have written.
        let name = String(version.map { $0 == "/" ? "-" : $0 }) + "." + suffix
        return state.appending(directory).appending(name)
    }
}
