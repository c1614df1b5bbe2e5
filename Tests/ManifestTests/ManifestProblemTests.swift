import Fault
import Manifest
import SystemPackage
import Testing

@Suite("Problems of manifests")
struct ManifestProblemTests {
    @Test(
        "no argument of the kernel turns verification off, names another root or is two",
        arguments: [
            "console=ttyS0 root=/dev/sda", "root", "ro", "rw", "systemd.verity=no", "rd.systemd.verity=0",
            "systemd.verity_root_options=ignore-corruption", "systemd.verity-root-data=/dev/sda", "rootflags=x",
            "systemd.volatile=yes", "systemd.volatile", "dm-mod.create=x", "dm_mod.create=x", "noinitrd",
            "\"root=/dev/sda\"",
            "'root=/dev/sda'", "ro\\ot=/dev/sda", "mount.usr=/dev/sda", "systemd.gpt-auto=1", "usrhash=1",
        ])
    func kernelArguments(argument: String) throws {
        let escaped = argument.replacing("\\", with: "\\\\").replacing("\"", with: "\\\"")
        let files = try ManifestFiles(["m.yaml": "product: x\nkernel: {command_line: [\"\(escaped)\"]}\n"])
        let fault = #expect(throws: ManifestFault.self) { try files.load("m.yaml") }
        #expect(fault?.code == .badValue)
    }

    @Test("other arguments of the kernel are taken as they are")
    func usualKernelArguments() throws {
        let usual = [
            "console=ttyS0,115200n8", "rootwait", "rootdelay=5", "roothashes=1", "init_on_alloc=1",
            "mitigations=auto,nosmt",
            "dm_verity.require_signatures=1", "systemd.mask=a.service", "nomodeset", "usbcore.autosuspend=-1", "quiet",
            "module_blacklist=a,b", "rodata=full", "usr-quirk",
        ]
        let list = usual.map { "\"\($0)\"" }.joined(separator: ", ")
        let manifest = try ManifestFiles(["m.yaml": "product: x\nkernel: {command_line: [\(list)]}\n"]).load("m.yaml")
        #expect(manifest.kernel.commandLine == usual)
    }

    @Test("an editor's byte order mark and line ends are no part of what a manifest says")
    func otherEditor() throws {
        let plain = "product: x\nfiles:\n  - path: /etc/motd\n    content: |\n      one\n      two\n"
        let manifest = try ManifestFiles(["m.yaml": plain]).load("m.yaml")
        let edited = try ManifestFiles(["m.yaml": "\u{FEFF}" + plain.replacing("\n", with: "\r\n")]).load("m.yaml")
        #expect(edited.files == manifest.files)
        #expect(edited.digest == manifest.digest)
    }

