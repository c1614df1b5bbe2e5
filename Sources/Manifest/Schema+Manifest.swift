import JSON

extension Schema {
    /// The schema of a manifest.
    static let manifest = Schema(
        doc: "A manifest describes one image.",
        kind: .mapping([
            Key(name: "product", schema: product, isRequired: true),
            Key(name: "architecture", schema: architecture),
            Key(name: "include", schema: include),
            Key(name: "distribution", schema: distribution),
            Key(name: "packages", schema: packages),
            Key(name: "kernel", schema: kernel),
            Key(name: "initrd", schema: initrd),
            Key(name: "overlays", schema: overlays),
            Key(name: "files", schema: files),
            Key(name: "units", schema: units),
            Key(name: "users", schema: users),
            Key(name: "groups", schema: groups),
            Key(name: "etc", schema: etc),
            Key(name: "disk", schema: disk),
            Key(name: "health", schema: health),
            Key(name: "update", schema: update),
            Key(name: "boot", schema: boot),
        ]))

    private static let product = Schema(
        doc:
            "The image's name. It becomes IMAGE_ID in os-release and the first part of file names, partition labels and "
            + "boot entries.",
        // An underscore separates product and version in all of those; a GPT label holds 36 characters for both.
        kind: .string(what: "a name of lower-case letters, digits and '-'", pattern: "[a-z][a-z0-9-]{0,23}"),
        example: "containerd")

    private static let architecture = Schema(
        doc: "The machine the image runs on, by Debian's name.",
        kind: .word(oneOf: Manifest.Architecture.allCases.map(\.rawValue)), defaultValue: .value("amd64"),
        example: "amd64")

    private static let include = Schema(
        doc:
            "Other manifests this one is built on, relative to this file. They are merged in order, and this manifest on top: "
            + "scalars override, mappings merge, lists append what is not there yet. A manifest that is reached twice "
            + "counts once, at its first place.",
        kind: .list(of: Schema(doc: "", kind: .localPath(.manifest)), .union), example: "[base.yaml]")

    private static let distribution = Schema(
        doc: "Where packages come from.",
        kind: .mapping([
            Key(
                name: "release",
                schema: Schema(
                    doc: "The Debian release's code name.",
                    kind: .string(what: "a code name", pattern: "[a-z][a-z0-9-]*"),
                    defaultValue: .value("trixie"), example: "trixie")),
            Key(
                name: "suites",
                schema: Schema(
                    doc: "The suites `ballast lock` looks at. A suite whose name ends in `-security` is taken from the "
                        + "security mirror.",
                    kind: .list(
                        of: Schema(doc: "", kind: .string(what: "a suite name", pattern: "[a-z][a-z0-9+.-]*")), .union),
                    defaultValue: .derived("the release alone") { root in
                        [.string(root["distribution"]?["release"]?.text ?? "trixie")]
                    },
                    example: "[trixie, trixie-updates, trixie-security]")),
            Key(
                name: "components",
                schema: Schema(
                    doc: "The archive's components.",
                    kind: .list(
                        of: Schema(doc: "", kind: .string(what: "a component name", pattern: "[a-z][a-z0-9-]*")), .union
                    ),
                    defaultValue: .value(["main"]), example: "[main, non-free-firmware]")),
        ]))

    /// Debian policy, section 5.6.1.
    private static let packageName = Schema(
        doc: "", kind: .string(what: "a package name", pattern: "[a-z0-9][a-z0-9+.-]+"))

    private static let packages = Schema(
        doc: "Which packages are in the image.",
        kind: .mapping([
            Key(
                name: "install",
                schema: Schema(
                    doc:
                        "Packages asked for. `ballast lock` adds what they depend on, and what every Debian system has "
                        + "(essential and required packages).",
                    kind: .list(of: packageName, .union), defaultValue: .value([]), example: "[systemd, containerd]")),
            Key(
                name: "remove",
                schema: Schema(
                    doc: "Packages that must not be in the image: the lock is solved without them, and fails where "
                        + "something needs one.",
                    kind: .list(of: packageName, .union), defaultValue: .value([]), example: "[tzdata-legacy]")),
            Key(
                name: "exclude_paths",
                schema: Schema(
                    doc: "Patterns of paths that are not unpacked. `*` matches any characters, `/` included.",
                    kind: .list(
                        of: Schema(doc: "", kind: .string(what: "an absolute path pattern", pattern: "/[!-~]+")), .union
                    ),
                    defaultValue: .value([]), example: "[/usr/share/doc/*, /usr/share/man/*]")),
            Key(
                name: "recommends",
                schema: Schema(
                    doc: "Whether recommended packages are installed too.", kind: .boolean,
                    defaultValue: .value(false), example: "true")),
        ]))

