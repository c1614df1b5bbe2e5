import Assembly
import Command
import FileIO
import FileTree
import Synchronization
import SystemPackage
import TestSupport
import Testing

extension RealImages {
    /// What a release engineer adds to packages.
    @Suite("Own steps of a build", .timeLimit(.minutes(120)))
    struct OwnStepsTests {
        private static let manifest = """
            distribution: {components: [main, non-free-firmware]}
            kernel: {microcode: true}
            packages:
              install: [tzdata]
              build_only: [python3-minimal]
            debconf:
              - tzdata tzdata/Areas select Europe
              - tzdata tzdata/Zones/Europe select Lisbon
            overlays: [tree]
            scripts: [first.sh, second.py]
            initrd: {units: [early.service], modules: [me4000]}
            health:
              - name: early
                command: [/usr/bin/grep, '3', /run/early]
              - name: made
                command: [/usr/bin/grep, base 1.0.0, /etc/made]
            disk: {slot: 2 GiB}

            """

        private static func fill(_ work: FilePath) throws {
            func write(_ path: String, _ text: String, mode: UInt16 = 0o644) throws {
                let file = work.appending(path)
                try file.removingLastComponent().makeDirectories()
                try file.replaceContents(with: text, permissions: FilePermissions(rawValue: CInterop.Mode(mode)))
            }
            try write("first.sh", "#!/bin/sh\nset -eu\necho \"$IMAGE_ID $IMAGE_VERSION\" >/etc/made\n", mode: 0o755)
            try write(
                "second.py",
                """
                #!/usr/bin/python3
                import os, socket
                try:
                    socket.create_connection(("192.0.2.1", 80), 1)
                    raise SystemExit("there is a network")
                except OSError:
                    pass
                assert os.path.exists("/usr/local/bin/probe")
                open("/etc/made", "a").write("by python\\n")

                """, mode: 0o755)
            try write("tree/usr/lib/firmware/me4000_firmware.bin", "firmware")
            try write("tree/usr/local/bin/probe", "#!/bin/sh\n", mode: 0o755)
            try write(
                "tree/.ballast-attributes",
                "# What a checkout does not keep.\nsecurity.capability=cap_net_raw,cap_bpf+ep /usr/local/bin/probe\n"
                    + "user.origin=here /usr/local/bin\n")
            try write(
                "tree/usr/lib/systemd/system/early.service",
                "[Unit]\nDefaultDependencies=no\n[Service]\nType=oneshot\nExecStart=/usr/bin/cp /proc/sys/kernel/sysrq /run/other\n"
                    + "ExecStart=/usr/bin/sh -c 'echo 3 >/run/early'\n[Install]\nWantedBy=initrd.target\n")
        }

        @Test(
            "scripts, answers, packages for the build, attributes, microcode, firmware and units of the initrd do what they say"
        )
        func steps() async throws {
            let work = try TemporaryDirectory()
            try Self.fill(work.path)
            let output = work.path.appending("out")
            var build = try await TestImage.build(
                in: work.path, output: output, manifest: "base", additions: Self.manifest)
            build.isChecked = true
            let seen = Mutex<FileTree?>(nil)
            build.inspect = { tree, _ in seen.withLock { $0 = tree } }
            let report = try await build.run { _ in }
            let tree = try #require(seen.withLock { $0 })
            #expect(tree["usr/bin/python3.13"] == nil && tree["usr/bin/python3"] == nil)
            #expect(tree.descendants(of: "usr/lib/python3.13").isEmpty)
            #expect(tree["etc/localtime"]?.kind == .symbolicLink(target: "/usr/share/zoneinfo/Europe/Lisbon"))
            // libcap's reader says what the bytes mean.
            let capability = try #require(tree["usr/local/bin/probe"]?.extendedAttributes["security.capability"])
            let file = work.path.appending("probe")
            try file.replaceContents(with: "")
            let hexadecimal = capability.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
            try await Command("setfattr", ["-n", "security.capability", "-v", "0x\(hexadecimal)", file.string]).run()
            let text = try await Command("getcap", [file.string]).run().outputText
            #expect(text == "\(file) cap_net_raw,cap_bpf=ep\n")
            #expect(tree["usr/local/bin"]?.extendedAttributes["user.origin"] == Array("here".utf8))
            #expect(
                report.inputs.keys.filter { $0.hasPrefix("script ") }.sorted() == [
                    "script first.sh", "script second.py",
                ])

            let kernel = try #require(try output.directoryEntries().first { $0.hasSuffix(".efi") })
            let initrd = work.path.appending("initrd")
            try await Command(
                "objcopy", ["-O", "binary", "--only-section=.initrd", output.appending(kernel).string, initrd.string]
            ).run()
            let names = try await Command("sh", ["-c", "cpio -it <\"$1\" 2>/dev/null", "sh", initrd.string]).run()
                .outputText
            #expect(names.contains("kernel/x86/microcode/AuthenticAMD.bin"))
            #expect(names.contains("kernel/x86/microcode/GenuineIntel.bin"))
            // What comes after it is compressed.
            let rest =
                "import sys; data = open(sys.argv[1], 'rb').read(); "
                + "sys.stdout.buffer.write(data[data.index(bytes([0x28, 0xB5, 0x2F, 0xFD])):])"
            let others = try await Command(
                "sh", ["-c", "python3 -c \"$2\" \"$1\" | zstd -dc | cpio -it 2>/dev/null", "sh", initrd.string, rest]
            ).run().outputText
            for name in [
                "usr/lib/firmware/me4000_firmware.bin", "etc/systemd/system/initrd.target.wants/early.service",
            ] {
                #expect(others.contains("\n\(name)\n"), "\(name)")
            }

            let verdict = try await Command(
                BuiltExecutable.path("ballast").string, ["run", output.string, "--verdict", "--timeout", "3600"]
            ).outcome()
            #expect(verdict.outputText.hasPrefix("boot-complete base 1.0.0 after "), "\(verdict.errorText)")
        }

        @Test(
            "a step that fails is named with its line, and what it said",
            arguments: [
                ("scripts: [bad.sh]\n", "image.yaml:2:11: cannot run the script 'bad.sh': ", "no route to the depot"),
                (
                    "initrd: {units: [none.service]}\n",
                    "image.yaml:2:18: no package or overlay has the unit 'none.service'", ""
                ),
            ])
        func failing(additions: String, place: String, said: String) async throws {
            let work = try TemporaryDirectory()
            try work.path.appending("bad.sh").replaceContents(
                with: "#!/bin/sh\necho no route to the depot >&2\nexit 7\n",
                permissions: FilePermissions(rawValue: 0o755))
            let build = try await TestImage.build(
                in: work.path, output: work.path.appending("out"), manifest: "base", additions: additions)
            do {
                _ = try await build.run { _ in }
                Issue.record("it was built")
            } catch {
                #expect("\(error)".contains(place), "\(error)")
                #expect("\(error)".contains(said), "\(error)")
            }
            #expect(!work.path.appending("out").exists)
        }
    }
}
