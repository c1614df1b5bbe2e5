import Assembly
import Command
import Cryptography
import DebianArchive
import Fault
import FileIO
import FileTree
import JSON
import Manifest
import SystemPackage
import TestSupport
import Testing

extension RealImages {
    /// The real image of real packages, judged by other people's programs.
    @Suite("The containerd image", .timeLimit(.minutes(120)))
    struct RealImageTests {}
}

extension RealImages.RealImageTests {
    /// `build.json` without the one part that two builds of the same inputs do not share.
    private static func report(in directory: FilePath) throws -> JSONValue {
        guard
            case .object(var members) = try JSONValue(
                parsing: directory.appending("build.json").text(), source: "build.json")
        else { return .null }
        #expect(members.removeValue(forKey: "stages") != nil)
        return .object(members)
    }

    @Test("foreign readers accept every part, another user's build elsewhere gives the same bytes, and it boots")
    func image() async throws {
        let work = try TemporaryDirectory()
        let first = work.path.appending("first")
        var build = try await TestImage.build(in: work.path, output: first)
        build.inspect = { tree, image in
            let mountPoint = image.removingLastComponent().appending("mounted")
            try mountPoint.makeDirectories()
            try await Command("mount", ["-t", "erofs", "-o", "loop,ro", image.string, mountPoint.string]).run()
            let differences = Result { try TreeComparison.differences(expected: tree, found: mountPoint) }
            let audit = try await Command(
                "dpkg", ["--admindir=\(mountPoint)/usr/lib/sysimage/dpkg", "--audit"]
            ).outcome()
            let installed = try await Command(
                "dpkg-query", ["--admindir=\(mountPoint)/usr/lib/sysimage/dpkg", "-W", "-f", "${db:Status-Status}\n"]
            ).run().outputText.split(separator: "\n")
            try await Command("umount", [mountPoint.string]).run()
            #expect(try differences.get() == [])
            #expect(tree.count > 5000)
            #expect(audit.status == 0 && audit.output.isEmpty && audit.errorText.isEmpty)
            #expect(installed.count > 150 && installed.allSatisfy { $0 == "installed" })
        }
        let report = try await build.run { _ in }
        let root = try #require(report.outputs["root.erofs"])
        let name = report.identity.fileStem
        let delivered = { (suffix: String) in first.appending("\(name).\(suffix)").string }

        try await Command("fsck.erofs", [delivered("root.erofs")]).run()
        try await Command(
            "veritysetup", ["verify", delivered("root.erofs"), delivered("root.verity"), report.rootHash.description]
        ).run()
        let table = try await Command("sgdisk", ["-v", delivered("raw")]).run().outputText
        #expect(table.contains("No problems found"))
        let sections = try await Command("objdump", ["-h", delivered("efi")]).run().outputText
        for section in [".osrel", ".cmdline", ".initrd", ".uname", ".sbat", ".linux"] {
            #expect(sections.contains(" \(section) "), "the unified kernel image lacks \(section)")
        }
        #expect(report.initrdSize < 16_000_000)
        #expect(try SHA256Digest.ofFile(FilePath(delivered("root.erofs"))).digest == root.digest)

        let second = try await Self.buildAsOrdinaryUser(build, in: work.path)
        for file in try first.directoryEntries() where file != "build.json" {
            let left = try SHA256Digest.ofFile(first.appending(file)).digest
            let right = try SHA256Digest.ofFile(second.appending(file)).digest
            #expect(left == right, "\(file) differs between two builds")
        }
        #expect(try first.directoryEntries() == second.directoryEntries())
        #expect(try Self.report(in: first) == Self.report(in: second))

        try await Self.expectVerdicts(of: first)
    }

