public import BootControl
import Command
import Dispatch
public import Fault
import FileIO
import Glibc
public import Release
import Synchronization
public import SystemPackage
public import Trust

/// The machine that the agent keeps: what runs, its disk, its clock, and how to reboot it. Tests bring their own.
public struct Host: Sendable {
    /// Its files.
    public var paths: HostPaths
    /// What runs, by IMAGE_VERSION.
    public var running: ImageVersion
    /// Another one after each boot.
    public var bootIdentifier: String
    /// A secret number that stays, by which the host has its place in a ramp.
    public var identifier: String
    /// Finds the slots.
    public var slots: @Sendable () throws(BootControlFault) -> any SlotStore
    /// Finds the boot entries' files.
    public var bootFiles: @Sendable () throws(BootControlFault) -> any BootFiles
    /// The entry of this boot as the loader counted it; nil where it counts none.
    public var countedEntry: @Sendable () -> CountedEntry?
    /// Asks for a reboot and returns.
    public var reboot: @Sendable () throws(UpdateAgentFault) -> Void
    /// Starts the agent's own service anew, and returns.
    public var restartAgent: @Sendable () throws(UpdateAgentFault) -> Void
    /// Runs a program as a service of its own to its end, within a number of seconds.
    public var runCommand: @Sendable (_ words: [String], _ seconds: Int) throws(UpdateAgentFault) -> Void
    /// Ends a service, and returns when it has ended.
    public var stopUnit: @Sendable (_ unit: String) throws(UpdateAgentFault) -> Void
    /// Runs a oneshot service to its end, within a number of seconds; throws `notFound` where there is none.
    public var startUnit: @Sendable (_ unit: String, _ seconds: Int) throws(UpdateAgentFault) -> Void
    /// Who holds a block inhibitor lock on shutdown, each as a sentence.
    public var inhibitors: @Sendable () -> [String]
    /// The last lines of the journal of the boot that ran the system with this root hash, or of the one that runs for nil.
    public var journal: @Sendable (_ rootHash: String?) -> [UInt8]
    /// What time it is.
    public var now: @Sendable () -> UTCTime
    /// A number from 0 up to and with the one given.
    public var random: @Sendable (Int64) -> Int64

    /// A host of which everything is given.
    public init(
        paths: HostPaths, running: ImageVersion, bootIdentifier: String, identifier: String,
        slots: @escaping @Sendable () throws(BootControlFault) -> any SlotStore,
        bootFiles: @escaping @Sendable () throws(BootControlFault) -> any BootFiles,
        countedEntry: @escaping @Sendable () -> CountedEntry?,
        reboot: @escaping @Sendable () throws(UpdateAgentFault) -> Void,
        restartAgent: @escaping @Sendable () throws(UpdateAgentFault) -> Void,
        runCommand: @escaping @Sendable ([String], Int) throws(UpdateAgentFault) -> Void,
        stopUnit: @escaping @Sendable (String) throws(UpdateAgentFault) -> Void,
        startUnit: @escaping @Sendable (String, Int) throws(UpdateAgentFault) -> Void,
        inhibitors: @escaping @Sendable () -> [String],
        journal: @escaping @Sendable (String?) -> [UInt8], now: @escaping @Sendable () -> UTCTime,
        random: @escaping @Sendable (Int64) -> Int64
    ) {
        self.paths = paths
        self.running = running
        self.bootIdentifier = bootIdentifier
        self.identifier = identifier
        self.slots = slots
        self.bootFiles = bootFiles
        self.countedEntry = countedEntry
        self.reboot = reboot
        self.restartAgent = restartAgent
        self.runCommand = runCommand
        self.stopUnit = stopUnit
        self.startUnit = startUnit
        self.inhibitors = inhibitors
        self.journal = journal
        self.now = now
        self.random = random
    }

