import Command
import Cryptography
import DebianArchive
import Fault
import FileIO
import Glibc
import Manifest
import SystemPackage
import Testing

/// Archives as vendors and teams make them, with reprepro and apt-ftparchive, beside a small Debian: what is chosen of them is
/// what apt chooses of the same sources and pins.
@Suite("Archives beside Debian's own", .serialized)
struct VendorArchiveTests {
    private let debian: LocalArchive
    private let signer: Signer
    private let box: DirectoryBox
    private var work: FilePath { box.path }

    init() async throws {
        debian = try await LocalArchive()
        signer = try await Signer.stranger.value
        box = try DirectoryBox()
        try await debian.publish(
            [
                .init(name: "base-files", fields: ["Essential": "yes"]), .init(name: "kernel"),
                .init(name: "web", version: "1.0-1"), .init(name: "lib", version: "1.0-1"),
            ], validUntil: nil)
        try await debian.publish(
            [
                .init(name: "web", version: "3.0-1~bpo1", fields: ["Depends": "lib (>= 2)"]),
                .init(name: "lib", version: "2.5-1~bpo1"), .init(name: "other", version: "9~bpo1"),
            ], suite: "trixie-backports", validUntil: nil, extra: "NotAutomatic: yes\nButAutomaticUpgrades: yes\n")
        try work.appending("vendor.asc").replaceContents(with: try await signer.armored())
    }

    /// Builds a package with dpkg-deb.
    @discardableResult
    private func deb(
        _ name: String, _ version: String, architecture: String = "amd64", _ extra: String = "", in directory: String
    ) async throws -> FilePath {
        let tree = work.appending("tree")
        try tree.removeTree()
        try tree.appending("DEBIAN").makeDirectories()
        try tree.appending("usr/share/\(name)").makeDirectories()
        try tree.appending("usr/share/\(name)/version").replaceContents(with: version)
        try tree.appending("DEBIAN/control").replaceContents(
            with: """
                Package: \(name)
                Version: \(version)
                Architecture: \(architecture)
                Maintainer: Nobody <nobody@example.org>
                Section: misc
                Priority: optional
                Description: a test
                \(extra)
                """ + (extra.isEmpty ? "" : "\n"))
        let output = work.appending(directory)
        try output.makeDirectories()
        let file = output.appending("\(name)_\(version.replacing(":", with: "%3a"))_\(architecture).deb")
        try await Command(
            "dpkg-deb", ["--root-owner-group", "-Znone", "--build", tree.string, file.string]
        ).run()
        return file
    }

    /// An archive of reprepro's, served by its directory.
    private func reprepro(_ files: [FilePath], components: String = "main") async throws -> String {
        let directory = work.appending("reprepro")
        try directory.appending("conf").makeDirectories()
        try directory.appending("conf/distributions").replaceContents(
            with: """
                Origin: Vendor
                Codename: vendor
                Architectures: amd64 arm64
                Components: \(components)
                SignWith: yes

                """)
        for file in files {
            try await Command(
                "env",
                [
                    "GNUPGHOME=\(signer.directory)", "reprepro", "--silent", "-b", directory.string, "-C",
                    String(components.prefix { $0 != " " }), "includedeb", "vendor", file.string,
                ]
            ).run()
        }
        return "file:\(directory)"
    }

    /// A flat archive of apt-ftparchive's, signed apart from its Release file.
    private func flat(_ directory: String, compress: [String]) async throws -> String {
        let path = work.appending(directory)
        let index = try await Command("apt-ftparchive", ["packages", "."], directory: path).run().output
        try path.appending("Packages").replaceContents(with: index)
        if let program = compress.first {
            // The Release file names what is without compression too, which is not served.
            try await Command(program, Array(compress.dropFirst()) + ["-k", "Packages"], directory: path).run()
        }
        let release = try await Command("apt-ftparchive", ["release", "."], directory: path).run().output
        if !compress.isEmpty { try path.appending("Packages").removeTree() }
        try path.appending("Release").replaceContents(with: release)
        try path.appending("Release.gpg").replaceContents(with: try await signer.signApart(release))
        return "file:\(path)"
    }

    private func manifest(
        _ archives: String, install: String, suites: String = "[trixie]", local: String = "[]"
    ) throws -> Manifest {
        let path = work.appending("image.yaml")
        try path.replaceContents(
            with: """
                product: x
                kernel: {package: kernel}
                packages: {install: [\(install)], local: \(local)}
                distribution:
                  suites: \(suites)
                  archives: [\(archives)]

                """)
        return try Manifest.load(path)
    }

    private func lock(_ manifest: Manifest, replacing: Lock? = nil, updating: [String]? = nil) async throws -> Lock {
        try await Lock.resolve(
            manifest, from: debian.client(at: Int64(time(nil))), replacing: replacing, updating: updating)
    }

