import JSON

extension Schema {
    /// The schema of a manifest.
    package static let manifest = Schema(
        doc: "A manifest describes one image.",
        kind: .mapping([
            Key(name: "product", schema: product, isRequired: true),
            Key(name: "architecture", schema: architecture),
            Key(name: "include", schema: include),
            Key(name: "distribution", schema: distribution),
            Key(name: "packages", schema: packages),
            Key(name: "kernel", schema: kernel),
            Key(name: "initrd", schema: initrd),
            Key(name: "debconf", schema: debconf),
            Key(name: "overlays", schema: overlays),
            Key(name: "files", schema: files),
            Key(name: "scripts", schema: scripts),
            Key(name: "units", schema: units),
            Key(name: "users", schema: users),
            Key(name: "groups", schema: groups),
            Key(name: "first_boot", schema: firstBoot),
            Key(name: "private_keys", schema: privateKeys),
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
                    doc:
                        "The Debian archive's suites that `ballast lock` looks at. A suite whose name ends in `-security` is "
                        + "taken from the security mirror.",
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
            Key(name: "archives", schema: archives),
        ]))

    private static let archives = Schema(
        doc:
            "Archives beside Debian's own, such as a vendor's. Which of several versions is taken is as with apt: the highest "
            + "version of the highest priority.",
        kind: .list(
            of: Schema(
                doc: "",
                kind: .mapping([
                    Key(
                        name: "name",
                        schema: Schema(
                            doc: "The name by which the lock and `packages.install` know it.",
                            kind: .string(
                                what: "a name of lower-case letters, digits and '-'", pattern: "[a-z][a-z0-9-]{0,62}"),
                            example: "docker"),
                        isRequired: true),
                    Key(
                        name: "uri",
                        schema: Schema(
                            doc: "Its base address: http, https, or file with an absolute path.",
                            kind: .string(
                                what: "an address such as 'https://example.org/debian'",
                                pattern: "(https?://[!-?A-~]+|file:(//)?/[!-~]+)"),
                            example: "https://example.org/debian"),
                        isRequired: true),
                    Key(
                        name: "suite",
                        schema: Schema(
                            doc:
                                "The suite, or with a slash at its end the directory of a flat archive: `./` is the base "
                                + "address itself.",
                            kind: .string(
                                what: "a suite, or a directory with '/' at its end",
                                pattern: "(?!(.*/)?[.][.](/|$))([.]?/|[A-Za-z0-9][A-Za-z0-9+._~/-]*)"),
                            example: "trixie"),
                        isRequired: true),
                    Key(
                        name: "components",
                        schema: Schema(
                            doc: "Its components; a flat archive has none.",
                            kind: .list(
                                of: Schema(
                                    doc: "",
                                    kind: .string(what: "a component name", pattern: "[A-Za-z0-9][A-Za-z0-9+._/-]*")),
                                .union),
                            defaultValue: .value(["main"]), example: "[stable]")),
                    Key(
                        name: "signed_by",
                        schema: Schema(
                            doc:
                                "The file with the keys that sign it, beside this manifest, armored or not. No other archive "
                                + "is believed for them.",
                            kind: .localPath(.existingFile), example: "keys/docker.asc"),
                        isRequired: true),
                    Key(
                        name: "packages",
                        schema: Schema(
                            doc: "The only packages it may supply. Empty: any.",
                            kind: .list(of: packageName, .union), defaultValue: .value([]),
                            example: "[docker-ce, docker-ce-cli]")),
                    Key(
                        name: "priority",
                        schema: Schema(
                            doc: "Its rank, as in apt_preferences(5). Without one: 500, or what its Release file says "
                                + "(`NotAutomatic`).",
                            kind: .integer(1...1001), example: "400")),
                ])),
            .keyed(by: "name")),
        defaultValue: .value([]),
        example: "[{name: docker, uri: https://example.org/debian, suite: trixie, signed_by: docker.asc}]")

    /// Debian policy, section 5.6.1.
    private static let packageName = Schema(
        doc: "", kind: .string(what: "a package name", pattern: "[a-z0-9][a-z0-9+.-]+"))

