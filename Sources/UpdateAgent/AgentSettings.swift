public import Fault
import FileIO
import JSON
import Release
public import SystemPackage

/// What the image, and over it the operator, says about updates on this host: format 1 of `agent.json`.
public struct AgentSettings: Sendable, Hashable {
    /// What happens when an update is ready to boot.
    public enum RebootPolicy: String, Sendable, Hashable, CaseIterable {
        /// The host restarts by itself, as soon as nothing holds that back.
        case immediate
        /// The host waits for an operator.
        case manual
    }

    /// The most tries that a version can have.
    static let triesLimit = 9

    /// The product.
    public var product: String
    /// Debian's name of the architecture.
    public var architecture: String
    /// The addresses of the repository and of its mirrors, the first one to ask first, each without a slash at its end.
    public var mirrors: [String]
    /// How they are reached.
    public var transfer: TransferSettings
    /// The channel.
    public var channel: String
    /// Seconds between two looks; at least 1.
    public var interval: Int64
    /// The most seconds that are added to the interval at random.
    public var jitter: Int64
    /// What happens when an update is ready to boot.
    public var reboot: RebootPolicy
    /// How often a version may try to prove itself.
    public var tries: Int
    /// Seconds for which the health checks go on after a new version has passed them.
    public var probation: Int64
    /// When the host may restart, and what is asked and done before.
    public var restart = RestartSettings()
    /// What must hold before a boot counts as good.
    public var health: [HealthCheck]
    /// The disk, where it is not the one that the root file system is on.
    public var disk: FilePath?
    /// Where the EFI system partition is mounted, if it is neither /efi nor /boot.
    public var bootPartition: FilePath?

    /// The settings of the image at `paths`, with those of the operator over them.
    ///
    /// - Returns: the settings, and what is wrong with the operator's, which are then without effect.
    public static func load(_ paths: HostPaths) throws(UpdateAgentFault) -> (settings: AgentSettings, problem: String?)
    {
        let image: JSONValue
        let settings: AgentSettings
        do throws(JSONFault) {
            image = try document(paths.settings)
            settings = try AgentSettings(parsing: JSONCursor(image, source: paths.settings.string))
        } catch {
            throw UpdateAgentFault(
                .invalid, "the image's settings cannot be used", remedy: "install an image that 'ballast build' made",
                cause: error)
        }
        guard paths.overlay.exists else { return (settings, nil) }
        // A slip of the pen in /etc must not take away the way to a better version, nor what else is said there.
        do throws(JSONFault) {
            let overlay = try document(paths.overlay)
            guard case .object = overlay else {
                throw JSONCursor(overlay, source: paths.overlay.string).unexpected("expected an object")
            }
            let (merged, problems) = merge(overlay, over: image, source: paths.overlay.string)
            let problem =
                problems.isEmpty
                ? nil
                : "of the settings in \(paths.overlay) these are without effect: "
                    + problems.map(\.fault.message).joined(separator: "; ")
            var result = try AgentSettings(parsing: JSONCursor(merged, source: paths.overlay.string))
            let ofRestart = problems.filter { $0.concern != .nothing }
            let first = ofRestart.first { $0.concern == .restarts } ?? ofRestart.first
            result.restart.problem = first.map { "\(paths.overlay): \($0.fault.message)" }
            result.restart.isProblemForeign = first?.concern == .unknown
            return (result, problem)
        } catch {
            var result = settings
            // What it says of restarts cannot be told.
            result.restart.problem = "\(error)"
            return (result, "the settings in \(paths.overlay) are without effect: \(error)")
        }
    }

    /// Member by member, those of inner objects too; what would make the settings unusable is left out.
    private static func merge(
        _ overlay: JSONValue, over image: JSONValue, source: String
    ) -> (merged: JSONValue, problems: [(fault: JSONFault, concern: Concern)]) {
        var merged = image
        var problems: [(fault: JSONFault, concern: Concern)] = []
        for piece in pieces(of: overlay) {
            let candidate = merge(piece, over: merged)
            do throws(JSONFault) {
                try requireSameImage(candidate, as: image, source: source)
                _ = try AgentSettings(parsing: JSONCursor(candidate, source: source))
                merged = candidate
            } catch {
                problems.append((error, concern(of: piece)))
            }
        }
        return (merged, problems)
    }

    private static let known: Set<String> = [
        "format", "product", "architecture", "repository", "channel", "poll", "reboot", "boot", "health", "disk",
        "boot_partition", "transfer", "probation_seconds", "restart",
    ]

    /// What the image is, it alone says: a host that takes itself for another's would leave every version.
    private static func requireSameImage(
        _ candidate: JSONValue, as image: JSONValue, source: String
    ) throws(JSONFault) {
        for key in ["format", "product", "architecture"] where candidate[key] != image[key] {
            throw try JSONCursor(candidate, source: source).field(key).unexpected(
                "it is the image's, and cannot be another here", remedy: "remove it")
        }
    }

    /// What a member that cannot be used is about.
    private enum Concern {
        /// Not when the host may restart.
        case nothing
        /// When the host may restart.
        case restarts
        /// Nobody knows: it may be meant to say when the host may restart.
        case unknown
    }

    private static func concern(of piece: JSONValue) -> Concern {
        guard case .object(let members) = piece, let (key, value) = members.first else { return .restarts }
        guard known.contains(key) else { return .unknown }
        if key == "restart", case .object(let inner) = value, !inner.isEmpty,
            inner.keys.allSatisfy({ !RestartSettings.known.contains($0) })
        {
            return .unknown
        }
        return key == "reboot" || key == "restart" ? .restarts : .nothing
    }

