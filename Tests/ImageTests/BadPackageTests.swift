import Assembly
import Command
import Cryptography
import DebianArchive
import FileIO
import FileTree
import SystemPackage
import TestSupport
import Testing

extension RealImages {
    /// Packages that somebody else has made, among the real ones.
    @Suite("Packages that are odd", .timeLimit(.minutes(120)))
    struct BadPackageTests {
        /// Makes a package by a shell script that fills `$1`, and adds it to the lock and to the cache of `build`.
        private static func add(
            _ name: String, control: String = "", _ script: String, to build: inout ImageBuild, in work: FilePath
        ) async throws {
            let tree = work.appending("tree-\(name)")
            let file = work.appending("\(name).deb")
            let text =
                "Package: \(name)\nVersion: 1.0\nArchitecture: all\nMaintainer: A <a@example.org>\nDescription: test\n"
            try tree.appending("DEBIAN").makeDirectories()
            try tree.appending("DEBIAN/control").replaceContents(with: text + control)
            let made = try await Command(
                "sh",
                [
                    "-euc",
                    "cd \"$1\"; \(script)\n[ ! -d usr ] || find usr -type f -exec md5sum {} + >DEBIAN/md5sums; chmod -f 0755 DEBIAN/p* || true\n[ -e \"$2\" ] || dpkg-deb -Znone --build . \"$2\"",
                    "sh", tree.string, file.string,
                ]
            ).outcome()
            try #require(made.status == 0, "\(made.errorText)")
            let digest = try SHA256Digest.ofFile(file)
            let suite = try #require(build.lock.suites.first?.name)
            let package = LockedPackage(
                name: name, version: "1.0", architecture: "all", path: "pool/\(name).deb", size: digest.size,
                digest: digest.digest, suite: suite)
            let cached = build.cache.path(of: package)
            try cached.removingLastComponent().makeDirectories()
            try cached.replaceContents(with: try file.contents())
            var lock = build.lock
            lock.packages.append(package)
            // What is read from the file is in its order.
            try lock.write(to: build.lockPath)
            lock = try Lock.load(build.lockPath)
            var changed = ImageBuild(
                manifest: build.manifest, lock: lock, lockPath: build.lockPath, version: build.version,
                cache: build.cache, agent: build.agent, output: build.output)
            changed.scratch = work
            changed.inspect = build.inspect
            changed.isChecked = build.isChecked
            build = changed
        }

        private static func message(of build: ImageBuild) async -> String {
            do {
                _ = try await build.run { _ in }
                return "no error"
            } catch { return "\(error)" }
        }

        @Test("a script that fails is named first, with what it said, and the whole log is left")
        func failingScript() async throws {
            let work = try TemporaryDirectory()
            var build = try await TestImage.build(
                in: work.path, output: work.path.appending("out"), manifest: "base")
            try await Self.add(
                "broken", "printf '#!/bin/sh\\necho the cause >&2\\nexit 3\\n' >DEBIAN/postinst", to: &build,
                in: work.path)
            let message = await Self.message(of: build)
            #expect(message.hasPrefix("the package 'broken' failed: "), "\(message)")
            #expect(message.contains("post-installation script subprocess returned error exit status 3"), "\(message)")
            #expect(message.contains("\n  the cause"), "\(message)")
            let log = work.path.appending("ballast-build-base_1.0.0_amd64.log")
            #expect(message.hasSuffix("the whole log is in \(log)"), "\(message)")
            let text = try log.text()
            #expect(text.contains("the cause") && text.contains("Setting up base-files"))
            #expect(!work.path.appending("out").exists)
        }