    @Test(
        "each mistake is one line with its place, what was expected and what was meant",
        arguments: [
            (
                "product: x\npakages: {}\n",
                "m.yaml:2:1: unknown key 'pakages', expected one of product, architecture, include, distribution, "
                    + "packages, kernel, initrd, debconf, overlays, files, scripts, units, users, groups, first_boot, private_keys, etc, disk, health, update, boot; "
                    + "did you mean 'packages'?"
            ),
            (
                "product: x\nunits: {enabel: []}\n",
                "m.yaml:2:9: unknown key 'enabel' in 'units', expected one of enable, disable, mask, presets; did you "
                    + "mean 'enable'?"
            ),
            (
                "product: x\npackages: {install: nano}\n",
                "m.yaml:2:21: 'packages.install' is a string, expected a list of strings, each a package name, NAME=VERSION or NAME/SUITE; write "
                    + "[nano]"
            ),
            (
                "product: x\npackages:\n  install: [Nano]\n",
                "m.yaml:3:13: 'packages.install[0]' is 'Nano', expected a package name, NAME=VERSION or NAME/SUITE; did you mean 'nano'?"
            ),
            (
                "product: x\nunits: {enable: [sshd]}\n",
                "m.yaml:2:18: 'units.enable[0]' is 'sshd', expected a unit name with its type, such as 'sshd.service'; "
                    + "did you mean 'sshd.service'?"
            ),
            (
                "product: x\npackages: {recommends: yes}\n",
                "m.yaml:2:24: 'packages.recommends' is a string, expected true or false"
            ),
            (
                "product: true\n",
                "m.yaml:1:10: 'product' is a boolean, expected a name of lower-case letters, digits and '-'; put it in quotes if the text is meant"
            ),
            (
                "etc: persistent\n",
                "m.yaml:1:1: the key 'product' is missing, expected a name of lower-case letters, digits and '-'; add 'product: containerd'"
            ),
            (
                "product: x\netc: ephemral\n",
                "m.yaml:2:6: 'etc' is 'ephemral', expected 'persistent' or 'ephemeral'; did you mean 'ephemeral'?"
            ),
            (
                "product: x\ndisk: {slot: 1 GB}\n",
                "m.yaml:2:14: 'disk.slot' is '1 GB', expected a size from 64 MiB to 1 TiB, such as '512 MiB'; did you mean "
                    + "'1 GiB'?"
            ),
            (
                "product: x\ndisk: {slot: 65537 KiB}\n",
                "m.yaml:2:14: 'disk.slot' is '65537 KiB', expected a size from 64 MiB to 1 TiB, such as '512 MiB'; round it "
                    + "to a multiple of 1 MiB"
            ),
            (
                "product: x\ndisk: {sector_size: 1024}\n",
                "m.yaml:2:21: 'disk.sector_size' is '1024', expected 512 or 4096"
            ),
            ("product: x\nboot: {tries: 10}\n", "m.yaml:2:15: 'boot.tries' is '10', expected an integer from 1 to 9"),
            (
                "product: x\nboot: {watchdog: 29s}\n",
                "m.yaml:2:18: 'boot.watchdog' is '29s', expected 0s, or a duration from 30s to 10m, such as '90s'"
            ),
            (
                "product: x\nupdate: {interval: 90}\n",
                "m.yaml:2:20: 'update.interval' is '90', expected a duration from 1s to 30d, such as '90s'; did you "
                    + "mean '90s'?"
            ),
            (
                "product: x\nhealth: [{name: a, unit: a.service, tcp: \"b:1\"}]\n",
                "m.yaml:2:10: 'health[0]' has unit and tcp, expected exactly one of them"
            ),
            (
                "product: x\nhealth: [{name: a, tcp: \"localhost:99999\"}]\n",
                "m.yaml:2:25: 'health[0].tcp' is 'localhost:99999', expected a host and port, such as '127.0.0.1:80'"
            ),
            (
                "product: x\nhealth: [{name: a, tcp: \"localhost:0\"}]\n",
                "m.yaml:2:25: 'health[0].tcp' is 'localhost:0', expected a host and port, such as '127.0.0.1:80'"
            ),
            (
                "product: x\nhealth: [{name: a, http: \"http://127.0.0.1:65536/\"}]\n",
                "m.yaml:2:26: 'health[0].http' is 'http://127.0.0.1:65536/', expected an address such as "
                    + "'https://host:8443/path', with 'http://' or 'https://' before it"
            ),
            (
                "product: x\nupdate: {url: \"http://a b/\"}\n",
                "m.yaml:2:15: 'update.url' is 'http://a b/', expected an address such as 'https://host:8443/path', without '?' and "
                    + "'#'"
            ),

            (
                "product: x\nhealth: [{name: a, command: [curl, -f]}]\n",
                "m.yaml:2:30: 'health[0].command[0]' is 'curl', expected a program by its absolute path; did you mean "
                    + "'/usr/bin/curl'?"
            ),
            (
                "product: x\nhealth: [{name: a, command: ['']}]\n",
                "m.yaml:2:30: 'health[0].command[0]' is '', expected a program by its absolute path"
            ),
            (
                "product: x\nusers: [{name: a, uid: 0}]\n",
                "m.yaml:2:24: 'users[0].uid' is '0', expected an integer from 1 to 4294967294"
            ),
            (
                "product: x\nhealth: [{name: a}]\n",
                "m.yaml:2:10: 'health[0]' says nothing to check, expected one of unit, command, http, tcp, containerd"
            ),
            (
                "product: x\nhealth: [{unit: a.service}]\n",
                "m.yaml:2:10: 'health[0]' has no 'name', expected a name of lower-case letters, digits and '-'"
            ),
            (
                "product: x\nhealth:\n  - {name: a, unit: a.service}\n  - {name: a, unit: b.service}\n",
                "m.yaml:4:5: name 'a' stands twice in 'health', first at line 3"
            ),
            (
                "product: x\nkernel: {command_line: [\"root=/dev/sda1\"]}\n",
                "m.yaml:2:25: 'kernel.command_line[0]' is 'root=/dev/sda1', expected one kernel argument without spaces, "
                    + "quotes and '\\', and none by which Ballast finds and verifies the root file system (root, ro, rw, roothash, "
                    + "systemd.verity and the like)"
            ),
            (
                "product: x\nfiles: [{path: /etc/../x, content: \"\"}]\n",
                "m.yaml:2:16: 'files[0].path' is '/etc/../x', expected an absolute path without '.' and '..'"
            ),
            (
                "product: x\nboot:\n\ttries: 3\n",
                "m.yaml:3:1: not valid YAML: a tab stands where YAML takes only spaces"
            ),
            (
                "product: x\netc: [\n",
                "m.yaml:3:1: not valid YAML: did not find expected node content"
            ),
            (
                "product: x\npackages:\n  install: [a\nunits: {}\n",
                "m.yaml:4:6: not valid YAML: did not find expected ',' or ']' while parsing a flow sequence from 3:12 on"
            ),
            ("product: x\nproduct: y\n", "m.yaml:2:1: not valid YAML: the key 'product' stands twice in one mapping"),
            (
                "product: x\nfiles:\n  - path: /a\n    content: path\n    'path': /b\n  - path: /c\n    content: \"\"\n",
                "m.yaml:5:5: not valid YAML: the key 'path' stands twice in one mapping"
            ),
            (
                "product: x\nboot: {tries: 1, tries: 2}\n",
                "m.yaml:2:8: not valid YAML: the key 'tries' stands twice in one mapping"
            ),
            (
                "product: x\npackages: {install: !remov [a]}\n",
                "m.yaml:2:21: unknown tag '!remov', expected '!replace' or '!remove'; did you mean '!remove'?"
            ),
            ("- product\n", "m.yaml:1:1: the manifest is a list, expected a mapping"),
            (
                "product: x\nscripts: [m.yaml]\n",
                "m.yaml:2:11: 'm.yaml' cannot be run; make it executable with 'chmod +x'"
            ),
        ])
    func message(text: String, expected: String) throws {
        #expect(try ManifestFiles(["m.yaml": text]).problems() == [expected])
    }