    /// This machine.
    public init(_ paths: HostPaths, settings: AgentSettings) throws(UpdateAgentFault) {
        let system = RunningSystem(prefix: paths.prefix)
        let prefix = paths.prefix
        self.init(
            paths: paths, running: try Self.version(paths, product: settings.product),
            bootIdentifier: (try? system.bootIdentifier()) ?? "", identifier: Self.identifier(paths),
            slots: { () throws(BootControlFault) in
                let disk = if let disk = settings.disk { disk } else { try system.disk() }
                return try HostDisk(disk, rootHash: system.rootHash(), architecture: settings.architecture)
            },
            bootFiles: { () throws(BootControlFault) in
                if let partition = settings.bootPartition { return BootDirectory(partition) }
                return try BootDirectory(prefix: prefix)
            },
            countedEntry: { EfiVariables(prefix: prefix).countedEntry },
            reboot: { () throws(UpdateAgentFault) in try SystemCommands.reboot() },
            restartAgent: { () throws(UpdateAgentFault) in try SystemCommands.restartAgent() },
            runCommand: { (words, seconds) throws(UpdateAgentFault) in
                try SystemCommands.run(words, withinSeconds: seconds)
            },
            stopUnit: { (unit) throws(UpdateAgentFault) in try SystemCommands.stop(unit) },
            startUnit: { (unit, seconds) throws(UpdateAgentFault) in
                try SystemCommands.start(unit, withinSeconds: seconds)
            }, inhibitors: { SystemCommands.shutdownInhibitors() },
            journal: { SystemCommands.journal(rootHash: $0) }, now: { .now },
            random: { Int64.random(in: 0...max($0, 0)) })
    }

    /// The disk that this machine runs from, or the one that the settings name.
    public static func disk(_ paths: HostPaths) throws -> FilePath {
        if let disk = try? AgentSettings.load(paths).settings.disk { return disk }
        return try RunningSystem(prefix: paths.prefix).disk()
    }

    /// The operator's settings as they are now, or nil where there are none.
    func overlay() -> [UInt8]? { Self.overlay(paths) }

    /// The operator's settings as they are now below `paths`, or nil where there are none.
    public static func overlay(_ paths: HostPaths) -> [UInt8]? { try? paths.overlay.contents(limit: 1 << 20) }

    /// Whether this boot takes one of its entry's tries.
    func isBootCounted() -> Bool { countedEntry() != nil }

    /// IMAGE_ID and IMAGE_VERSION of os-release(5).
    static func identity(_ paths: HostPaths) throws(UpdateAgentFault) -> (product: String, version: Substring) {
        let text: String
        do throws(FileIOFault) { text = try paths.osRelease.text(limit: 1 << 16) } catch {
            throw UpdateAgentFault(.invalid, "the running version is not known", cause: error)
        }
        func value(_ key: String) -> Substring? {
            text.split(separator: "\n").last { $0.hasPrefix("\(key)=") }.map { line in
                let value = line.dropFirst(key.utf8.count + 1)
                return value.hasPrefix("\"") && value.hasSuffix("\"") && value.count >= 2
                    ? value.dropFirst().dropLast() : value
            }
        }
        guard let product = value("IMAGE_ID"), let version = value("IMAGE_VERSION") else {
            throw UpdateAgentFault(
                .invalid, "os-release does not say which IMAGE_ID and IMAGE_VERSION this is",
                at: .path(paths.osRelease.string), remedy: "install an image that 'ballast build' made")
        }
        return (String(product), version)
    }

    /// The running version, which must be one of the product.
    private static func version(_ paths: HostPaths, product: String) throws(UpdateAgentFault) -> ImageVersion {
        let identity = try identity(paths)
        guard identity.product == product else {
            throw UpdateAgentFault(
                .invalid,
                "os-release says that this is '\(identity.product.excerpt())', and the settings are for '\(product)'",
                at: .path(paths.osRelease.string), remedy: "install an image that 'ballast build' made")
        }
        do throws(ReleaseFault) { return try ImageVersion(identity.version) } catch {
            throw UpdateAgentFault(.invalid, "IMAGE_VERSION cannot be used", cause: error)
        }
    }

    /// The machine's identifier; without one, all such hosts have the same place in a ramp.
    private static func identifier(_ paths: HostPaths) -> String {
        let text = (try? paths.machineIdentifier.text(limit: 4096)) ?? ""
        return String(text.prefix { $0 != "\n" })
    }
}