        @Test("what scripts make of the time and of randomness is named with its package, and nothing else is")
        func unequalRuns() async throws {
            let work = try TemporaryDirectory()
            let output = work.path.appending("out")
            var build = try await TestImage.build(in: work.path, output: output, manifest: "base")
            build.isChecked = true
            try await Self.add(
                "dated",
                // With an allocator that asks for the time as it starts, and as another user.
                "mkdir -p usr/lib/dated; cp /usr/lib/*/libjemalloc.so.2 usr/lib/dated/\n"
                    + "printf '#!/bin/sh\nLD_PRELOAD=\"$LD_PRELOAD /usr/lib/dated/libjemalloc.so.2\" date +%%Y >/etc/dated.conf\nsetpriv --reuid 1 --clear-groups date || exit 1\nmkdir /var/lib/dated /var/lib/dated/$(date +%%Y)\ncat /proc/sys/kernel/random/uuid >/var/lib/dated/id\n' >DEBIAN/postinst",
                to: &build, in: work.path)
            let message = await Self.message(of: build)
            let expected = try Regex(
                "4 paths differ between two runs:\n  /etc/dated.conf has another content \\(package dated\\)\n"
                    + "  /var/lib/dated/[0-9]+ is made in the first run only \\(package dated\\)\n"
                    + "  /var/lib/dated/[0-9]+ is made in the second run only \\(package dated\\)\n"
                    + "  /var/lib/dated/id has another content \\(package dated\\); have each host make them, with 'first_boot' "
                    + "in the manifest, or leave the package out")
            #expect(message.contains(expected), "\(message)")
            #expect(!output.exists)
        }

        @Test(
            "what no image may hold is refused by the package's name",
            arguments: [
                (
                    "escape",
                    "echo x >x; mkdir d; printf '2.0\\n' >debian-binary; tar cf control.tar -C DEBIAN control; "
                        + "tar cPf data.tar --transform 's,^x,../../../../tmp/escaped,' x; "
                        + "ar rc \"$2\" debian-binary control.tar data.tar",
                    "cannot unpack the package 'escape'"
                ),
                ("device", "mkdir -p dev-of-its-own; mknod dev-of-its-own/sda b 8 0", "'device': dev-of-its-own/sda"),
                (
                    "double", "mkdir -p etc; echo x >etc/debian_version",
                    "the package 'double' failed: trying to overwrite '/etc/debian_version', which is also in package base-files"
                ),
                (
                    "early", "printf '#!/bin/sh\\necho not yet >&2\\nexit 1\\n' >DEBIAN/preinst",
                    "the package 'early' failed: new early package pre-installation script subprocess returned error"
                ),
                (
                    "network", "printf '#!/bin/sh\ngetent hosts deb.debian.org && exit 0\nexit 3\n' >DEBIAN/postinst",
                    "the package 'network' failed: installed network package post-installation script subprocess returned error exit status 3"
                ),
                (
                    "robber", "printf '#!/bin/sh\nrm -rf /usr/lib/systemd\n' >DEBIAN/postinst",
                    "other paths of packages are gone after the packages' scripts have run; a script of 'robber' names it; mend"
                ),
                (
                    "latin", "mkdir -p usr/share/latin; touch \"$(printf 'usr/share/latin/caf\\351')\"",
                    "usr/share/latin/caf\u{FFFD}: a file name with a newline, or that is not UTF-8"
                ),
                (
                    "keys", "mkdir -p var/lib/keys; openssl genpkey -algorithm ed25519 -out var/lib/keys/own.pem",
                    "a private key is in the image, the same on every host: /var/lib/keys/own.pem; have each host make"
                ),
                (
                    "latin-link", "mkdir -p usr/share/l; ln -s \"$(printf 'caf\\351')\" usr/share/l/link",
                    "usr/share/l/link: a symbolic link whose target is not UTF-8"
                ),
                (
                    "latin-made",
                    "printf '#!/bin/sh\\nln -s \"$(printf caf\\\\\\\\351)\" /usr/lib/link\\n' >DEBIAN/postinst",
                    "usr/lib/link: the symbolic link's target is not valid UTF-8"
                ),
                (
                    "lines",
                    "mkdir -p d/usr/share/lines; touch \"$(printf 'd/usr/share/lines/a\\nb')\"; printf '2.0\\n' >debian-binary; "
                        + "tar cf control.tar -C DEBIAN control; tar cf data.tar -C d .; ar rc \"$2\" debian-binary control.tar data.tar",
                    "usr/share/lines/a\nb: a file name with a newline, or that is not UTF-8"
                ),
            ])
        func refused(name: String, script: String, expected: String) async throws {
            let work = try TemporaryDirectory()
            var build = try await TestImage.build(
                in: work.path, output: work.path.appending("out"), manifest: "base")
            try await Self.add(name, script, to: &build, in: work.path)
            let message = await Self.message(of: build)
            #expect(message.contains(expected), "\(message)")
            #expect(!FilePath("/tmp/escaped").exists)
            #expect(!work.path.appending("out").exists)
        }