    /// An object as several with one member each.
    private static func pieces(of value: JSONValue) -> [JSONValue] {
        guard case .object(let members) = value, !members.isEmpty else { return [value] }
        return members.sorted { $0.key < $1.key }.flatMap { key, value in pieces(of: value).map { .object([key: $0]) } }
    }

    /// What there is to go by where the image's settings cannot be used: enough to leave it.
    public init(withoutFilesOf paths: HostPaths) throws(UpdateAgentFault) {
        product = try Host.identity(paths).product
        architecture = "amd64"
        mirrors = []
        transfer = TransferSettings()
        channel = "stable"
        interval = 3600
        jitter = 0
        reboot = .manual
        tries = 1
        probation = 0
        health = []
    }

    private static func document(_ path: FilePath) throws(JSONFault) -> JSONValue {
        let bytes: [UInt8]
        do throws(FileIOFault) { bytes = try path.contents(limit: 1 << 20) } catch {
            throw JSONFault(.malformed, "cannot be read", at: .path(path.string), cause: error)
        }
        return try JSONValue(parsing: bytes, source: path.string)
    }

    /// Objects member by member, everything else as a whole; null takes a member away.
    private static func merge(_ upper: JSONValue, over lower: JSONValue) -> JSONValue {
        guard case .object(let new) = upper, case .object(let old) = lower else { return upper }
        return .object(old.merging(new) { below, above in merge(above, over: below) })
    }

    init(parsing cursor: JSONCursor) throws(JSONFault) {
        try cursor.refuseMembers(except: Self.known)
        let format = try cursor.field("format").integer()
        guard format == 1 else { throw cursor.unexpected("format \(format) is not understood") }
        product = try Self.component(cursor.field("product"))
        architecture = try Self.component(cursor.field("architecture"))
        mirrors = []
        if let repository = try cursor.optional("repository") {
            let list = if case .array = repository.value { try repository.elements(atMost: 16) } else { [repository] }
            for address in list { mirrors.append(try Self.address(address)) }
        }
        transfer =
            try cursor.optional("transfer").map { transfer throws(JSONFault) in
                try TransferSettings(parsing: transfer)
            } ?? TransferSettings()
        channel = try Self.component(cursor.field("channel"))
        let poll = try cursor.field("poll")
        try poll.refuseMembers(except: ["interval_seconds", "jitter_seconds"])
        interval = Int64(try poll.field("interval_seconds").integer(in: 1...2_592_000))
        jitter = Int64(try poll.field("jitter_seconds").integer(in: 0...2_592_000))
        let policy = try cursor.field("reboot")
        guard let reboot = RebootPolicy(rawValue: try policy.string()) else {
            throw policy.unexpected("expected 'immediate' or 'manual'")
        }
        self.reboot = reboot
        let boot = try cursor.field("boot")
        try boot.refuseMembers(except: ["tries"])
        tries = try boot.field("tries").integer(in: 1...Self.triesLimit)
        probation = Int64(try cursor.optional("probation_seconds")?.integer(in: 0...86400) ?? 0)
        if let restart = try cursor.optional("restart") { self.restart = try RestartSettings(parsing: restart) }
        health = []
        for check in try cursor.optional("health")?.elements(atMost: 64) ?? [] {
            health.append(try HealthCheck(parsing: check))
        }
        disk = try cursor.optional("disk").map { path throws(JSONFault) in try Self.path(path) }
        bootPartition = try cursor.optional("boot_partition").map { path throws(JSONFault) in try Self.path(path) }
    }

    private static func component(_ cursor: JSONCursor) throws(JSONFault) -> String {
        let text = try cursor.string()
        guard ReleaseName.isComponent(text) else { throw cursor.unexpected("'\(text.excerpt())' is no valid name") }
        return text
    }

    private static func address(_ cursor: JSONCursor) throws(JSONFault) -> String {
        var text = try cursor.string()
        guard text.hasPrefix("http://") || text.hasPrefix("https://"), text.utf8.count <= 2048 else {
            throw cursor.unexpected("expected an address that begins with 'http://' or 'https://'")
        }
        guard hasPlainAuthority(text) else {
            throw cursor.unexpected(
                "expected a host and a port that is a number; a '/' in a password is written as %2F")
        }
        guard !text.utf8.contains(where: { $0 == UInt8(ascii: "?") || $0 == UInt8(ascii: "#") || $0 <= 0x20 }) else {
            throw cursor.unexpected("expected an address without spaces, '?' and '#', to which paths can be added")
        }
        while text.hasSuffix("/") { text.removeLast() }
        return text
    }

    /// Whether what stands between '//' and the next '/' is a host with a port, if any, that is a number: a password with a '/' in it would
    /// be shown to everybody as a part of the path.
    static func hasPlainAuthority(_ address: String) -> Bool {
        guard let slashes = address.firstIndex(of: "/") else { return false }
        let authority = address[slashes...].drop { $0 == "/" }.prefix { $0 != "/" }
        let host = authority.lastIndex(of: "@").map { authority[authority.index(after: $0)...] } ?? authority
        guard let colon = host.lastIndex(of: ":"), host.last != "]" else { return !host.isEmpty }
        return colon != host.startIndex && UInt16(host[host.index(after: colon)...]) != nil
    }

    static func path(_ cursor: JSONCursor) throws(JSONFault) -> FilePath {
        let path = FilePath(try cursor.string())
        guard path.isAbsolute else { throw cursor.unexpected("expected an absolute path") }
        return path
    }
}