    /// Builds the same again with the same lock by the command line, from another checkout of the manifests, in another
    /// directory, later, and without being root.
    ///
    /// - Returns: where the outputs are.
    private static func buildAsOrdinaryUser(_ build: ImageBuild, in work: FilePath) async throws -> FilePath {
        let user = try await OrdinaryUser(in: work)
        let ballast = try BuiltExecutable.path("ballast")
        let programs = [ballast, build.agent.daemon, build.agent.control].map(\.string)
        let inputs = ["manifests", "overlays"].map { TestImage.repository.appending($0).string }
        try await Command("cp", ["-rL"] + programs + inputs + [build.lockPath.string, user.home.string]).run()
        try await Command("chmod", ["-R", "g+w", user.home.appending("overlays").string]).run()
        try user.home.appending("image.yaml").replaceContents(with: "include: [manifests/containerd.yaml]\n")
        for package in build.lock.packages {
            let target = PackageCache(user.home.appending("cache")).path(of: package)
            try target.removingLastComponent().makeDirectories()
            try await Command("ln", ["-s", build.cache.path(of: package).string, target.string]).run()
        }
        try await Task.sleep(for: .seconds(1.1))
        let arguments = [
            "./ballast", "build", "image.yaml", "--version", build.version, "--cache", "cache", "-o", "out",
        ]
        let refused = try await user.outcome(arguments, hasRange: false)
        #expect(refused.status == 1)
        #expect(refused.errorText.contains("install 'uidmap' and give yourself a range"), "\(refused.errorText)")
        #expect(!user.home.appending("out").exists)
        let scratch = user.home.appending("scratch")
        try scratch.makeDirectories()
        // In the middle of it, however fast the machine is: once it has written something.
        let interrupted = """
            set -m; "${@:2}" & build=$!
            until [ -n "$(find scratch -type f -size +0 -print -quit)" ] || ! kill -0 $build; do sleep 0.1; done
            kill -s "$1" $build; wait $build
            """
        for (signal, status) in [("TERM", 128 + 15), ("INT", 128 + 2)] {
            let cut = try await user.outcome(
                ["env", "TMPDIR=\(scratch)", "bash", "-c", interrupted, "bash", signal] + arguments)
            #expect(cut.status == status)
            #expect(
                cut.errorText.contains("ballast: the build was interrupted; nothing was delivered"), "\(cut.errorText)")
            #expect(try scratch.directoryEntries() == [])
            #expect(!user.home.appending("out").exists)
        }
        // Everything about the machine that must not matter, at once: umask, locale, time zone, number of processors, access
        // control lists that files inherit, spaces in paths, and an output directory on another file system.
        let elsewhere = user.home.appending("else where")
        try elsewhere.makeDirectories()
        try await Command("mount", ["-t", "tmpfs", "tmpfs", elsewhere.string]).run()
        try await Command("setfacl", ["-m", "default:user:1:rwx,default:group:1:rwx", scratch.string]).run()
        let outcome = try await user.outcome(
            [
                "env", "TMPDIR=\(scratch)", "LC_ALL=tr_TR.UTF-8", "TZ=Pacific/Apia", "taskset", "--cpu-list", "0", "sh",
                "-c",
                "umask 077; exec \"$@\"", "sh",
            ] + arguments.dropLast() + ["else where/out"])
        let output = user.home.appending("out")
        try await Command("cp", ["-r", "--sparse=always", elsewhere.appending("out").string, output.string]).run()
        try await Command("umount", [elsewhere.string]).run()
        #expect(outcome.status == 0, "\(outcome.errorText)")
        // The size budget comes before anything else is said of the outputs.
        #expect(outcome.errorText.contains("partition          size          used      headroom"))
        return output
    }

    /// Boots what was built, and looks at a boot that is not given the time it needs.
    private static func expectVerdicts(of directory: FilePath) async throws {
        let ballast = try BuiltExecutable.path("ballast").string
        let console = directory.appending("console.log")
        let good = try await Command(
            ballast, ["run", directory.string, "--verdict", "--timeout", "3600", "--console", console.string]
        ).outcome()
        #expect(good.outputText.hasPrefix("boot-complete containerd 1.0.0 after "), "\(good.errorText)")
        #expect(good.status == 0)
        #expect(try console.text().contains("Linux version"))
        let kvm = try await Command(
            ballast, ["run", directory.string, "--accel", "kvm", "--verdict", "--timeout", "3600"]
        ).outcome()
        #expect(kvm.status == 0 || kvm.errorText.contains("no guest runs under KVM here: "), "\(kvm.errorText)")
        let late = try await Command(
            ballast,
            ["run", directory.string, "--accel", "tcg", "--verdict", "--timeout", "1", "--console", console.string]
        ).outcome()
        #expect(late.status == 1)
        #expect(late.errorText.contains("the guest did not report within 1 seconds; where it only needs more time, "))
    }
}