        @Test("packages that must each be there before the other are named")
        func circular() async throws {
            let work = try TemporaryDirectory()
            var build = try await TestImage.build(
                in: work.path, output: work.path.appending("out"), manifest: "base")
            for (name, other) in [("hen", "egg"), ("egg", "hen")] {
                try await Self.add(name, control: "Pre-Depends: \(other)\n", ":", to: &build, in: work.path)
            }
            let message = await Self.message(of: build)
            #expect(message.contains("failed: pre-dependency problem"), "\(message)")
            #expect(
                message.contains("hen pre-depends on egg") || message.contains("egg pre-depends on hen"), "\(message)")
            #expect(!work.path.appending("out").exists)
        }

        @Test("what scripts leave, ask of kmod and take for the time stays inside, and out of the image")
        func leavings() async throws {
            let work = try TemporaryDirectory()
            let output = work.path.appending("out")
            var build = try await TestImage.build(
                in: work.path, output: output, manifest: "base",
                additions: "first_boot: [{remove: /var/roothome/.app/node.key}]\n")
            // Two names of one file, both to be kept as the administrator has them.
            try await Self.add(
                "leaving",
                """
                mkdir -p etc/left; echo x >etc/left/a; ln etc/left/a etc/left/b
                printf '/etc/left/a\\n/etc/left/b\\n' >DEBIAN/conffiles
                cat >DEBIAN/postinst <<'END'
                #!/bin/sh
                set -eu
                [ -n "$(kmod --version)" ]
                mkdir -p /root/.app
                echo secret >/root/.app/node.key
                touch "$(printf '/tmp/caf\\351')"
                date +%Y >/etc/year
                touch -d "@$(date +%s)" /usr/lib/stamped
                useradd --system left
                END
                """, to: &build, in: work.path)
            let years = 3
            build.surroundings.clockOffset = -years * 366 * 86_400
            let epoch = build.lock.epoch
            build.inspect = { tree, _ in
                #expect(tree.sortedPaths().filter { $0.hasSuffix("node.key") || $0.hasPrefix("tmp/") } == [])
                #expect(tree["etc/left/a"] != nil && tree["etc/left/b"] != nil)
                let year = String(decoding: try tree.contents(of: "etc/year"), as: UTF8.self)
                #expect(year == (try await Command("date", ["-d", "-\(years * 366) days", "+%Y"]).run().outputText))
                #expect(tree["usr/lib/stamped"]?.modified == epoch)
                let shadow = String(decoding: try tree.contents(of: "etc/shadow"), as: UTF8.self)
                for line in shadow.split(separator: "\n") {
                    #expect(line.split(separator: ":")[2] == "\(epoch / 86_400)", "\(line)")
                }
                #expect(tree["usr/sbin/depmod"]?.kind == .symbolicLink(target: "../bin/kmod"))
            }
            let message = await Self.message(of: build)
            #expect(message == "no error")
            let left = try work.path.directoryEntries().filter { $0.hasPrefix("ballast-build") }
            #expect(left == [])
        }