    private func chosen(_ manifest: Manifest) async throws -> Set<String> {
        Set(try await lock(manifest).packages.map { "\($0.name)=\($0.version)" })
    }

    /// The sentence and the place of what locking fails with, without this test's directory.
    private func message(_ manifest: Manifest, from client: ArchiveClient? = nil) async -> String {
        do {
            _ = try await Lock.resolve(manifest, from: client ?? debian.client(at: Int64(time(nil))))
            return "no fault"
        } catch { return "\(error)".replacing(work.string + "/", with: "") }
    }

    /// What apt itself would install of these sources and pins.
    private func apt(
        _ sources: [String], suites: [String] = ["trixie"], preferences: String = "", _ names: [String]
    ) async throws -> Set<String> {
        let root = work.appending("apt")
        for directory in [
            "etc/apt/sources.list.d", "etc/apt/preferences.d", "etc/apt/apt.conf.d", "var/lib/apt/lists/partial",
            "var/cache/apt/archives/partial", "var/lib/dpkg",
        ] { try root.appending(directory).makeDirectories() }
        try root.appending("var/lib/dpkg/status").replaceContents(with: "")
        let debian = suites.map {
            "deb [signed-by=\(self.debian.signer.keyring)] \(self.debian.mirror.main) \($0) main"
        }
        try root.appending("etc/apt/sources.list").replaceContents(
            with: (debian + sources).map { $0 + "\n" }.joined())
        try root.appending("etc/apt/preferences").replaceContents(with: preferences)
        let options = [
            "Dir=\(root)", "Dir::State::status=\(root)/var/lib/dpkg/status", "APT::Architecture=amd64",
            "APT::Architectures=amd64", "APT::Install-Recommends=0", "APT::Sandbox::User=root",
            // The tests' archives are valid at a time of their own.
            "Acquire::Check-Date=0", "Acquire::Check-Valid-Until=0",
        ].flatMap { ["-o", $0] }
        try await Command("apt-get", options + ["update"]).run()
        let outcome = try await Command("apt-get", options + ["-s", "install", "?essential", "kernel"] + names).run()
        return Set(
            outcome.outputText.split(separator: "\n").compactMap { line in
                let words = line.split(separator: " ")
                guard words.count > 2, words[0] == "Inst" else { return nil }
                return "\(words[1])=\(words[2].dropFirst())"
            })
    }

    private func yaml(_ uri: String, suite: String, _ more: String = "") -> String {
        "{name: vendor, uri: \"\(uri)\", suite: \(suite), signed_by: vendor.asc\(more)}"
    }

    private func line(_ uri: String, _ suite: String) -> String {
        "deb [signed-by=\(work)/vendor.asc] \(uri) \(suite)"
    }

    @Test("an archive of reprepro's, over http and from a directory, gives what apt takes of it")
    func suite() async throws {
        let files = [
            try await deb("web", "2:0.1", "Depends: vendor-lib", in: "debs"),
            try await deb("vendor-lib", "1", architecture: "all", in: "debs"),
        ]
        let uri = try await reprepro(files, components: "stable")
        try await Command(
            "cp", ["-r", work.appending("reprepro").string, debian.root.appending("vendor").string]
        ).run()
        let served = debian.mirror.main.replacing("/debian", with: "/vendor")
        for address in [uri, served] {
            let ours = try await chosen(
                try manifest(yaml(address, suite: "vendor", ", components: [stable]"), install: "web"))
            #expect(ours == ["base-files=1", "kernel=1", "web=2:0.1", "vendor-lib=1"])
            #expect(ours == (try await apt([line(address, "vendor stable")], ["web"])))
        }
        // What was locked is what is fetched, and each archive's keys are in the lock.
        let manifest = try manifest(yaml(served, suite: "vendor", ", components: [stable]"), install: "web")
        let lock = try await lock(manifest)
        let cache = PackageCache(work.appending("packages"))
        try await cache.fetch(
            lock.packages, from: PackageSources(mirror: debian.mirror, archives: manifest.distribution.archives))
        let web = try #require(lock.packages.first { $0.name == "web" })
        #expect(web.suite == "vendor")
        #expect(try cache.path(of: web).contents() == files[0].contents())
        #expect(lock.suites.map(\.keys.count) == [1, 1])
        #expect(lock.suites[0].keys != lock.suites[1].keys)
        let fingerprints = try await DebCommand.run(
            "gpg", ["--homedir", signer.directory.string, "--with-colons", "--list-keys"])
        #expect(String(decoding: fingerprints, as: UTF8.self).contains(lock.suites[1].keys[0]))
    }

