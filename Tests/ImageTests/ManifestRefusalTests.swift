import Assembly
import Command
import Fault
import FileIO
import Glibc
import Manifest
import SystemPackage
import TestSupport
import Testing

/// Has the packages of the shipped manifest installed while the suite runs.
private struct InstalledPackages: SuiteTrait, TestScoping {
    @TaskLocal static var current: (build: ImageBuild, installed: TreeBuild.Installed)?

    func provideScope(
        for test: Test, testCase: Test.Case?, performing function: @Sendable () async throws -> Void
    ) async throws {
        let work = try TemporaryDirectory()
        let build = try await TestImage.build(in: work.path, output: work.path.appending("out"))
        var clock = StageClock()
        let installed = try await build.treeBuild().install(
            in: work.path.appending("tree"), logs: work.path, &clock)
        try await Self.$current.withValue((build, installed)) { try await function() }
    }
}

extension RealImages {
    /// What the packages show a manifest to be wrong in. They are installed once, and each manifest gets them by an overlay
    /// mount.
    @Suite("Manifests that their packages refuse", InstalledPackages(), .timeLimit(.minutes(120)))
    struct ManifestRefusalTests {
        /// What a build says of the shipped manifest with `additions`, once its packages are installed.
        ///
        /// - Parameters:
        ///   - script: the file `script` beside the manifest.
        ///   - overlay: a shell script that fills the directory `tree` beside the manifest.
        ///   - silence: for how many seconds scripts may say nothing.
        private func fault(
            additions: String, agent: AgentExecutables? = nil, script: String? = nil, overlay: String? = nil,
            silence: Int? = nil
        ) async throws -> String {
            let packages = try #require(InstalledPackages.current)
            let work = try TemporaryDirectory()
            if let script {
                try work.path.appending("script").replaceContents(
                    with: script, permissions: FilePermissions(rawValue: 0o755))
            }
            if let overlay {
                let tree = work.path.appending("tree")
                try tree.makeDirectories()
                try await Command("sh", ["-euc", overlay], directory: tree).run()
            }
            let manifest = work.path.appending("image.yaml")
            let include = TestImage.repository.appending("manifests/containerd.yaml")
            try manifest.replaceContents(with: "include: [\(include)]\n\(additions)")
            var build = ImageBuild(
                manifest: try Manifest.load(manifest), lock: packages.build.lock, lockPath: packages.build.lockPath,
                version: "1.0.0", cache: packages.build.cache, agent: agent ?? packages.build.agent,
                output: work.path.appending("out"))
            if let silence { build.surroundings.longestSilence = silence }
            var installed = packages.installed
            let (upper, lower) = (work.path.appending("upper"), installed.root)
            installed.root = work.path.appending("root")
            installed.work = work.path.appending("work")
            for path in [upper, installed.root, installed.work, work.path.appending("overlay")] {
                try path.makeDirectories()
            }
            try await Command(
                "mount",
                [
                    "-t", "overlay", "overlay", "-o",
                    "lowerdir=\(lower),upperdir=\(upper),workdir=\(work.path.appending("overlay"))",
                    installed.root.string,
                ]
            ).run()
            let outcome: String
            do {
                var clock = StageClock()
                _ = try await build.treeBuild().finish(installed, &clock)
                outcome = "it was built"
            } catch { outcome = "\(error)" }
            try await Command("umount", [installed.root.string]).run()
            return outcome
        }

        @Test("what is right is built")
        func nothingWrong() async throws {
            let message = try await fault(additions: "health: [{name: unit, unit: containerd.service}]\n")
            #expect(message == "it was built")
        }

        @Test("a script may replace programs, starts no service, and sees the numbers that the manifest gives")
        func script() async throws {
            let script = """
                #!/bin/sh
                set -eux
                for program in /usr/bin/journalctl /usr/sbin/depmod; do mv $program /usr/old; mv /usr/old $program; done
                status=0; /usr/sbin/policy-rc.d || status=$?
                [ $status = 101 ]
                rm /usr/sbin/policy-rc.d
                [ "$(id -u web):$(id -g web)" = 1990:1990 ]
                """
            let message = try await fault(
                additions: "users: [{name: web, uid: 1990}]\nscripts: [script]\n", script: script)
            #expect(message == "it was built")
        }

