public import Cryptography
public import Fault
public import SystemPackage

/// What an image is to be: the merged result of a manifest and all that it includes, validated and with defaults filled in.
///
/// Sizes are in bytes, durations in seconds. Every list keeps the order of the manifests it came from.
public struct Manifest: Sendable, Hashable {
    /// The image's name, as IMAGE_ID, in file names and in partition labels.
    public var product: String
    /// The machine the image runs on.
    public var architecture: Architecture
    /// Where packages come from.
    public var distribution: Distribution
    /// Which packages are in the image.
    public var packages: Packages
    /// The kernel, its modules and its command line.
    public var kernel: Kernel
    /// What the initrd holds beyond what it always needs.
    public var initrd: Initrd
    /// Answers for packages' scripts, as debconf-set-selections(1) reads them.
    public var debconf: [String]
    /// Directories copied over the tree, in this order.
    public var overlays: [Overlay]
    /// Small files written into the image after the overlays.
    public var files: [InlineFile]
    /// Programs that run in the tree after overlays and files, in this order.
    public var scripts: [Script]
    /// Which units start.
    public var units: Units
    /// Users made by systemd-sysusers.
    public var users: [User]
    /// Groups made by systemd-sysusers.
    public var groups: [Group]
    /// Files that each host makes for itself.
    public var firstBoot: [FirstBoot]
    /// Patterns of private keys that the image may hold.
    public var privateKeys: [String]
    /// Where changes to /etc go.
    public var etc: EtcMode
    /// The disk's partitions.
    public var disk: Disk
    /// What must hold before a boot counts as good.
    public var health: [HealthCheck]
    /// How the host finds updates.
    public var update: Update
    /// How a boot goes, and what ends one that hangs.
    public var boot: Boot

    /// The SHA-256 of the merged manifest's canonical JSON, defaults left out and paths as written, so that it depends
    /// neither on where the checkout is nor on comments and order of keys.
    public var digest: SHA256Digest
    /// The manifest file that was loaded, as it was named.
    public var source: FilePath
    /// The merged tree, which knows where each value was written.
    let tree: ManifestNode

    /// Where the value of a key was written, such as `disk.slot`, or the element `element` of a list, such as
    /// `packages.install`. Nil for a default.
    public func place(of key: String, element: String? = nil) -> Place? {
        var node: ManifestNode? = tree
        for name in key.split(separator: ".") { node = node?[String(name)] }
        guard let element else { return node?.origin?.place }
        return node?.elements.first { $0.text == element }?.origin?.place
    }

    /// Where the health check `name` has its `key`.
    public func place(ofHealthCheck name: String, key: String) -> Place? {
        place(of: "health", named: name, key: key)
    }

    /// Where the element of `list` that has `name` as its `identity` has its `key`, or where it is itself.
    public func place(of list: String, named name: String, by identity: String = "name", key: String) -> Place? {
        var node: ManifestNode? = tree
        for part in list.split(separator: ".") { node = node?[String(part)] }
        let element = node?.elements.first { $0[identity]?.text == name }
        return (element?[key] ?? element)?.origin?.place
    }
}

extension Manifest {
    /// A machine architecture by Debian's name.
    public enum Architecture: String, Sendable, Hashable, CaseIterable {
        case amd64
        case arm64
    }

    /// The release, suites and components packages are taken from.
    public struct Distribution: Sendable, Hashable {
        /// The release's code name, such as `trixie`.
        public var release: String
        /// Suites, such as `trixie` and `trixie-security`; the release alone unless given.
        public var suites: [String]
        /// Components, such as `main`.
        public var components: [String]
        /// Archives beside Debian's own.
        public var archives: [Archive]
    }

    /// An archive beside Debian's own.
    public struct Archive: Sendable, Hashable {
        /// The name by which the lock and `packages.install` know it.
        public var name: String
        /// Its base address, of the scheme http, https or file.
        public var uri: String
        /// The suite, or with a slash at its end the directory of a flat archive.
        public var suite: String
        /// Its components.
        public var components: [String]
        /// The absolute path of the file with the keys that sign it.
        public var signedBy: FilePath
        /// The only packages it may supply; empty for any.
        public var packages: [String]
        /// Its rank, as in apt_preferences(5), or nil for what its Release file says.
        public var priority: Int?
        /// Where the manifest names it.
        public var place: Place?
    }