    @Test(
        "a flat archive of apt-ftparchive's with each compression gives what apt takes of it",
        arguments: [[], ["xz"], ["gzip"], ["zstd", "-q"], ["bzip2"]])
    func flatArchive(compress: [String]) async throws {
        try await deb("web", "1.0-1+own1", in: "flat/sub")
        try await deb("tool", "1", "Depends: web (>= 1.0-1+own1)", in: "flat/sub")
        let uri = try await flat("flat", compress: compress)
        let ours = try await chosen(try manifest(yaml(uri, suite: "./"), install: "tool"))
        #expect(ours == ["base-files=1", "kernel=1", "web=1.0-1+own1", "tool=1"])
        #expect(ours == (try await apt([line(uri, "./")], ["tool"])))
    }

    @Test("of a flat archive with several architectures only the image's own are taken")
    func otherArchitectures() async throws {
        // The other one comes first in the index, and has a higher version of one.
        try await deb("tool", "1", architecture: "amd64", in: "flat/b")
        try await deb("tool", "1", architecture: "arm64", in: "flat/a")
        try await deb("web", "1.0-1+own1", architecture: "amd64", in: "flat/b")
        try await deb("web", "9", architecture: "arm64", in: "flat/a")
        let uri = try await flat("flat", compress: [])
        let lock = try await lock(try manifest(yaml(uri, suite: "./"), install: "tool, web"))
        let found = lock.packages.map { "\($0.name) \($0.version) \($0.architecture)" }
        #expect(found.suffix(2) == ["tool 1 amd64", "web 1.0-1+own1 amd64"])
        #expect(try Lock(parsing: Array(lock.text.utf8), source: "") == lock)
    }