        @Test("the modes of an overlay are read whatever is between their fields and ends their lines")
        func overlayModes() async throws {
            let message = try await fault(
                additions: "overlays: [tree]\nscripts: [script]\n",
                script: "#!/bin/sh\nset -e\n[ $(stat -c %a /etc/x) = 600 ]\n[ $(stat -c %a /etc/y) = 640 ]\n",
                overlay: "mkdir etc; echo >etc/x; echo >etc/y\n"
                    + "printf '# a comment\\r\\n0600 root root /etc/x\\r\\n0640\\troot  adm\\t/etc/y\\r\\n' >.ballast-modes"
            )
            #expect(message == "it was built")
        }

        @Test("a script that neither ends nor says anything is ended, with what it started")
        func hangingScript() async throws {
            let message = try await fault(
                additions: "scripts: [script]\n", script: "#!/bin/sh\necho began\nsleep 86399 & sleep 86399\n",
                silence: 3)
            #expect(message.contains("nothing was said for 3 s") && message.contains("\n  began"), "\(message)")
            let sleeping = try await Command("pgrep", ["-f", "^sleep 86399$"]).outcome()
            #expect(sleeping.outputText == "")
        }

        @Test(
            "a script that no program of the image can run is refused with its line",
            arguments: [
                (
                    "#!/usr/bin/nosuch -x\n",
                    "image.yaml:2:11: the script 'script' needs '/usr/bin/nosuch', which no package or overlay has; add the "
                        + "package that has it to 'packages.install' or 'packages.build_only'"
                ),
                (
                    "#!/bin/sh\r\ntrue\r\n",
                    "image.yaml:2:11: the script 'script' has CRLF line ends; save it with LF line ends"
                ),
            ])
        func interpreter(script: String, expected: String) async throws {
            let message = try await fault(additions: "scripts: [script]\n", script: script)
            #expect(message.hasSuffix(expected), "\(message)")
        }

        @Test(
            "an overlay that cannot be what it says is refused by its file and line",
            arguments: [
                (
                    "echo >x; echo '0999 root root /x' >.ballast-modes",
                    "/.ballast-modes:1:1: '0999' is not an octal mode; write"
                ),
                (
                    "echo '0700 root root /' >.ballast-modes",
                    "/.ballast-modes:1:1: '/' is not the absolute path of a file in"
                ),
                (
                    "echo '0700 root /x' >.ballast-modes",
                    "/.ballast-modes:1:1: expected 'MODE OWNER GROUP /PATH'; write"
                ),
                (
                    "printf '#\\n0600 root root /y\\n' >.ballast-modes",
                    "/.ballast-modes:2:1: names '/y', which the overlay does not have; correct the path"
                ),
                (
                    "printf '#\\nuser.x=y /y\\n' >.ballast-attributes",
                    "/.ballast-attributes:2:1: names '/y', which the overlay does not have; correct the path"
                ),
                ("echo >x; echo '0600 no root /x' >.ballast-modes", "/.ballast-modes:1:1: the image has no user 'no'"),
                ("mkdir usr; echo >usr/lib", "tree/usr/lib: '/usr/lib' is a directory in the image, and no file can"),
                (
                    "mkdir -p etc/passwd",
                    "tree/etc/passwd: '/etc/passwd' is a file in the image, and a directory in the"
                ),
                (
                    "mkdir etc; python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind(\"etc/sock\")'",
                    "etc/sock: is a socket, which no image can hold"
                ),
            ])
        func badOverlay(overlay: String, expected: String) async throws {
            let message = try await fault(additions: "overlays: [tree]\n", overlay: overlay)
            #expect(message.contains(expected), "\(message)")
        }

