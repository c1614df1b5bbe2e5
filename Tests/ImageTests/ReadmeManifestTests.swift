import Command
import FileIO
import SystemPackage
import TestSupport
import Testing

extension RealImages {
    @Suite("The README's first own manifest", .timeLimit(.minutes(120)))
    struct ReadmeManifestTests {}
}

extension RealImages.ReadmeManifestTests {
    /// The block of the README that begins with a comment of this name.
    private static func block(_ name: String) throws -> String {
        let lines = try TestImage.repository.appending("README.md").text().split(
            separator: "\n", omittingEmptySubsequences: false)
        let begin = try #require(lines.firstIndex(of: "# \(name)"))
        return lines[begin...].prefix { $0 != "```" }.joined(separator: "\n") + "\n"
    }

    @Test(
        "it is checked, locked, built and boots healthy from sectors of 4 KiB, with what packages and files have below /var"
    )
    func web() async throws {
        let work = try TemporaryDirectory()
        for name in ["manifests", "overlays"] {
            try await Command(
                "ln", ["-s", TestImage.repository.appending(name).string, work.path.appending(name).string]
            ).run()
        }
        try work.path.appending("web.yaml").replaceContents(with: try Self.block("web.yaml"))
        try work.path.appending("site.yaml").replaceContents(
            with: """
                include: [web.yaml]
                # The other images of the tests have the usual sectors.
                disk: {sector_size: 4096, esp: 128 MiB}
                files:
                  - path: /var/www/html/page 1.txt
                    content: "100 % of it\\n"
                    owner: www-data
                  - path: /root/.profile
                    content: "echo hello\\n"
                  - path: /usr/lib/tmpfiles.d/site.conf
                    content: "f /var/lib/site/settings 0644 root root\\n"
                  - path: /var/lib/site/settings
                    content: "from the image\\n"
                  - path: /var/lib/app/keys/deep/key 1
                    content: "of root\\n"
                    mode: "0600"
                  - path: /etc/hostname
                    content: "site\n"
                  - path: /etc/resolv.conf
                    content: "nameserver 192.0.2.1\n"
                  - path: /var/log/app/begun
                    content: "by the image\n"
                overlays: [overlay]
                health:
                  - name: hostname
                    command: [/usr/bin/sh, -c, "test $(uname -n) = site"]
                  - name: resolver
                    command: [/usr/bin/grep, 192.0.2.1, /etc/resolv.conf]
                  - name: begun
                    command: [/usr/bin/grep, image, /var/log/app/begun]
                  - name: page
                    http: http://127.0.0.1/page%201.txt
                  - name: owner
                    command: [/usr/bin/sh, -c, "test $(stat -c %U:%a '/var/www/html/page 1.txt') = www-data:644"]
                  - name: home
                    command: [/usr/bin/grep, hello, /root/.profile]
                  - name: settings
                    command: [/usr/bin/grep, image, /var/lib/site/settings]
                  - name: private
                    command: [/usr/bin/sh, -c, "test $(stat -c %a /usr/share/factory/var/roothome) = 700"]
                  - name: log
                    command: [/usr/bin/sh, -c, "test $(stat -c %U:%G /var/log/nginx) = root:adm"]
                  - name: foreign
                    command: [/usr/bin/sh, -c, "test $(stat -c %U:%a /var/lib/app /var/lib/app/keys '/var/lib/app/keys/deep/key 1' | paste -sd,) = www-data:755,root:755,root:600"]
                  - name: below
                    command: [/usr/bin/grep, root, /var/lib/app/keys/deep/key 1]

                """)
        // A directory of root's below one of a service's: systemd-tmpfiles goes into none by itself.
        try work.path.appending("overlay/var/lib/app").makeDirectories()
        try work.path.appending("overlay/.ballast-modes").replaceContents(with: "0755 www-data www-data /var/lib/app\n")
        let ballast = try BuiltExecutable.path("ballast").string
        let manifest = work.path.appending("site.yaml").string
        let cache = ["--cache", TestImage.cache.string]
        let output = work.path.appending("out").string
        for arguments in [
            ["manifest", "check", work.path.appending("web.yaml").string], ["lock", manifest] + cache,
            ["build", manifest, "--version", "1.0.0", "-o", output] + cache,
        ] {
            let outcome = try await Command(ballast, arguments).outcome()
            try #require(outcome.status == 0, "\(arguments): \(outcome.errorText)")
        }
        let verdict = try await Command(ballast, ["run", output, "--verdict", "--timeout", "3600"]).outcome()
        #expect(verdict.outputText.hasPrefix("boot-complete web 1.0.0 after "), "\(verdict.errorText)")
    }
}