    /// apt-get(8): `PACKAGE=VERSION` and `PACKAGE/SUITE`.
    private static let packageRequest = Schema(
        doc: "",
        kind: .string(
            what: "a package name, NAME=VERSION or NAME/SUITE",
            pattern: "[a-z0-9][a-z0-9+.-]+(=[0-9][A-Za-z0-9.+:~-]*|/[a-z0-9][a-z0-9+.-]*)?"))

    private static let packages = Schema(
        doc: "Which packages are in the image.",
        kind: .mapping([
            Key(
                name: "install",
                schema: Schema(
                    doc:
                        "Packages asked for. `ballast lock` adds what they depend on, and what every Debian system has "
                        + "(essential and required packages). `NAME=VERSION` asks for that version; `NAME/SUITE` for that of "
                        + "a suite or of one of the `archives`, from which then also comes what it depends on and others do "
                        + "not have.",
                    kind: .list(of: packageRequest, .byPackage), defaultValue: .value([]),
                    example: "[systemd, containerd]")),
            Key(
                name: "remove",
                schema: Schema(
                    doc: "Packages that must not be in the image: the lock is solved without them, and fails where "
                        + "something needs one.",
                    kind: .list(of: packageName, .union), defaultValue: .value([]), example: "[tzdata-legacy]")),
            Key(
                name: "build_only",
                schema: Schema(
                    doc:
                        "Packages that are there while maintainer scripts and `scripts` run, and not in the image, with what "
                        + "only they depend on.",
                    kind: .list(of: packageName, .union), defaultValue: .value([]), example: "[python3]")),
            Key(
                name: "local",
                schema: Schema(
                    doc:
                        "Package files beside this manifest, such as own builds. They come before any archive's package of "
                        + "the same name; `install` says which of them are in the image.",
                    kind: .list(of: Schema(doc: "", kind: .localPath(.filePattern)), .union), defaultValue: .value([]),
                    example: "[debs/*.deb]")),
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

    /// What the kernel (kernel-parameters.txt) and systemd (kernel-command-line(7), systemd-gpt-auto-generator(8),
    /// systemd-veritysetup-generator(8)) take the root file system and its verification from. `-` and `_` are alike to both.
    private static let forbiddenArguments =
        "(?!(root|rootfstype|rootflags|roothash|usr|usrhash|usrfstype|usrflags|mount[.]usr|mount[.]usrfstype|mount[.]usrflags"
        + "|nfsroot|noinitrd|initrd|initrdmem|rdinit|dm[_-]mod[.]create|(rd[.])?systemd[.](volatile|gpt[_-]auto"
        + "|image[_-]policy|verity[a-z_-]*)|systemd[.]mount[_-]extra|(rd[.])?veritytab|ro|rw)(=|$))"

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
                        + "itself: `root=`, `roothash=`, `rootflags=`, `systemd.verity=`, `systemd.volatile=` and the like "
                        + "are refused here. Each element is one argument.",
                    kind: .list(
                        of: Schema(
                            doc: "",
                            kind: .string(
                                what:
                                    "one kernel argument without spaces, quotes and '\\', and none by which Ballast finds and "
                                    + "verifies the root file system (root, ro, rw, roothash, systemd.verity and the like)",
                                pattern: forbiddenArguments + "[!#-&(-\\[\\]-~]+")),
                        .union),
                    defaultValue: .value([]), example: "[console=ttyS0, panic=10]")),
            Key(
                name: "microcode",
                schema: Schema(
                    doc:
                        "Whether the kernel gets the newest microcode of its processor before anything else: of the packages "
                        + "`intel-microcode` and `amd64-microcode`, which are in the component `non-free-firmware`.",
                    kind: .boolean, defaultValue: .value(false), example: "true")),
            Key(
                name: "modules",
                schema: Schema(
                    doc:
                        "Patterns of the modules that stay in the image, by name or by path below the modules' directory; "
                        + "what they depend on stays too. Empty keeps all.",
                    kind: .list(of: modulePattern, .union), defaultValue: .value([]),
                    example: "[virtio_*, overlay, kernel/net/netfilter/*]")),
        ]))

    static let absolutePath = Schema(
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
                    doc:
                        "Kernel modules by name or pattern, with what they depend on and the firmware that they ask for.",
                    kind: .list(of: modulePattern, .union), defaultValue: .value([]), example: "[nvme, ahci]")),
            Key(
                name: "files",
                schema: Schema(
                    doc: "Files of the image that are in the initrd too. An executable brings its libraries.",
                    kind: .list(of: absolutePath, .union), defaultValue: .value([]), example: "[/usr/sbin/blkid]")),
            Key(
                name: "units",
                schema: Schema(
                    doc:
                        "Units of the image that start in the initrd too, as their section [Install] says, with the programs "
                        + "that they run.",
                    kind: .list(of: unit, .union), defaultValue: .value([]), example: "[site-storage.service]")),
        ]))

    private static let debconf = Schema(
        doc: "Answers for packages' scripts, as debconf-set-selections(1) reads them: `PACKAGE QUESTION TYPE VALUE`.",
        kind: .list(
            of: Schema(
                doc: "",
                kind: .string(
                    what: "an answer such as 'postfix postfix/main_mailer_type select Local only'",
                    pattern:
                        "[a-z0-9][a-z0-9+.-]+ [!-~]+ (string|boolean|select|multiselect|password|note|text|error|title)( [^\\u0000-\\u001f]*)?"
                )),
            .union), defaultValue: .value([]),
        example: "[\"postfix postfix/main_mailer_type select Local only\"]")

    private static let scripts = Schema(
        doc:
            "Programs of the build machine, relative to the manifest that names them, that run as root in the image's tree once "
            + "its packages are configured and overlays and files are there: in this order, without network, with "
            + "`IMAGE_ID`, `IMAGE_VERSION` and `SOURCE_DATE_EPOCH` in their environment. What they do has to be the same each "
            + "time. One that says nothing for 30 minutes is ended.",
        kind: .list(of: Schema(doc: "", kind: .localPath(.executableFile)), .union), defaultValue: .value([]),
        example: "[prepare.sh]")

    private static let overlays = Schema(
        doc:
            "Directories that are copied over the tree in this order, relative to the manifest that names them. A file "
            + "`.ballast-modes` in one gives owners and modes: a line `MODE OWNER GROUP /PATH` each, `#` begins a comment. "
            + "Without one all is root's, 0755 or 0644. A file `.ballast-attributes` gives extended attributes: "
            + "`NAME=VALUE /PATH`, where the value of `security.capability` is as setcap(8) has it, such as "
            + "`security.capability=cap_net_raw+ep /usr/bin/probe`.",
        kind: .list(of: Schema(doc: "", kind: .localPath(.existingDirectory)), .union), defaultValue: .value([]),
        example: "[../overlays/base]")

    static let account = Schema(
        doc: "", kind: .string(what: "a user or group name", pattern: "[a-z_][a-z0-9_-]{0,30}"))
    private static let accountOrNumber = Schema(
        doc: "", kind: .string(what: "a name or a number", pattern: "[a-z_][a-z0-9_-]{0,30}|[0-9]{1,10}"))

    private static let files = Schema(
        doc: "Small files, written after the overlays. Below /var they are copied to a host that does not have them.",
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
                            kind: .string(what: "an octal mode, such as '0644'", pattern: "0?[0-7]{3,4}"),
                            defaultValue: .value("0644"), example: "\"0600\"")),
                    Key(
                        name: "owner",
                        schema: accountOrNumber.documented(
                            "The owner: a name, or a number that a build does not give to accounts (below 100, from 1000).",
                            "root", default: "root")),
                    Key(
                        name: "group",
                        schema: accountOrNumber.documented(
                            "The group: a name, or a number that a build does not give to accounts.", "root",
                            default: "root")),
                ])),
            .keyed(by: "path")),
        defaultValue: .value([]), example: "[{path: /etc/motd, content: \"hello\\n\"}]")

    /// This schema with a sentence, an example and a default of its own.
    func documented(_ doc: String, _ example: String, default value: JSONValue? = nil) -> Schema {
        var copy = self
        copy.doc = doc
        copy.example = example
        if let value { copy.defaultValue = .value(value) }
        return copy
    }
}
