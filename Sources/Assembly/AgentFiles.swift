import Fault
import FileIO
package import JSON
package import Manifest
public import SystemPackage

/// What the host's agent reads in the image: its settings, its health checks and the root metadata it trusts first.
package struct AgentFiles {
    package static let settingsPath = "usr/lib/ballast/agent.json"
    static let trustedRootPath = "usr/lib/ballast/root.json"

    let manifest: Manifest

    package init(manifest: Manifest) { self.manifest = manifest }

    /// The settings, format 1.
    package var settings: JSONValue {
        let update = manifest.update
        let addresses = (update.url.map { [$0] } ?? []) + update.mirrors
        return [
            "format": 1, "product": .string(manifest.product), "architecture": .string(manifest.architecture.rawValue),
            "repository": .array(addresses.map { .string($0) }), "transfer": Self.transfer(update.transfer),
            "channel": .string(update.channel),
            "poll": [
                "interval_seconds": .integer(Int64(update.interval)), "jitter_seconds": .integer(Int64(update.jitter)),
            ],
            "reboot": .string(update.reboot.rawValue), "probation_seconds": .integer(Int64(update.probation)),
            "restart": RestartUnits(update: update).settings, "boot": ["tries": .integer(Int64(manifest.boot.tries))],
            "health": .array(manifest.health.map(Self.check)),
        ]
    }

    private static func transfer(_ transfer: Manifest.Transfer) -> JSONValue {
        var members: [String: JSONValue] = ["no_proxy": .array(transfer.noProxy.map { .string($0) })]
        let texts = [
            "proxy": transfer.proxy, "ca_certificates": transfer.authorities,
            "client_certificate": transfer.certificate, "client_key": transfer.key,
        ]
        for (name, text) in texts { if let text { members[name] = .string(text) } }
        if let bandwidth = transfer.bandwidth { members["bytes_per_second"] = .integer(bandwidth) }
        return .object(members)
    }

    private static func check(_ check: Manifest.HealthCheck) -> JSONValue {
        var members: [String: JSONValue] = [
            "name": .string(check.name), "timeout_seconds": .integer(Int64(check.timeout)),
            "blame": .string(check.blame.rawValue),
        ]
        switch check.probe {
        case .unit(let unit): members["unit"] = .string(unit)
        case .command(let words): members["command"] = .array(words.map { .string($0) })
        case .http(let address): members["http"] = .string(address)
        case .tcp(let address): members["tcp"] = .string(address)
        case .containerd: members["containerd"] = true
        }
        return .object(members)
    }

    /// Writes them into the root, with the agent's executables.
    func write(into root: RootDirectory, agent: AgentExecutables) throws(AssemblyFault) {
        try root.replaceFile(Self.settingsPath, with: settings.text(inlineDepth: 2))
        if let trusted = manifest.update.trustedRoot {
            let bytes = try attempt("cannot read the trusted root metadata") { try trusted.contents(limit: 1 << 20) }
            try root.replaceFile(Self.trustedRootPath, with: bytes)
        }
        for (path, file) in [(HostUnits.agentPath, agent.daemon), (HostUnits.controlPath, agent.control)] {
            let bytes = try attempt(
                "cannot read the agent's executable", at: .path(file.string)
            ) { try file.contents(limit: 256 << 20) }
            try root.replaceFile(String(path.dropFirst()), with: bytes, permissions: 0o755)
        }
    }
}

/// The host's executables, which an image gets as inputs like its packages.
public struct AgentExecutables: Sendable, Hashable {
    /// `ballastd`.
    public let daemon: FilePath
    /// `ballastctl`.
    public let control: FilePath

    /// Executables built for the image's architecture.
    public init(daemon: FilePath, control: FilePath) {
        self.daemon = daemon
        self.control = control
    }
}