    @Test("two accounts with one number are refused", arguments: [("users", "uid"), ("groups", "gid")])
    func equalNumbers(list: String, key: String) throws {
        let files = try ManifestFiles([
            "m.yaml": "product: x\n\(list): [{name: a, \(key): 7}, {name: b}, {name: c, \(key): 7}]\n"
        ])
        let fault = #expect(throws: ManifestFault.self) { try files.load("m.yaml") }
        #expect(fault?.message == "'c' has the \(key) 7, which 'a' has")
    }

    @Test("an overlay that is missing is named with the place where it was looked for and the likely name")
    func overlay() throws {
        let files = try ManifestFiles([
            "a/m.yaml": "product: x\noverlays: [../overlays/bsae, ../a/m.yaml]\n", "overlays/base/": "",
        ])
        #expect(
            files.problems("a/m.yaml") == [
                "a/m.yaml:2:12: there is no directory '../overlays/bsae', expected it at overlays/bsae; did you mean "
                    + "'../overlays/base'?",
                "a/m.yaml:2:30: '../a/m.yaml' is not a directory, expected one at a/m.yaml",
            ])
    }

    @Test("root metadata that is missing is named with what makes it")
    func trustedRoot() throws {
        let files = try ManifestFiles([
            "m.yaml": "product: x\nupdate:\n  trusted_root: repo/root.json\n",
            "n.yaml": "product: x\nupdate: {trusted_root: trust/rot.json}\n", "trust/root.json": "{}",
        ])
        #expect(
            files.problems() == [
                "m.yaml:3:17: there is no file 'repo/root.json', expected it at repo/root.json; make the repository first, "
                    + "with 'ballast repo init'"
            ])
        #expect(
            files.problems("n.yaml") == [
                "n.yaml:2:24: there is no file 'trust/rot.json', expected it at trust/rot.json; did you mean "
                    + "'trust/root.json'?"
            ])
    }

    @Test("a value of the merged manifest knows where it was written")
    func places() throws {
        let files = try ManifestFiles([
            "base.yaml": "disk: {slot: 512 MiB}\npackages:\n  install: [aa, bb]\n",
            "m.yaml": "include: [base.yaml]\nproduct: x\npackages:\n  install:\n    - cc\n",
        ])
        let manifest = try files.load("m.yaml")
        func place(_ key: String, _ element: String? = nil) -> String? {
            manifest.place(of: key, element: element)?.description
        }
        #expect(place("disk.slot")?.hasSuffix("base.yaml:1:14") == true)
        #expect(place("packages.install", "bb")?.hasSuffix("base.yaml:3:17") == true)
        #expect(place("packages.install", "cc")?.hasSuffix("m.yaml:5:7") == true)
        #expect(place("disk.esp") == nil)
        #expect(place("packages.install", "d") == nil)
    }

    @Test("a cycle of includes is named as a chain, and not followed")
    func cycle() throws {
        let files = try ManifestFiles([
            "a.yaml": "product: x\ninclude: [b.yaml]\n", "b.yaml": "include: [c.yaml]\n",
            "c.yaml": "include: [a.yaml]\n",
        ])
        #expect(
            files.problems("a.yaml") == [
                "c.yaml:1:11: manifests include one another: a.yaml -> b.yaml -> c.yaml -> a.yaml; remove one of these "
                    + "includes"
            ])
        #expect(
            try ManifestFiles(["m.yaml": "product: x\ninclude: [m.yaml]"]).problems() == [
                "m.yaml:2:11: manifests include one another: m.yaml -> m.yaml; remove one of these includes"
            ])
    }

    @Test("a missing include is named where it stands")
    func missingInclude() throws {
        let files = try ManifestFiles(["m.yaml": "product: x\ninclude: [bsae.yaml]\n", "base.yaml": ""])
        #expect(
            files.problems() == [
                "m.yaml:2:11: the included manifest is not there, expected it at bsae.yaml; did you mean 'base.yaml'?"
            ])
        #expect(
            files.problems("n.yaml") == [
                "n.yaml: there is no such manifest; name a file that is there: its directory has base.yaml, m.yaml"
            ])
    }

    @Test("the problems of all files are reported in one run")
    func all() throws {
        let files = try ManifestFiles([
            "m.yaml": "include: [base.yaml, no.yaml]\nproduct: X\nfoo: 1\n", "base.yaml": "etc: never\nunits: []\n",
        ])
        let problems = files.problems()
        #expect(problems.count == 5)
        let fault = try #require(throws: ManifestFault.self) { try files.load("m.yaml") }
        #expect(fault.code == .several)
        #expect(
            "\(fault)".replacing("\(files.path)/", with: "")
                == (["5 problems in the manifest:"] + problems).joined(separator: "\n"))
    }

    @Test("removing what is not there is a mistake, and is said")
    func nothingToRemove() throws {
        let files = try ManifestFiles([
            "base.yaml": "packages: {install: [nano]}\n",
            "m.yaml": "product: x\ninclude: [base.yaml]\npackages:\n  install: !remove [nanoo]\n",
        ])
        #expect(
            files.problems() == [
                "m.yaml:4:21: '!remove' names 'nanoo' of 'packages.install', expected something that an included manifest "
                    + "has; did you mean 'nano'?"
            ])
    }

    @Test("a file, a nesting or an expansion beyond the limits ends with an error, not with the memory")
    func limits() throws {
        let large = try ManifestFiles(["m.yaml": "# " + String(repeating: "x", count: 1 << 20)])
        #expect(large.problems() == ["m.yaml: the manifest is larger than 1 MiB; large files belong into an overlay"])
        for depth in [100, 100_000] {
            let deep = try ManifestFiles(["m.yaml": "product: " + String(repeating: "[", count: depth)])
            #expect(deep.problems().count == 1)
        }
        let nested = String(repeating: "[", count: 100) + String(repeating: "]", count: 100)
        #expect(
            try ManifestFiles(["m.yaml": "product: " + nested]).problems()
                == ["m.yaml:1:41: nested more than 32 levels deep"])
        // The billion laughs: each line has ten of the one before.
        var bomb = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n"
        for level in 1...9 {
            let aliases = Array(repeating: "*a\(level - 1)", count: 10).joined(separator: ",")
            bomb += "a\(level): &a\(level) [\(aliases)]\n"
        }
        #expect(try ManifestFiles(["m.yaml": bomb]).problems() == ["m.yaml: more than 20000 values"])
        // As a key, one of a size that would be allowed too: it would be hashed with all that is in it.
        for key in ["? *a3\n: 1\n", "k: {*a3 : 1}\n", "? [x]\n: 1\n", "k: {[*a1], x: 1}\n"] {
            let lines = bomb.split(separator: "\n").prefix(4).joined(separator: "\n")
            let problems = try ManifestFiles(["m.yaml": "\(lines)\n\(key)"]).problems()
            #expect(problems.count == 1 && problems[0].hasSuffix("a key must be a word"), "\(problems)")
        }
        // Each line is one level deeper than the one before.
        let ladder = (1...30_000).map { "a\($0): &a\($0) [*a\($0 - 1)]\n" }.joined()
        #expect(
            try ManifestFiles(["m.yaml": "a0: &a0 x\n" + ladder]).problems()
                == ["m.yaml:32:12: nested more than 32 levels deep"])
        // Anchors are of use all the same.
        #expect(
            try ManifestFiles([
                "m.yaml": "product: &name xx\npackages: {install: &list [*name ], remove: []}\n"
            ]).problems() == [])
        var chain = ["m.yaml": "product: x\ninclude: [n0.yaml]\n"]
        for level in 0..<20 { chain["n\(level).yaml"] = "include: [n\(level + 1).yaml]\n" }
        chain["n20.yaml"] = ""
        #expect(
            try ManifestFiles(chain).problems() == [
                "n14.yaml:1:11: more than 64 manifests, or includes more than 16 levels deep"
            ])
    }
}