    private static let modulePattern = Schema(
        doc: "", kind: .string(what: "a module name or pattern", pattern: "[A-Za-z0-9_*?/.-]+"))

    private static let kernel = Schema(
        doc: "The kernel, its modules and its command line.",
        kind: .mapping([
            Key(
                name: "package",
                schema: Schema(
                    doc: "The package that depends on the kernel image.",
                    kind: .string(what: "a package name", pattern: "[a-z0-9][a-z0-9+.-]+"),
                    defaultValue: .derived("`linux-image-cloud-` and the architecture") { root in
                        .string("linux-image-cloud-\(root["architecture"]?.text ?? "amd64")")
                    },
                    example: "linux-image-cloud-amd64")),
            Key(
                name: "command_line",
                schema: Schema(
                    doc:
                        "Arguments of the kernel command line. Ballast adds those that find and verify the root file system "
                        + "itself, so that `root=`, `roothash=` and the like are refused here.",
                    kind: .list(
                        of: Schema(
                            doc: "",
                            kind: .string(
                                what: "a kernel argument, and not one that Ballast sets",
                                pattern: "(?!root=|roothash=|usr=|usrhash=|systemd\\.verity)[!-~]([ -~]*[!-~])?")),
                        .union),
                    defaultValue: .value([]), example: "[console=ttyS0, panic=10]")),
            Key(
                name: "modules",
                schema: Schema(
                    doc:
                        "Patterns of the modules that stay in the image, by name or by path below the modules' directory; "
                        + "what they depend on stays too. Empty keeps all.",
                    kind: .list(of: modulePattern, .union), defaultValue: .value([]),
                    example: "[virtio_*, overlay, kernel/net/netfilter/*]")),
        ]))

    private static let absolutePath = Schema(
        doc: "",
        kind: .string(
            what: "an absolute path without '.' and '..'",
            pattern: "(/(?!\\.{1,2}(/|$))[^/\\u0000-\\u001f\\u007f]+)+"))

    private static let initrd = Schema(
        doc: "What the initrd holds beyond what it needs to find and verify the root file system.",
        kind: .mapping([
            Key(
                name: "modules",
                schema: Schema(
                    doc: "Kernel modules by name or pattern, with what they depend on.",
                    kind: .list(of: modulePattern, .union), defaultValue: .value([]), example: "[nvme, ahci]")),
            Key(
                name: "files",
                schema: Schema(
                    doc: "Files of the image that are in the initrd too. An executable brings its libraries.",
                    kind: .list(of: absolutePath, .union), defaultValue: .value([]), example: "[/usr/sbin/blkid]")),
        ]))

    private static let overlays = Schema(
        doc:
            "Directories that are copied over the tree in this order, relative to the manifest that names them. A file "
            + "`.ballast-modes` in one gives owners and modes.",
        kind: .list(of: Schema(doc: "", kind: .localPath(.existingDirectory)), .union), defaultValue: .value([]),
        example: "[../overlays/base]")

    private static let account = Schema(
        doc: "", kind: .string(what: "a user or group name", pattern: "[a-z_][a-z0-9_-]{0,30}"))
    private static let accountOrNumber = Schema(
        doc: "", kind: .string(what: "a name or a number", pattern: "[a-z_][a-z0-9_-]{0,30}|[0-9]{1,10}"))

    private static let files = Schema(
        doc: "Small files, written after the overlays.",
        kind: .list(
            of: Schema(
                doc: "",
                kind: .mapping([
                    Key(
                        name: "path", schema: absolutePath.documented("Where the file is in the image.", "/etc/motd"),
                        isRequired: true),
                    Key(
                        name: "content",
                        schema: Schema(
                            doc: "The whole content.", kind: .string(what: "a string", pattern: nil),
                            example: "\"hello\\n\""),
                        isRequired: true),
                    Key(
                        name: "mode",
                        schema: Schema(
                            doc: "The permission bits, in octal.",
                            kind: .string(what: "an octal mode", pattern: "0?[0-7]{3,4}"),
                            defaultValue: .value("0644"), example: "\"0600\"")),
                    Key(name: "owner", schema: accountOrNumber.documented("The owner.", "root", default: "root")),
                    Key(name: "group", schema: accountOrNumber.documented("The group.", "root", default: "root")),
                ])),
            .keyed(by: "path")),
        defaultValue: .value([]), example: "[{path: /etc/motd, content: \"hello\\n\"}]")

    private static let unit = Schema(
        doc: "",
        kind: .string(
            what: "a unit name with its type, such as 'sshd.service'",
            pattern:
                "[A-Za-z0-9:_.\\\\@-]+\\.(service|socket|device|mount|automount|swap|target|path|timer|slice|scope)"))