        @Test("a unit that no package has is refused by name")
        func unknownUnit() async throws {
            let message = try await fault(additions: "units: {enable: [nginx.service]}\n")
            #expect(
                message.hasSuffix(
                    "image.yaml:2:18: the manifest enables the unit 'nginx.service', and no package or overlay has it; add the "
                        + "package that has it to 'packages.install'"), "\(message)")
        }

        @Test(
            "a health check that looks at what the image does not have is refused with its line",
            arguments: [
                (
                    "{name: unit, unit: containrd.service}",
                    "image.yaml:2:29: the health check 'unit' looks at the unit 'containrd.service', and no package or overlay has "
                        + "it; did you mean 'containerd.service'?"
                ),
                (
                    "{name: program, command: [/usr/bin/nosuch]}",
                    "image.yaml:2:35: the health check 'program' runs '/usr/bin/nosuch', and no package or overlay has it; correct "
                        + "its path, or add the package that has it to 'packages.install'"
                ),
            ])
        func healthTarget(check: String, expected: String) async throws {
            let message = try await fault(additions: "health: [\(check)]\n")
            #expect(message.hasSuffix(expected), "\(message)")
        }

        @Test(
            "what the manifest says of users and units and the image cannot have is refused with its line",
            arguments: [
                (
                    "users: [{name: web, uid: 33}]\n",
                    "image.yaml:2:26: the user 'web' cannot have the number 33, which 'www-data' has; choose another number"
                ),
                (
                    "users: [{name: web, shell: /usr/bin/zsh}]\n",
                    "image.yaml:2:28: the user 'web' has the shell '/usr/bin/zsh', and no package or overlay has it"
                ),
                (
                    "files: [{path: /etc, content: x}]\n",
                    "image.yaml:2:16: '/etc' is a directory in the image, and no file can take its place; name a file below it"
                ),
                (
                    "files: [{path: /etc/foo, content: x, owner: webb}]\n",
                    "image.yaml:2:45: the image has no user 'webb'; declare it under 'users' in the manifest"
                ),
                (
                    "files: [{path: /etc/foo, content: x, group: \"998\"}]\n",
                    "image.yaml:2:45: 998 is one of the numbers that a build gives to accounts, and may be another group's at the "
                        + "end; name the group, or take a number outside 100 to 999"
                ),
                (
                    "users: [{name: web, uid: 1500}]\nfiles: [{path: /etc/foo, content: x, owner: \"1500\"}]\n",
                    "image.yaml:3:45: 1500 is the number of the user 'web' while the image is built, and may be another one's at "
                        + "the end; name the user"
                ),
                (
                    "kernel: {modules: [virtoi_*]}\n", "image.yaml:2:20: no module of the kernel "
                ),
                (
                    "units: {mask: [apt-dialy.timer]}\n",
                    "image.yaml:2:16: no package or overlay has the unit 'apt-dialy.timer' that the manifest would mask; did you "
                        + "mean 'apt-daily.timer'?"
                ),
                (
                    "files: [{path: /etc/systemd/system/mine.service, content: \"[Service]\\nExecStart=/bin/true\\n\"}]\n"
                        + "units: {enable: [mine.service]}\n",
                    "image.yaml:3:18: the manifest enables the unit 'mine.service', whose file does not say what starts it; give "
                        + "it a section [Install]"
                ),
            ])
        func namedInVain(additions: String, expected: String) async throws {
            let message = try await fault(additions: additions)
            #expect(message.contains(expected), "\(message)")
        }

        @Test("an agent that cannot read its settings is refused before a host gets it")
        func brokenAgent() async throws {
            let work = try TemporaryDirectory()
            let daemon = work.path.appending("ballastd")
            try daemon.replaceContents(with: "#!/bin/sh\necho \"it is broken\" >&2\nexit 3\n")
            let message = try await fault(
                additions: "", agent: AgentExecutables(daemon: daemon, control: try BuiltExecutable.path("ballastctl")))
            #expect(message.contains("cannot have the agent read its settings: "), "\(message)")
            #expect(message.contains("it is broken"), "\(message)")
        }
    }
}
