import JSON

/// The part of the schema that says how the host runs; `Schema+Manifest.swift` has what the image is made of.
extension Schema {
    static let unit = Schema(
        doc: "",
        kind: .string(
            what: "a unit name with its type, such as 'sshd.service'",
            pattern:
                "[A-Za-z0-9:_.\\\\@-]+\\.(service|socket|device|mount|automount|swap|target|path|timer|slice|scope)"))

    static let units = Schema(
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

    // 0 is root's, and the last one stands for none (systemd's "Users, Groups, UIDs and GIDs").
    private static let identifier = Kind.integer(1...4_294_967_294)

    static let users = Schema(
        doc: "System users, written as sysusers.d(5).",
        kind: .list(
            of: Schema(
                doc: "",
                kind: .mapping([
                    Key(name: "name", schema: account.documented("The login name.", "web"), isRequired: true),
                    Key(
                        name: "uid",
                        schema: Schema(
                            doc: "The number; found when the image is built unless given.", kind: identifier,
                            example: "990")),
                    Key(
                        name: "gecos",
                        schema: Schema(
                            doc: "The full name.",
                            kind: .string(what: "text without ':' and '\"'", pattern: "[^:\"\\u0000-\\u001f]*"),
                            example: "Web server")),
                    Key(
                        name: "home",
                        schema: absolutePath.documented(
                            "The home directory, as /etc/passwd has it. It is not made: an overlay makes it, or a file below "
                                + "/usr/lib/tmpfiles.d (tmpfiles.d(5)).", "/var/lib/web")),
                    Key(name: "shell", schema: absolutePath.documented("The login shell.", "/usr/sbin/nologin")),
                ])),
            .keyed(by: "name")),
        defaultValue: .value([]), example: "[{name: web, home: /var/lib/web}]")

    static let groups = Schema(
        doc: "System groups, written as sysusers.d(5).",
        kind: .list(
            of: Schema(
                doc: "",
                kind: .mapping([
                    Key(name: "name", schema: account.documented("The group's name.", "web"), isRequired: true),
                    Key(
                        name: "gid",
                        schema: Schema(
                            doc: "The number; found when the image is built unless given.", kind: identifier,
                            example: "990")),
                    Key(
                        name: "members",
                        schema: Schema(
                            doc: "Users in the group.", kind: .list(of: account, .union), defaultValue: .value([]),
                            example: "[web]")),
                ])),
            .keyed(by: "name")),
        defaultValue: .value([]), example: "[{name: web, members: [deploy]}]")

    static let etc = Schema(
        doc:
            "Where changes to /etc go: `persistent` keeps them on the var partition, `ephemeral` forgets them at reboot.",
        kind: .word(oneOf: Manifest.EtcMode.allCases.map(\.rawValue)), defaultValue: .value("persistent"),
        example: "ephemeral")

    static let disk = Schema(
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

    static let health = Schema(
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
                        Key(
                            name: "blame",
                            schema: Schema(
                                doc:
                                    "Whom it blames: `environment` where it is about something outside the host, whose failure says "
                                    + "nothing about the version. That is then tried again after a pause, and not denied. A "
                                    + "command can say so too, by status 75 (EX_TEMPFAIL): it could not judge.",
                                kind: .word(oneOf: Manifest.HealthCheck.Blame.allCases.map(\.rawValue)),
                                defaultValue: .value("version"), example: "environment")),
                        Key(name: "unit", schema: unit.documented("This unit is active.", "nginx.service")),
                        Key(
                            name: "command",
                            schema: Schema(
                                doc:
                                    "This program, given by its absolute path and with its arguments, ends with status 0.",
                                kind: .list(of: argument, .command),
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
                                    pattern: "\(host):\(port)"),
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

    static let firstBoot = Schema(
        doc:
            "Files that must be another one on each host, or that are not the same in each build: they are removed from the "
            + "image, and a host makes its own when it has none, which stays over updates and rollbacks. Known ones, such as the host keys of openssh-server, are "
            + "treated like this anyway.",
        kind: .list(
            of: Schema(
                doc: "",
                kind: .mapping([
                    Key(
                        name: "remove",
                        schema: Schema(
                            doc:
                                "A pattern of paths below /etc or /var. `*` matches any characters but `/`; a directory goes "
                                + "with all that is in it.",
                            kind: .string(
                                what: "an absolute path pattern below /etc or /var", pattern: "/(etc|var)/[!-~]+"),
                            example: "/etc/munge/munge.key"),
                        isRequired: true),
                    Key(
                        name: "run",
                        schema: Schema(
                            doc:
                                "The program that makes them, by its absolute path and with its arguments, before any service "
                                + "starts. Without one, the service that uses them makes them itself.",
                            kind: .list(of: argument, .command), example: "[/usr/sbin/mungekey]")),
                    Key(
                        name: "renew",
                        schema: Schema(
                            doc:
                                "Whether the first boot of another version makes them anew, after an update as after a "
                                + "rollback: for what is made of the image's own files, such as caches. A host's keys and "
                                + "identities are to stay.",
                            kind: .boolean, defaultValue: .value(false), example: "true")),
                ])),
            .keyed(by: "remove")),
        defaultValue: .value([]), example: "[{remove: /etc/munge/munge.key, run: [/usr/sbin/mungekey]}]")

    static let privateKeys = Schema(
        doc:
            "Private keys that the image holds on purpose, the same ones on each host. Any other private key in PEM or "
            + "OpenSSH's form fails the build. `*` matches any characters, `/` included.",
        kind: .list(
            of: Schema(doc: "", kind: .string(what: "an absolute path pattern", pattern: "/[!-~]+")), .union),
        defaultValue: .value([]), example: "[/usr/share/doc/openvpn/examples/*]")

    static let argument = Schema(
        doc: "", kind: .string(what: "an argument", pattern: "[^\\u0000-\\u001f]*"))

    /// The program of a command.
    static let program = "/[^\\u0000-\\u001f]*[^/\\u0000-\\u001f]"
    private static let host = "([A-Za-z0-9._-]+|\\[[0-9A-Fa-f:.]+(%25[A-Za-z0-9._~-]+)?\\])"
    /// 1 to 65535.
    private static let port =
        "(6553[0-5]|655[0-2][0-9]|65[0-4][0-9]{2}|6[0-4][0-9]{3}|[1-5][0-9]{4}|[1-9][0-9]{0,3})"

    private static let origin = "https?://([A-Za-z0-9._~%!$&'()*+,;=:-]+@)?\(host)(:\(port))?"
    static let address = Kind.string(
        what: "an address such as 'https://host:8443/path', with 'http://' or 'https://' before it",
        pattern: origin + "([/?][!-~]*)?")
    /// To which paths are added.
    private static let repository = Kind.string(
        what: "an address such as 'https://host:8443/path', without '?' and '#'", pattern: origin + "(/[!-\"$->@-~]*)?")

    static let update = Schema(
        doc: "How the host finds updates.",
        kind: .mapping([
            Key(
                name: "url",
                schema: Schema(
                    doc: "The repository's address. Without one the host never asks by itself.", kind: repository,
                    example: "https://updates.example.org/containerd")),
            Key(
                name: "mirrors",
                schema: Schema(
                    doc:
                        "Further addresses that have the same. A host asks the first that answers, in the order that they have "
                        + "here; each that fails is left alone for a while.",
                    kind: .list(of: Schema(doc: "", kind: repository), .union), defaultValue: .value([]),
                    example: "[https://mirror.example.org/containerd]")),
            Key(name: "transfer", schema: transfer),
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
                    doc:
                        "What happens when an update is staged: with `immediate` the host restarts by itself, as soon as nothing holds "
                        + "that back; `manual` waits for an operator.",
                    kind: .word(oneOf: Manifest.RebootPolicy.allCases.map(\.rawValue)), defaultValue: .value("manual"),
                    example: "immediate")),
            Key(
                name: "probation",
                schema: Schema(
                    doc:
                        "How long the health checks go on after a new version has passed them. One that does not hold any more "
                        + "in that time takes the host back to the version before. `0s` ends with the boot.",
                    kind: .duration(0...86400), defaultValue: .value("10m"), example: "1h")),
            Key(name: "windows", schema: windows),
            Key(
                name: "time_zone",
                schema: Schema(
                    doc:
                        "The time zone of the windows, as zoneinfo names it. One other than `UTC` needs the package tzdata.",
                    kind: .string(
                        what: "the name of a time zone, such as 'Europe/Berlin'",
                        pattern: "[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+)*"),
                    defaultValue: .value("UTC"), example: "Europe/Berlin")),
            Key(name: "gates", schema: gates),
            Key(name: "drains", schema: drains),
            Key(
                name: "trusted_root",
                schema: Schema(
                    doc:
                        "The repository's root.json that the image trusts first, relative to the manifest that names it.",
                    kind: .localPath(.existingFile), example: "../repo/metadata/root.json")),
        ]))

    private static let transfer = Schema(
        doc: "How hosts reach the repository. The paths are the host's.",
        kind: .mapping([
            Key(
                name: "proxy",
                schema: Schema(
                    doc:
                        "The proxy's address, or `none`. Without one, the environment of `ballastd.service` counts, by the names "
                        + "that curl knows.",
                    kind: .string(
                        what: "'none' or an address such as 'http://proxy.example.org:3128'",
                        pattern: "none|(https?|socks4a?|socks5h?)://[!-~]+"),
                    example: "http://proxy.example.org:3128")),
            Key(
                name: "no_proxy",
                schema: Schema(
                    doc: "Hosts and domains that are reached without it.",
                    kind: .list(
                        of: Schema(doc: "", kind: .string(what: "a host or domain", pattern: "[!-+.-~]+")), .union),
                    defaultValue: .value([]), example: "[mirror.example.org]")),
            Key(
                name: "bandwidth",
                schema: Schema(
                    doc: "The most that is fetched in a second.", kind: .size(1024...(1 << 40), multipleOf: 1),
                    example: "2 MiB")),
            Key(
                name: "ca_certificates",
                schema: absolutePath.documented(
                    "A PEM file of the authorities that are trusted instead of the image's own.", "/etc/ballast/ca.pem")
            ),
            Key(
                name: "client_certificate",
                schema: absolutePath.documented(
                    "A PEM file of the host's own certificate, for servers that ask for one.", "/etc/ballast/host.pem")),
            Key(
                name: "client_key",
                schema: absolutePath.documented(
                    "A PEM file of that certificate's key, without a passphrase.", "/etc/ballast/host.key")),
        ]))

    static let boot = Schema(
        doc: "How a boot goes, and what ends one that hangs.",
        kind: .mapping([
            Key(
                name: "tries",
                schema: Schema(
                    doc:
                        "How often a version that a host with this image updates to may try to prove itself before the host "
                        + "goes back to this one.",
                    kind: .integer(1...9), defaultValue: .value(3), example: "3")),
            Key(
                name: "timeout",
                schema: Schema(
                    doc: "How long the boot menu is shown.", kind: .duration(0...3600), defaultValue: .value("0s"),
                    example: "5s")),
            Key(
                name: "watchdog",
                schema: Schema(
                    doc:
                        "How long systemd may give no sign of life before the machine's watchdog resets the host, or the "
                        + "kernel's own where the machine has none. While generators run, as at each start, it gives none. "
                        + "A shutdown has ten minutes, whatever stands here. With `0s` a running host that hangs stays so.",
                    kind: .duration(30...600, orNone: true), defaultValue: .value("2m"), example: "1m")),
        ]))
}