    private static let units = Schema(
        doc:
            "Which units start. `enable` and `disable` become a preset file of systemd.preset(5), `mask` becomes links to "
            + "/dev/null.",
        kind: .mapping([
            Key(
                name: "enable",
                schema: Schema(
                    doc: "Units that start.", kind: .list(of: unit, .union), defaultValue: .value([]),
                    example: "[containerd.service]")),
            Key(
                name: "disable",
                schema: Schema(
                    doc: "Units that do not start, though their package would have them start.",
                    kind: .list(of: unit, .union), defaultValue: .value([]), example: "[apt-daily.timer]")),
            Key(
                name: "mask",
                schema: Schema(
                    doc: "Units that cannot start at all.", kind: .list(of: unit, .union), defaultValue: .value([]),
                    example: "[systemd-firstboot.service]")),
            Key(
                name: "presets",
                schema: Schema(
                    doc: "Further lines of systemd.preset(5), after those of `enable` and `disable`.",
                    kind: .list(
                        of: Schema(
                            doc: "",
                            kind: .string(
                                what: "a preset line, such as 'disable *'",
                                pattern: "(enable|disable|ignore) [!-~]+( [!-~]+)*")),
                        .union),
                    defaultValue: .value([]), example: "[\"disable *\"]")),
        ]))

    private static let identifier = Kind.integer(0...4_294_967_294)

    private static let users = Schema(
        doc: "System users, written as sysusers.d(5).",
        kind: .list(
            of: Schema(
                doc: "",
                kind: .mapping([
                    Key(name: "name", schema: account.documented("The login name.", "web"), isRequired: true),
                    Key(
                        name: "uid",
                        schema: Schema(
                            doc: "The number; found at first boot unless given.", kind: identifier, example: "990")),
                    Key(
                        name: "gecos",
                        schema: Schema(
                            doc: "The full name.",
                            kind: .string(what: "text without ':' and '\"'", pattern: "[^:\"\\u0000-\\u001f]*"),
                            example: "Web server")),
                    Key(name: "home", schema: absolutePath.documented("The home directory.", "/var/lib/web")),
                    Key(name: "shell", schema: absolutePath.documented("The login shell.", "/usr/sbin/nologin")),
                ])),
            .keyed(by: "name")),
        defaultValue: .value([]), example: "[{name: web, home: /var/lib/web}]")

    private static let groups = Schema(
        doc: "System groups, written as sysusers.d(5).",
        kind: .list(
            of: Schema(
                doc: "",
                kind: .mapping([
                    Key(name: "name", schema: account.documented("The group's name.", "web"), isRequired: true),
                    Key(
                        name: "gid",
                        schema: Schema(
                            doc: "The number; found at first boot unless given.", kind: identifier, example: "990")),
                    Key(
                        name: "members",
                        schema: Schema(
                            doc: "Users in the group.", kind: .list(of: account, .union), defaultValue: .value([]),
                            example: "[web]")),
                ])),
            .keyed(by: "name")),
        defaultValue: .value([]), example: "[{name: web, members: [deploy]}]")

    private static let etc = Schema(
        doc:
            "Where changes to /etc go: `persistent` keeps them on the var partition, `ephemeral` forgets them at reboot.",
        kind: .word(oneOf: Manifest.EtcMode.allCases.map(\.rawValue)), defaultValue: .value("persistent"),
        example: "ephemeral")

    private static let disk = Schema(
        doc: "The sizes of the disk's partitions.",
        kind: .mapping([
            Key(
                name: "esp",
                schema: Schema(
                    doc: "The EFI system partition; it holds the boot loader and a unified kernel image for each slot.",
                    kind: .size((64 << 20)...(16 << 30), multipleOf: 1 << 20), defaultValue: .value("1 GiB"),
                    example: "512 MiB")),
            Key(
                name: "slot",
                schema: Schema(
                    doc:
                        "Each of the two root slots. An image that does not fit is refused when it is built, and a host's "
                        + "slots never grow, so leave room.",
                    kind: .size((64 << 20)...(1 << 40), multipleOf: 1 << 20), defaultValue: .value("1 GiB"),
                    example: "2 GiB")),
            Key(
                name: "var_minimum",
                schema: Schema(
                    doc: "The least that must be left for /var, which takes the rest of the disk.",
                    kind: .size((16 << 20)...(1 << 44), multipleOf: 1 << 20), defaultValue: .value("512 MiB"),
                    example: "4 GiB")),
            Key(
                name: "sector_size",
                schema: Schema(
                    doc: "The disk's logical sector size in bytes.", kind: .integer(512...4096, oneOf: [512, 4096]),
                    defaultValue: .value(512), example: "4096")),
        ]))