    @Test("an archive's priority and the names it may supply count as apt's pins do")
    func pins() async throws {
        let uri = try await reprepro([
            try await deb("web", "2.0", in: "debs"), try await deb("lib", "2.0", in: "debs"),
        ])
        let source = line(uri, "vendor main")
        func pin(_ names: String, _ priority: Int) -> String {
            "Package: \(names)\nPin: release o=Vendor\nPin-Priority: \(priority)\n\n"
        }
        let low = try await chosen(try manifest(yaml(uri, suite: "vendor", ", priority: 100"), install: "web, lib"))
        #expect(low == (try await apt([source], preferences: pin("*", 100), ["web", "lib"])))
        #expect(low.contains("web=1.0-1"))
        let only = try await chosen(try manifest(yaml(uri, suite: "vendor", ", packages: [lib]"), install: "web, lib"))
        #expect(only == (try await apt([source], preferences: pin("lib", 500) + pin("*", -1), ["web", "lib"])))
        #expect(only.contains("web=1.0-1") && only.contains("lib=2.0"))
        let message = await message(try manifest(yaml(uri, suite: "vendor", ", packages: [lib]"), install: "web=2.0"))
        #expect(message == "image.yaml:3:22: no suite has 'web' 2.0; there is 1.0-1 (trixie)")
        let other = try await reprepro([
            try await deb("agent", "1", "Depends: helper", in: "debs"), try await deb("helper", "1", in: "debs"),
        ])
        let limited = yaml(other, suite: "vendor", ", packages: [agent]")
        let text = await self.message(try manifest(limited, install: "agent"))
        #expect(
            text.contains("agent 1 -> helper, which only the archive 'vendor' has, whose 'packages' does not name it"),
            "\(text)")
        for request in ["helper", "helper=1"] {
            #expect(
                await self.message(try manifest(limited, install: request))
                    == "image.yaml:3:22: only the archive 'vendor' has 'helper', and may not supply it; add 'helper' to the "
                    + "archive's 'packages'")
        }
    }

    @Test("a version or a suite that is asked for is taken, with what it needs of that suite and no more, as apt does")
    func requests() async throws {
        let both = ["trixie", "trixie-backports"]
        for (names, isThere) in [
            (["web"], "web=1.0-1"), (["web/trixie-backports"], "web=3.0-1~bpo1"), (["web=1.0-1"], "web=1.0-1"),
            (["web/trixie-backports"], "lib=2.5-1~bpo1"), (["other"], "other=9~bpo1"),
            (["lib", "web/trixie-backports"], "lib=2.5-1~bpo1"),
        ] {
            let ours = try await chosen(
                try manifest("", install: names.joined(separator: ", "), suites: "[trixie, trixie-backports]"))
            #expect(ours.contains(isThere), "\(names): \(ours.sorted())")
            #expect(ours == (try await apt([], suites: both, names)), "\(names)")
        }
        for (request, expected) in [
            ("web=7", "image.yaml:3:22: no suite has 'web' 7; there is 1.0-1 (trixie), 3.0-1~bpo1 (trixie-backports)"),
            (
                "web/sid",
                "image.yaml:3:22: 'web' is asked for from 'sid', which is none of the suites and archives; there is 1.0-1 "
                    + "(trixie), 3.0-1~bpo1 (trixie-backports)"
            ),
            (
                "kernel/trixie-backports",
                "image.yaml:3:22: 'trixie-backports' has no package 'kernel'; there is 1 (trixie)"
            ),
        ] {
            let manifest = try manifest("", install: request, suites: "[trixie, trixie-backports]")
            let text = await message(manifest)
            #expect(text == expected, "\(text)")
        }
    }

    @Test("an archive is believed for its own key only, and for a whole one")
    func keys() async throws {
        let uri = try await reprepro([try await deb("web", "2.0", in: "debs")])
        let good = try manifest(yaml(uri, suite: "vendor"), install: "web")
        try work.appending("vendor.asc").replaceContents(with: try debian.signer.keyring.contents())
        let unknown = await message(good)
        #expect(
            unknown.replacing(/\([0-9A-F]{40}\)/, with: "(FINGERPRINT)")
                == "\(uri)/dists/vendor/InRelease: signed only by keys that the keyring does not have (FINGERPRINT); get the "
                .replacing(work.string + "/", with: "") + "archive's present key into vendor.asc; nothing was written")
        let armored = String(decoding: try await signer.armored(), as: UTF8.self)
        try work.appending("vendor.asc").replaceContents(with: armored.replacing("-----END", with: "-----AND"))
        #expect(
            await message(good)
                == "vendor.asc: the keyring is damaged: its armor cannot be read; fetch it again, or write it with 'gpg "
                + "--armor --export'")
        // Saved by another system, with another key's block before it.
        let other = String(decoding: try await debian.signer.armored(), as: UTF8.self)
        try work.appending("vendor.asc").replaceContents(with: (other + armored).replacing("\n", with: "\r\n"))
        let text = await message(good)
        #expect(text == "no fault", "\(text)")
        // What a server says where there is no key any more, and nothing.
        for text in ["<!DOCTYPE html>\n<p>Not found</p>\n", ""] {
            try work.appending("vendor.asc").replaceContents(with: text)
            #expect(
                await message(good)
                    == "vendor.asc: the keyring has no OpenPGP key; write it with 'gpg --export' of the key that signs the archive"
            )
        }
        try work.appending("vendor.asc").removeTree()
        #expect(await message(good).hasPrefix("vendor.asc: the keyring is not there"))
        let debianOnly = try Manifest.load(
            work.appending("image.yaml").replaced(with: "product: x\nkernel: {package: kernel}\n"))
        await #expect(throws: DebianArchiveFault.self) {
            try await Lock.resolve(
                debianOnly, from: debian.client(at: Int64(time(nil)), keyring: try await Signer.stranger.value.keyring))
        }
    }

    @Test("an archive that is not signed, or was changed after it was, is told apart from one that is not there")
    func changedArchives() async throws {
        try await deb("web", "2.0", in: "flat")
        let uri = try await flat("flat", compress: [])
        let manifest = try manifest(yaml(uri, suite: "./"), install: "web")
        let index = work.appending("flat/Packages")
        try index.replaceContents(with: try index.text() + "\n")
        let changed = await message(manifest)
        #expect(
            changed.hasPrefix(
                "\(uri)/Packages: the index is not the one that the signed Release file names ".replacing(
                    work.string + "/", with: ""))
                && changed.contains("have its Release file made and signed again"), "\(changed)")
        try work.appending("flat/Release.gpg").removeTree()
        let unsigned = await message(manifest)
        #expect(
            unsigned
                == "image.yaml:6:21: the archive 'vendor' is not signed: it has neither InRelease nor Release.gpg; have it "
                + "signed, or fetch its packages and name them in 'packages.local'", "\(unsigned)")
        try work.appending("flat/Release").removeTree()
        #expect(await message(manifest).contains("the archive 'vendor' cannot be fetched"))
    }

    @Test(
        "a key that has expired or was revoked vouches for nothing, and takes nothing from a good one beside it",
        arguments: [(false, "an expired"), (true, "a revoked")])
    func worthlessKeys(isRevoked: Bool, what: String) async throws {
        try await deb("web", "2.0", in: "flat")
        let uri = try await flat("flat", compress: [])
        let other = isRevoked ? try await Signer.revocable() : try await Signer.expired.value
        let release = try work.appending("flat/Release").contents()
        let signatures = (
            other: try await other.signApart(release, isArmored: false),
            good: try await signer.signApart(release, isArmored: false)
        )
        if isRevoked { try await other.revoke() }
        let keys = [try await other.armored(), try await signer.armored()].map { String(decoding: $0, as: UTF8.self) }
        try work.appending("vendor.asc").replaceContents(with: keys.joined())
        let manifest = try manifest(yaml(uri, suite: "./"), install: "web")
        let file = work.appending("flat/Release.gpg")
        for signature in [signatures.other + signatures.good, signatures.good + signatures.other] {
            try file.replaceContents(with: signature)
            let lock = try await lock(manifest)
            #expect(lock.packages.contains { $0.name == "web" && $0.version == "2.0" })
            #expect(lock.suites.last?.keys.count == 1)
        }
        // apt wants armor around both.
        let armored = try await DebCommand.run("gpg", ["--enarmor"], input: signatures.other + signatures.good)
        try file.replaceContents(
            with: String(decoding: armored, as: UTF8.self).replacing("PGP ARMORED FILE", with: "PGP SIGNATURE"))
        #expect(try await apt([line(uri, "./")], ["web"]).contains("web=2.0"))
        try file.replaceContents(with: signatures.other)
        let message = await message(manifest)
        #expect(
            message.contains("the signature is by \(what) key; get the archive's present key into "), "\(message)")
    }

    @Test("an archive that asks for a name and a password gets those that apt has for it")
    func credentials() async throws {
        try await deb("web", "2.0", in: "flat")
        _ = try await flat("flat", compress: [])
        let host = debian.mirror.main.replacing("/debian", with: "")
        try await Command("cp", ["-r", work.appending("flat").string, debian.root.appending("private").string]).run()
        let text = """
            # what others have
            machine elsewhere.example.org login nobody password none
            machine \(host)/private/other login nobody password none
            machine \(host)/private
              login buyer password #p@ss:w/rd%1

            """
        let machine = work.appending("machine/etc/apt/auth.conf.d")
        try machine.makeDirectories()
        try machine.appending("vendor.conf").replaceContents(with: text)
        let mirror = Mirror(main: debian.mirror.main, credentials: .ofMachine(root: work.appending("machine")))
        let client = ArchiveClient(
            mirror: mirror, cache: debian.cache, keyring: Keyring(debian.signer.keyring), now: { Int64(time(nil)) })
        let manifest = try manifest(yaml("\(host)/private", suite: "./"), install: "web")
        let lock = try await Lock.resolve(manifest, from: client)
        try await PackageCache(work.appending("packages")).fetch(
            lock.packages, from: PackageSources(mirror: mirror, archives: manifest.distribution.archives))
        #expect(lock.packages.contains { $0.name == "web" && $0.version == "2.0" })
        #expect(!lock.text.contains("buyer"))
        // Who has none is refused, and so is who has some for another path, or wrong ones: nobody is told any.
        func refused(_ uri: String, _ credentials: AptCredentials) async throws -> String {
            let mirror = Mirror(main: debian.mirror.main, credentials: credentials)
            let client = ArchiveClient(
                mirror: mirror, cache: debian.cache, keyring: Keyring(debian.signer.keyring), now: { Int64(time(nil)) })
            return await message(try self.manifest(yaml(uri, suite: "./"), install: "web"), from: client)
        }
        let wrong = AptCredentials(parsing: text.replacing("password #p@ss", with: "password #other"))
        for (uri, credentials) in [
            ("\(host)/private", AptCredentials()), ("\(host)/moved", mirror.credentials), ("\(host)/private", wrong),
        ] {
            let message = try await refused(uri, credentials)
            #expect(message.contains("401"), "\(message)")
            #expect(!["buyer", "#other", "%23other", "#p@ss"].contains(where: message.contains), "\(message)")
        }
        try work.appending("apt/etc/apt").makeDirectories()
        try work.appending("apt/etc/apt/auth.conf").replaceContents(with: text)
        let apt = try await apt([line("\(host)/private", "./")], ["web"])
        #expect(apt.contains("web=2.0"))
    }

    @Test("a product below a suite of Debian's name is taken by the names that vendors give it, and no other suite is")
    func productSuite() async throws {
        let uri = try await reprepro([try await deb("web", "2.0", in: "debs")])
        let suites = work.appending("reprepro/dists")
        try suites.appending("vendor").rename(to: suites.appending("made"))
        for suite in ["vendor/product/8.0", "strange/product"] {
            try suites.appending(suite).removingLastComponent().makeDirectories()
            try await Command("cp", ["-r", suites.appending("made").string, suites.appending(suite).string]).run()
        }
        #expect(
            try await chosen(try manifest(yaml(uri, suite: "vendor/product/8.0"), install: "web")).contains("web=2.0"))
        let message = await message(try manifest(yaml(uri, suite: "strange/product"), install: "web"))
        #expect(message.contains("the Release file is for vendor, and 'strange/product' was asked for"), "\(message)")
    }

    @Test("an odd entry costs its package, and says so only to whom asks for that")
    func oddEntries() async throws {
        try await deb("web", "2.0", in: "flat")
        try await deb("aaa", "1", in: "flat")
        let uri = try await flat("flat", compress: [])
        let path = work.appending("flat")
        let whole = try path.appending("Packages").text()
        let odd = """
            Package: nosum
            Version: 1
            Architecture: amd64
            Filename: ./nosum.deb
            Size: 1

            this is no field

            Package: twice
            Version: 1
            Version: 2
            Architecture: amd64

             a continuation of nothing
            Package: lost

            Package: bad/name
            Version: 1
            Architecture: amd64
            Filename: x.deb
            Size: 1
            SHA256: \(String(repeating: "0", count: 64))


            """
        try path.appending("Packages").replaceContents(with: odd + whole)
        let release = try await Command("apt-ftparchive", ["release", "."], directory: path).run().output
        try path.appending("Release").replaceContents(with: release)
        try path.appending("Release.gpg").replaceContents(with: try await signer.signApart(release))
        #expect(try await chosen(manifest(yaml(uri, suite: "./"), install: "web, aaa")).contains("web=2.0"))
        #expect(
            await message(try manifest(yaml(uri, suite: "./"), install: "nosum"))
                .hasPrefix(
                    "image.yaml:3:22: the archive's entry of 'nosum' cannot be used: "))
        #expect(
            await message(try manifest(yaml(uri, suite: "./"), install: "nosum=1"))
                .hasPrefix("image.yaml:3:22: the archive's entry of 'nosum' cannot be used: "))
        #expect(
            await message(try manifest(yaml(uri, suite: "./"), install: "twice")).contains(
                "the archive's entry of 'twice'"))
    }

    @Test("own package files come before any archive's, and are locked by their bytes")
    func local() async throws {
        let file = try await deb("web", "0.5+local1", in: "own")
        try await deb("web-dbgsym", "0.5+local1", in: "own")
        let manifest = try manifest("", install: "web", local: "[own/*.deb]")
        let lock = try await lock(manifest)
        #expect(lock.packages.map(\.name) == ["base-files", "kernel", "web"])
        let web = try #require(lock.packages.last)
        #expect(web.suite == "local")
        #expect(try web.digest == SHA256Digest.ofFile(file).digest)
        // A clean checkout with an empty cache has the file, and no other.
        let cache = PackageCache(work.appending("empty"))
        try cache.addLocal(lock.packages, of: manifest)
        #expect(try cache.path(of: web).contents() == file.contents())
        try cache.checkLocal(lock, of: manifest)
        try await deb("web", "0.5+local1", "Homepage: https://example.org", in: "own")
        #expect(throws: DebianArchiveFault.self) { try cache.checkLocal(lock, of: manifest) }
        // Built again, it is the new one that is locked, also where all others are kept.
        #expect(
            try await self.lock(manifest, replacing: lock, updating: ["kernel"]).packages.last?.digest != web.digest)
    }

    @Test("package files that cannot be in the image are named")
    func badLocal() async throws {
        try await deb("arm", "1", architecture: "arm64", in: "arm")
        try await deb("two", "1", in: "two")
        try await deb("two", "2", in: "two")
        try work.appending("broken.deb").replaceContents(with: "no package")
        for (pattern, expected) in [
            (
                "arm/*.deb",
                "image.yaml:3:36: 'arm/arm_1_arm64.deb' is a package for arm64, and the image is for amd64; build it for amd64, "
                    + "or name it by a pattern that leaves it out"
            ),
            (
                "two/*.deb",
                "image.yaml:3:36: 'two/two_1_amd64.deb' and 'two/two_2_amd64.deb' are both the package 'two'; remove one of them"
            ),
            (
                "nowhere/*.deb",
                "image.yaml:3:36: no file matches 'nowhere/*.deb', expected one like nowhere/*.deb; build the packages first, "
                    + "or correct 'packages.local'"
            ),
        ] {
            #expect(await message(try manifest("", install: "web", local: "[\"\(pattern)\"]")) == expected)
        }
        let broken = await message(try manifest("", install: "web", local: "[broken.deb]"))
        #expect(broken.hasPrefix("image.yaml:3:36: not a usable Debian package: broken.deb: cannot open"), "\(broken)")
    }

    @Test("a kept package stays although the archive has dropped its version, from the cache or from the mirror")
    func dropped() async throws {
        let old = try await deb("web", "1.5", in: "flat")
        let uri = try await flat("flat", compress: [])
        let manifest = try manifest(yaml(uri, suite: "./"), install: "web, lib")
        let before = try await lock(manifest)
        try await deb("web", "1.6", in: "new")
        try work.appending("flat/Packages").removeTree()
        try await Command("cp", [work.appending("new/web_1.6_amd64.deb").string, work.appending("flat").string]).run()
        try await Command("mv", [old.string, work.appending("kept.deb").string]).run()
        _ = try await flat("flat", compress: [])
        // The mirror still has the file, though no index names it.
        try await Command("cp", [work.appending("kept.deb").string, old.string]).run()
        let after = try await lock(manifest, replacing: before, updating: ["lib"])
        #expect(after.packages.first { $0.name == "web" } == before.packages.first { $0.name == "web" })
        try old.removeTree()
        // Now only the cache has it.
        #expect(try await lock(manifest, replacing: before, updating: ["lib"]).packages == after.packages)
        try debian.cache.appending("sha256").removeTree()
        let gone = await #expect(throws: DebianArchiveFault.self) {
            try await lock(manifest, replacing: before, updating: ["lib"])
        }
        #expect(
            gone?.description
                == "the archive no longer has what the lock holds: web 1.5; move these too (--update web) or lock everything "
                + "anew")
        #expect(try await chosen(manifest).contains("web=1.6"))
    }

    @Test("an essential package stays in, whichever archive its version is of and whether that is still there")
    func essential() async throws {
        let file = try await deb("base-files", "1", "Essential: yes", in: "debs")
        func publish(_ version: String) async throws {
            try await debian.publish(
                [
                    .init(
                        name: "base-files", version: version, fields: ["Essential": "yes"],
                        content: version == "1" ? try file.contents() : []), .init(name: "kernel"),
                    .init(name: "web", version: version),
                ], validUntil: nil)
        }
        try await publish("1")
        let manifest = try manifest("", install: "web")
        let before = try await lock(manifest)
        try await PackageCache(debian.cache).fetch(
            before.packages.filter { $0.name == "base-files" },
            from: PackageSources(mirror: debian.mirror, archives: []))
        try await publish("2")
        let after = try await lock(manifest, replacing: before, updating: ["web"])
        #expect(after.packages.map { "\($0.name) \($0.version)" } == ["base-files 1", "kernel 1", "web 2"])
        // Neither says that it is essential.
        try await deb("base-files", "3", in: "own")
        #expect(
            try await chosen(self.manifest("", install: "web", local: "[own/*.deb]"))
                == ["base-files=3", "kernel=1", "web=2"])
        try await deb("base-files", "4", in: "flat")
        let uri = try await flat("flat", compress: [])
        let ours = try await chosen(self.manifest(yaml(uri, suite: "./"), install: "web"))
        #expect(ours == ["base-files=4", "kernel=1", "web=2"])
        #expect(ours == (try await apt([line(uri, "./")], ["web"])))
    }

    @Test("a package that the lock holds and nothing needs any more may be gone")
    func goneAndNotNeeded() async throws {
        func publish(_ number: String) async throws {
            try await debian.publish(
                [
                    .init(name: "base-files", fields: ["Essential": "yes"]), .init(name: "kernel"),
                    .init(name: "web", version: number, fields: ["Depends": "abi-\(number)"]),
                    .init(name: "abi-\(number)", version: number), .init(name: "lib", version: number),
                ], validUntil: nil)
        }
        try await publish("1")
        let manifest = try manifest("", install: "web, lib")
        let before = try await lock(manifest)
        try debian.root.appending("debian/pool").removeTree()
        try await publish("2")
        let fault = await #expect(throws: DebianArchiveFault.self) {
            try await lock(manifest, replacing: before, updating: ["web"])
        }
        #expect(
            fault?.description
                == "the archive no longer has what the lock holds: lib 1; move these too (--update lib) or lock "
                + "everything anew")
        let after = try await lock(manifest, replacing: before, updating: ["web", "lib"])
        #expect(
            after.packages.map { "\($0.name) \($0.version)" } == [
                "abi-2 2", "base-files 1", "kernel 1", "lib 2", "web 2",
            ])
        // A mirror that does not answer has not dropped anything.
        try work.appending("no-directory").replaceContents(with: "")
        let client = ArchiveClient(
            mirror: debian.mirror, cache: work.appending("no-directory"), keyring: Keyring(debian.signer.keyring),
            now: { Int64(time(nil)) })
        let other = await #expect(throws: DebianArchiveFault.self) {
            try await Lock.resolve(manifest, from: client, replacing: before, updating: ["web", "lib"])
        }
        #expect(other.map { $0.code != .versionGone } == true, "\(other?.description ?? "")")
    }

    @Test("a package file that came beside the manifest since is one to lock again for")
    func newLocal() async throws {
        try await deb("web-dbgsym", "1", in: "own")
        let manifest = try manifest("", install: "web", local: "[own/*.deb]")
        let lock = try await lock(manifest)
        let cache = PackageCache(work.appending("empty"))
        try cache.checkLocal(lock, of: manifest)
        let file = try await deb("web", "0.5", in: "own")
        for check in [
            { try cache.checkLocal(lock, of: manifest) }, { try cache.addLocal(lock.packages, of: manifest) },
        ] {
            let fault = try #require(throws: DebianArchiveFault.self, performing: check)
            #expect(
                fault.description
                    == "\(file): 'packages.local' has web 0.5, and the lock has 1.0-1 of 'trixie'; run 'ballast "
                    + "lock' again")
        }
        try cache.checkLocal(lock, of: try self.manifest("", install: "web=1.0-1", local: "[own/*.deb]"))
        try work.appending("own").removeTree()
        #expect(throws: DebianArchiveFault.self) { try cache.checkLocal(lock, of: manifest) }
        try cache.addLocal(lock.packages, of: manifest)
    }

    @Test("an archive whose files have the line ends of another system is read as any other")
    func carriageReturns() async throws {
        try await deb("web", "2.0", "Depends: tool (>= 1),\n lib", in: "flat")
        try await deb("tool", "1", in: "flat")
        let uri = try await flat("flat", compress: [])
        let path = work.appending("flat")
        let index = try path.appending("Packages").text().replacing("\n", with: "\r\n")
        try path.appending("Packages").replaceContents(with: index)
        var release = try await Command("apt-ftparchive", ["release", "."], directory: path).run().outputText
        release = release.replacing("\n", with: "\r\n")
        try path.appending("Release").replaceContents(with: release)
        try path.appending("Release.gpg").replaceContents(with: try await signer.signApart(Array(release.utf8)))
        #expect(
            try await chosen(try manifest(yaml(uri, suite: "./"), install: "web"))
                == ["base-files=1", "kernel=1", "web=2.0", "tool=1", "lib=1.0-1"])
    }

    @Test("of two entries of one version the first is taken, with what it needs")
    func sameVersionTwice() async throws {
        try await deb("tool", "1", "Depends: lib", in: "flat/a")
        try await deb("tool", "1", in: "flat/b")
        let uri = try await flat("flat", compress: [])
        let lock = try await lock(try manifest(yaml(uri, suite: "./"), install: "tool"))
        let path = try #require(lock.packages.first { $0.name == "tool" }?.path)
        #expect(lock.packages.contains { $0.name == "lib" } == path.hasPrefix("a/"), "\(path)")
    }

    @Test("a package file that dpkg would read otherwise is refused")
    func members() async throws {
        let whole = try await deb("web", "2.0", in: "whole")
        let parts = work.appending("parts")
        try parts.makeDirectories()
        try await Command("ar", ["x", whole.string], directory: parts).run()
        let names = try parts.directoryEntries().sorted()
        #expect(names == ["control.tar", "data.tar", "debian-binary"])
        for name in ["_note", "data.tar.xz", "other"] { try parts.appending(name).replaceContents(with: "x") }
        func message(_ members: [String]) async throws -> String {
            let file = work.appending("own/web.deb")
            try file.removeTree()
            try work.appending("own").makeDirectories()
            try await Command("ar", ["rcS", file.string] + members, directory: parts).run()
            return await self.message(try manifest("", install: "web", local: "[own/web.deb]"))
        }
        let good = ["debian-binary", "control.tar", "data.tar"]
        #expect(try await message(good) == "no fault")
        #expect(
            try await message(["debian-binary", "_note", "control.tar", "_note", "data.tar", "other"]) == "no fault")
        for (members, expected) in [
            (["control.tar", "data.tar"], "does not begin with a debian-binary 2.x"),
            (["debian-binary", "data.tar", "control.tar"], "has 'data.tar' where control.tar belongs"),
            (["debian-binary", "other", "control.tar", "data.tar"], "has 'other' where control.tar belongs"),
            (["debian-binary", "control.tar", "other", "data.tar"], "has 'other' where data.tar belongs"),
            (["debian-binary", "control.tar"], "control.tar or data.tar is missing"),
        ] {
            let text = try await message(members)
            #expect(text.contains("not a usable Debian package: ") && text.contains(expected), "\(members): \(text)")
        }
    }

    @Test("an exported lock is an archive for apt and a source for builds")
    func export() async throws {
        try await deb("web", "0.5+local1", "Depends: tool", in: "own")
        try await deb("tool", "2:1", in: "flat")
        for name in ["base-files", "kernel"] { try await deb(name, "5", in: "flat") }
        let uri = try await flat("flat", compress: [])
        let manifest = try manifest(yaml(uri, suite: "./"), install: "web", local: "[own/*.deb]")
        let lock = try await lock(manifest)
        let cache = PackageCache(debian.cache)
        try await cache.fetch(
            lock.packages.filter { $0.suite != "local" },
            from: PackageSources(mirror: debian.mirror, archives: manifest.distribution.archives))
        let directory = work.appending("exported")
        for _ in 0..<2 { try LockExport(lock, from: cache).write(to: directory) }
        let source = "deb [trusted=yes] file:\(directory) ./"
        #expect(try await apt([source], suites: [], ["web"]).isSuperset(of: ["web=0.5+local1", "tool=2:1"]))
        let empty = PackageCache(work.appending("another"))
        try empty.add(lock.packages, fromExport: directory)
        #expect(empty.missing(of: lock.packages) == [])
        for package in lock.packages { try empty.verify(package) }
    }
}

extension FilePath {
    fileprivate func replaced(with text: String) throws -> FilePath {
        try replaceContents(with: text)
        return self
    }
}