    /// What is installed, and what of it is left out.
    public struct Packages: Sendable, Hashable {
        /// Packages asked for, as NAME, NAME=VERSION or NAME/SUITE; what they need is found by `ballast lock`.
        public var install: [String]
        /// Absolute paths of package files, or patterns of their names.
        public var local: [LocalPattern]
        /// Packages that are there while scripts run, and not in the image.
        public var buildOnly: [String]
        /// Packages that must not be in the image.
        public var remove: [String]
        /// Patterns of paths that are not unpacked, such as `/usr/share/doc/*`.
        public var excludedPaths: [String]
        /// Whether recommended packages are installed too.
        public var installsRecommends: Bool
    }

    /// Files of the build machine.
    public struct LocalPattern: Sendable, Hashable {
        /// As the manifest writes it.
        public var name: String
        /// The absolute path, whose last component may be a pattern of fnmatch(3).
        public var path: FilePath
        /// Where the manifest names it.
        public var place: Place?
    }

    /// The kernel package and how it is started.
    public struct Kernel: Sendable, Hashable {
        /// The package that depends on the kernel image.
        public var package: String
        /// Arguments of the kernel command line, without those that Ballast itself sets.
        public var commandLine: [String]
        /// Whether the kernel gets the packages' microcode first.
        public var microcode: Bool
        /// Patterns of the modules kept in the image; empty keeps all.
        public var modules: [String]
    }

    /// Additions to the initrd.
    public struct Initrd: Sendable, Hashable {
        /// Kernel modules by name or pattern.
        public var modules: [String]
        /// Absolute paths of the image's files that are in the initrd too.
        public var files: [String]
        /// Units that start in the initrd too.
        public var units: [String]
    }

    /// A directory that is copied over the tree.
    public struct Overlay: Sendable, Hashable {
        /// Its path as the manifest writes it.
        public var name: String
        /// Its absolute path.
        public var directory: FilePath
        /// Where the manifest names it.
        public var place: Place?
    }

    /// A program of the build machine that runs in the tree.
    public struct Script: Sendable, Hashable {
        /// Its path as the manifest writes it.
        public var name: String
        /// Its absolute path.
        public var file: FilePath
        /// Where the manifest names it.
        public var place: Place?
    }

    /// A small file whose content stands in the manifest.
    public struct InlineFile: Sendable, Hashable {
        /// Its absolute path in the image.
        public var path: String
        /// Its whole content.
        public var content: String
        /// Its permission bits.
        public var mode: UInt16
        /// Its owner, by name or number.
        public var owner: String
        /// Its group, by name or number.
        public var group: String
    }

    /// The state of systemd units, written as presets and masks.
    public struct Units: Sendable, Hashable {
        /// Units that start.
        public var enable: [String]
        /// Units that do not, though their package would have them start.
        public var disable: [String]
        /// Units that cannot start at all.
        public var mask: [String]
        /// Further lines of systemd.preset(5), after those of `enable` and `disable`.
        public var presets: [String]
    }

    /// A system user, as a line of sysusers.d(5).
    public struct User: Sendable, Hashable {
        /// The login name.
        public var name: String
        /// The number, or nil to have one found.
        public var uid: Int?
        /// The full name.
        public var gecos: String?
        /// The home directory.
        public var home: String?
        /// The login shell.
        public var shell: String?
    }

    /// A system group, as lines of sysusers.d(5).
    public struct Group: Sendable, Hashable {
        /// The name.
        public var name: String
        /// The number, or nil to have one found.
        public var gid: Int?
        /// The users in it.
        public var members: [String]
    }