    static let probes = ["unit", "command", "http", "tcp", "containerd"]

    private static let health = Schema(
        doc:
            "What must hold before a boot counts as good. A boot whose checks do not hold within their time goes back to the "
            + "other slot.",
        kind: .list(
            of: Schema(
                doc: "",
                kind: .mapping(
                    [
                        Key(
                            name: "name",
                            schema: Schema(
                                doc: "The check's name, in unit names and in the host's history.",
                                kind: .string(
                                    what: "a name of lower-case letters, digits and '-'",
                                    pattern: "[a-z][a-z0-9-]{0,39}"),
                                example: "web-answers"),
                            isRequired: true),
                        Key(
                            name: "timeout",
                            schema: Schema(
                                doc: "How long the check may take to hold.", kind: .duration(1...3600),
                                defaultValue: .value("60s"), example: "90s")),
                        Key(name: "unit", schema: unit.documented("This unit is active.", "nginx.service")),
                        Key(
                            name: "command",
                            schema: Schema(
                                doc: "This program, given with its arguments, ends with status 0.",
                                kind: .list(
                                    of: Schema(
                                        doc: "", kind: .string(what: "an argument", pattern: "[^\\u0000-\\u001f]*")),
                                    .whole),
                                example: "[/usr/bin/systemctl, is-system-running, --wait]")),
                        Key(
                            name: "http",
                            schema: Schema(
                                doc: "A GET of this address is answered with a status from 200 to 299.", kind: address,
                                example: "http://127.0.0.1:8080/health")),
                        Key(
                            name: "tcp",
                            schema: Schema(
                                doc: "A connection to this host and port opens.",
                                kind: .string(
                                    what: "a host and port, such as '127.0.0.1:80'",
                                    pattern: "([A-Za-z0-9.-]+|\\[[0-9A-Fa-f:]+\\]):[0-9]{1,5}"),
                                example: "127.0.0.1:5432")),
                        Key(
                            name: "containerd",
                            schema: Schema(
                                doc: "containerd answers a version request on its socket.", kind: .boolean,
                                example: "true")),
                    ],
                    exactlyOneOf: probes)),
            .keyed(by: "name")),
        defaultValue: .value([]), example: "[{name: containerd, timeout: 90s, containerd: true}]")

    private static let address = Kind.string(
        what: "an address that begins with 'http://' or 'https://'", pattern: "https?://[A-Za-z0-9\\[][!-~]*")

    private static let update = Schema(
        doc: "How the host finds updates.",
        kind: .mapping([
            Key(
                name: "url",
                schema: Schema(
                    doc: "The repository's address. Without one the host never asks by itself.", kind: address,
                    example: "https://updates.example.org/containerd")),
            Key(
                name: "channel",
                schema: Schema(
                    doc: "The channel within the repository.",
                    kind: .string(
                        what: "a name of lower-case letters, digits and '-'", pattern: "[a-z][a-z0-9-]{0,39}"),
                    defaultValue: .value("stable"), example: "beta")),
            Key(
                name: "interval",
                schema: Schema(
                    doc: "The time between two looks.", kind: .duration(1...2_592_000), defaultValue: .value("1h"),
                    example: "15m")),
            Key(
                name: "jitter",
                schema: Schema(
                    doc: "The most that is added to the interval at random, so that hosts do not come all at once.",
                    kind: .duration(0...2_592_000), defaultValue: .value("10m"), example: "30m")),
            Key(
                name: "reboot",
                schema: Schema(
                    doc: "What happens when an update is staged: `immediate` reboots, `manual` waits for an operator.",
                    kind: .word(oneOf: Manifest.RebootPolicy.allCases.map(\.rawValue)), defaultValue: .value("manual"),
                    example: "immediate")),
            Key(
                name: "trusted_root",
                schema: Schema(
                    doc:
                        "The repository's root.json that the image trusts first, relative to the manifest that names it.",
                    kind: .localPath(.file), example: "../repo/metadata/root.json")),
        ]))

    private static let boot = Schema(
        doc: "How the boot loader behaves.",
        kind: .mapping([
            Key(
                name: "tries",
                schema: Schema(
                    doc: "How often a new version may try to prove itself before the other slot is taken.",
                    kind: .integer(1...9), defaultValue: .value(3), example: "3")),
            Key(
                name: "timeout",
                schema: Schema(
                    doc: "How long the boot menu is shown.", kind: .duration(0...3600), defaultValue: .value("0s"),
                    example: "5s")),
        ]))

    private func documented(_ doc: String, _ example: String, default value: JSONValue? = nil) -> Schema {
        var copy = self
        copy.doc = doc
        copy.example = example
        if let value { copy.defaultValue = .value(value) }
        return copy
    }
}