        @Test("a link that a script puts in a mount's place leads nothing out of the tree")
        func linkInTheWay() async throws {
            let work = try TemporaryDirectory()
            let outside = try TemporaryDirectory()
            for (name, text) in [
                ("first.sh", "set -e; mv /run /run.old; ln -s /oldroot\(outside.path) /run"), ("second.sh", ":"),
            ] {
                try work.path.appending(name).replaceContents(
                    with: "#!/bin/sh\n\(text)\n", permissions: FilePermissions(rawValue: 0o755))
            }
            let build = try await TestImage.build(
                in: work.path, output: work.path.appending("out"), manifest: "base",
                additions: "scripts: [first.sh, second.sh]\n")
            let message = await Self.message(of: build)
            #expect(
                message.contains("image.yaml:2:21: the build cannot mount a file at '/run/script-2' in the tree"),
                "\(message)")
            #expect(try outside.path.directoryEntries() == [])
        }

        @Test("diversions, overrides, scripts before unpacking, and what a script leaves running, are as dpkg has them")
        func semantics() async throws {
            let work = try TemporaryDirectory()
            var build = try await TestImage.build(
                in: work.path, output: work.path.appending("out"), manifest: "base")
            try await Self.add(
                "original", "mkdir -p usr/lib/odd; echo original >usr/lib/odd/file", to: &build, in: work.path)
            try await Self.add(
                "diverting",
                """
                mkdir -p usr/lib/odd; echo other >usr/lib/odd/file
                printf '#!/bin/sh\\ndpkg-divert --package diverting --add --rename --divert /usr/lib/odd/file.original /usr/lib/odd/file\\n' >DEBIAN/preinst
                """, to: &build, in: work.path)
            try await Self.add(
                "needing", control: "Pre-Depends: needed\n",
                "printf '#!/bin/sh\\ngrep -q configured /usr/lib/odd/state\\n' >DEBIAN/preinst", to: &build,
                in: work.path)
            try await Self.add(
                "needed",
                "printf '#!/bin/sh\\nmkdir -p /usr/lib/odd; echo configured >/usr/lib/odd/state\\n' >DEBIAN/postinst",
                to: &build, in: work.path)
            try await Self.add(
                "lingering",
                "printf '#!/bin/sh\\nsetsid sleep 100000 &\\ndpkg-statoverride --update --add root mail 2750 /usr/lib/odd\\n' >DEBIAN/postinst",
                to: &build, in: work.path)
            try await Self.add(
                "names", "mkdir -p 'usr/lib/odd/a b'; echo x >'usr/lib/odd/a b/ünïcode $HOME'", to: &build,
                in: work.path)
            // As postfix makes its settings of the machine's name, and as ucf(1) reads how dpkg settles what differs.
            try await Self.add(
                "named",
                """
                mkdir etc; echo brought >etc/odd.conf; echo /etc/odd.conf >DEBIAN/conffiles
                printf '#!/bin/sh\necho found >/etc/odd.conf\n' >DEBIAN/preinst
                printf '#!/bin/sh\n{ hostname; cat /etc/hostname /etc/resolv.conf; echo "$DPKG_FORCE"; } >/usr/lib/named\nsetpriv --reuid 1 --clear-groups touch /dev/shm/odd\n' >DEBIAN/postinst
                """, to: &build, in: work.path)
            // As drbd-utils: a directory where there is a link into /run, and what one script leaves there for another.
            try await Self.add(
                "running",
                """
                mkdir -p var/lock/odd
                printf '#!/bin/sh\nmkdir /run/odd /tmp/odd\n' >DEBIAN/preinst
                printf '#!/bin/sh\nrmdir /run/lock/odd /run/odd /tmp/odd && touch /usr/lib/ran\n' >DEBIAN/postinst
                """, to: &build, in: work.path)
            // An essential package, configured long before, waits for such files.
            try await Self.add(
                "shell",
                "mkdir -p usr/bin usr/share/debianutils/shells.d; cp /bin/true usr/bin/odd-shell; "
                    + "echo /usr/bin/odd-shell >usr/share/debianutils/shells.d/shell", to: &build, in: work.path)
            build.inspect = { tree, _ in
                let shells = String(decoding: try tree.contents(of: "etc/shells"), as: UTF8.self)
                #expect(shells.split(separator: "\n").contains("/usr/bin/odd-shell"))
                #expect(try tree.contents(of: "usr/lib/odd/file") == Array("other\n".utf8))
                #expect(try tree.contents(of: "usr/lib/odd/file.original") == Array("original\n".utf8))
                #expect(tree["usr/lib/odd/a b/ünïcode $HOME"] != nil)
                let named = String(decoding: try tree.contents(of: "usr/lib/named"), as: UTF8.self).split(
                    separator: "\n")
                #expect(named.count == 3 && named.prefix(2) == ["localhost", "localhost"], "\(named)")
                #expect(named.last?.split(separator: ",").contains("confdef") == true, "\(named)")
                #expect(try tree.contents(of: "etc/odd.conf") == Array("found\n".utf8))
                #expect(tree["etc/hostname"] == nil && tree["etc/.resolv.conf.systemd-resolved.bak"] == nil)
                #expect(tree["usr/lib/odd"]?.permissions == 0o2750)
                #expect(tree["usr/lib/ran"] != nil && tree.descendants(of: "run").isEmpty)
                let database = "usr/lib/sysimage/dpkg"
                let diversions = String(decoding: try tree.contents(of: "\(database)/diversions"), as: UTF8.self)
                #expect(diversions.contains("/usr/lib/odd/file\n/usr/lib/odd/file.original\ndiverting\n"))
                let overrides = String(decoding: try tree.contents(of: "\(database)/statoverride"), as: UTF8.self)
                #expect(overrides.contains("root mail 2750 /usr/lib/odd\n"))
            }
            let message = await Self.message(of: build)
            #expect(message == "no error")
        }
    }
}