    /// Files that are not in the image, and that a host makes for itself.
    public struct FirstBoot: Sendable, Hashable {
        /// A pattern of absolute paths.
        public var remove: String
        /// The program that makes them, with its arguments; empty where the service that uses them does.
        public var run: [String]
        /// Whether each new version of the image has a host make them anew.
        public var renew: Bool

        /// Files of a pattern, and what makes them; once on each host unless given.
        public init(remove: String, run: [String], renew: Bool = false) {
            self.remove = remove
            self.run = run
            self.renew = renew
        }
    }

    /// Where changes to /etc go.
    public enum EtcMode: String, Sendable, Hashable, CaseIterable {
        /// To the var partition; they stay.
        case persistent
        /// To memory; a reboot forgets them.
        case ephemeral
    }

    /// The sizes of the partitions, in bytes.
    public struct Disk: Sendable, Hashable {
        /// The EFI system partition.
        public var esp: Int64
        /// Each of the two root slots.
        public var slot: Int64
        /// The least that must be left for /var.
        public var varMinimum: Int64
        /// 512 or 4096.
        public var sectorSize: Int
    }

    /// One thing that must hold before a boot counts as good.
    public struct HealthCheck: Sendable, Hashable {
        /// Its name, which is part of a unit's name.
        public var name: String
        /// How long it may take to hold, in seconds.
        public var timeout: Int
        /// What is looked at.
        public var probe: Probe
        /// Whether its failure says nothing about the version.
        public var blame: Blame

        /// Whom a check blames that does not hold.
        public enum Blame: String, Sendable, Hashable, CaseIterable {
            /// The version.
            case version
            /// What is outside the host.
            case environment
        }

        /// What a check looks at.
        public enum Probe: Sendable, Hashable {
            /// The unit is active.
            case unit(String)
            /// The program ends with status 0. The first element is its path.
            case command([String])
            /// A GET of the address is answered with a status from 200 to 299.
            case http(String)
            /// A connection to `HOST:PORT` opens.
            case tcp(String)
            /// containerd answers a version request on its socket.
            case containerd
        }
    }

    /// How the host finds updates.
    public struct Update: Sendable, Hashable {
        /// The repository's address, or nil: the host then never asks by itself.
        public var url: String?
        /// Further addresses that have the same.
        public var mirrors: [String]
        /// How they are reached.
        public var transfer: Transfer
        /// The channel within the repository.
        public var channel: String
        /// Seconds between two looks.
        public var interval: Int
        /// The most seconds that are added to the interval at random.
        public var jitter: Int
        /// What happens when an update is staged.
        public var reboot: RebootPolicy
        /// Seconds for which the checks go on after they have held.
        public var probation: Int
        /// When a restart may begin.
        public var windows: [Window]
        /// The windows' time zone.
        public var timeZone: String
        /// What is asked before a restart.
        public var gates: [Gate]
        /// What is done before a restart.
        public var drains: [Drain]
        /// The absolute path of the root metadata that the image trusts first, or nil.
        public var trustedRoot: FilePath?
    }

    /// How hosts reach the repository; paths are the host's.
    public struct Transfer: Sendable, Hashable {
        /// The proxy's address, or "none".
        public var proxy: String?
        /// Hosts and domains that are reached without it.
        public var noProxy: [String]
        /// The most bytes a second.
        public var bandwidth: Int64?
        /// The authorities' certificates.
        public var authorities: String?
        /// The host's own certificate.
        public var certificate: String?
        /// Its key.
        public var key: String?
    }

    /// What happens when an update is staged.
    public enum RebootPolicy: String, Sendable, Hashable, CaseIterable {
        /// The host restarts by itself, as soon as nothing holds that back.
        case immediate
        /// The host waits for an operator.
        case manual
    }

    /// How a boot goes, and what ends one that hangs.
    public struct Boot: Sendable, Hashable {
        /// How often a version may try before the other slot is taken.
        public var tries: Int
        /// Seconds the menu is shown.
        public var timeout: Int
        /// Seconds without a sign of life from systemd after which the watchdog resets the host; 0 for no watchdog.
        public var watchdog: Int
    }
}
