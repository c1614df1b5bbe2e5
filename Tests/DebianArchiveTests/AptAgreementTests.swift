import Command
import DebianArchive
import Fault
import FileIO
import Manifest
import SystemPackage
import Testing

/// The real archive and the real apt, with a root of its own and nothing installed in it.
@Suite("Agreement with apt", .serialized)
struct AptAgreementTests {
    private static let repository = FilePath(#filePath).removingLastComponent().removingLastComponent()
        .removingLastComponent()
    /// Kept between runs: what did not change is not fetched again.
    private static let cache: FilePath = "/var/tmp/ballast-test-archive"

    /// What `apt-get -s install` would install, as `name=version`.
    private func apt(_ names: [String], suites: [String], mirror: Mirror) async throws -> Set<String> {
        let root = Self.cache.appending("apt-" + suites.joined(separator: "-"))
        for directory in [
            "etc/apt/sources.list.d", "etc/apt/preferences.d", "etc/apt/apt.conf.d", "var/lib/apt/lists/partial",
            "var/cache/apt/archives/partial", "var/lib/dpkg",
        ] { try root.appending(directory).makeDirectories() }
        try root.appending("var/lib/dpkg/status").replaceContents(with: "")
        let sources = suites.map { suite in
            "deb [signed-by=\(Keyring.debianArchive.path)] \(mirror.base(ofSuite: suite)) \(suite) main\n"
        }
        try root.appending("etc/apt/sources.list").replaceContents(with: sources.joined())
        let options = [
            "-o", "Dir=\(root)", "-o", "Dir::State::status=\(root)/var/lib/dpkg/status", "-o",
            "APT::Architecture=amd64",
            "-o", "APT::Architectures=amd64", "-o", "APT::Install-Recommends=0", "-o", "APT::Install-Suggests=0", "-o",
            "APT::Sandbox::User=root",
        ]
        try await Command("apt-get", options + ["update"]).run()
        // apt's own patterns (apt-patterns(7)) say what a minimal system has, so that our reading of the fields is judged too.
        let outcome = try await Command(
            "apt-get", options + ["-s", "install", "?essential", "?priority(required)"] + names
        ).run()
        var chosen: Set<String> = []
        for line in outcome.outputText.split(separator: "\n") {
            // `Inst name (version Origin:… [arch])`
            let words = line.split(separator: " ")
            guard words.count > 2, words[0] == "Inst" else { continue }
            chosen.insert("\(words[1])=\(words[2].dropFirst())")
        }
        return chosen
    }

    @Test(
        "the lock has exactly what apt-get would install", .timeLimit(.minutes(60)), arguments: ["base", "containerd"],
        [["trixie"], ["trixie", "trixie-updates", "trixie-security"]])
    func agreement(name: String, suites: [String]) async throws {
        let manifest = try Manifest.load(Self.repository.appending("manifests/\(name).yaml"))
        let mirror = try Mirror.ofMachine()
        let archive = ArchiveClient(mirror: mirror, cache: Self.cache)
        let lock = try await Lock.resolve(manifest, suites: suites, from: archive)
        let ours = Set(lock.packages.map { "\($0.name)=\($0.version)" })
        let theirs = try await apt(
            manifest.packages.install + [manifest.kernel.package], suites: suites, mirror: mirror)
        #expect(theirs.count > 100)
        #expect(ours.subtracting(theirs).sorted() == [], "only in the lock")
        #expect(theirs.subtracting(ours).sorted() == [], "only in apt's choice")
    }

    @Test("alternatives and virtual packages of larger sets are chosen as apt does", .timeLimit(.minutes(60)))
    func larger() async throws {
        let mirror = try Mirror.ofMachine()
        let archive = ArchiveClient(mirror: mirror, cache: Self.cache)
        let release = try await archive.release(of: archive.source(debianSuite: "trixie"))
        let index = try await archive.index(of: release, component: "main", architecture: "amd64")
        let solver = try DependencySolver([index], architecture: "amd64")
        let sets = [
            ["nginx", "openssh-server"], ["postgresql", "python3-venv"], ["docker.io", "nfs-common"], ["podman"],
        ]
        for names in sets {
            let ours = Set(
                try solver.solve(.init(install: names, refuse: [], installsRecommends: false))
                    .map { "\($0.name)=\($0.version)" })
            let theirs = try await apt(names, suites: ["trixie"], mirror: mirror)
            #expect(ours.subtracting(theirs).sorted() == [], "\(names), only in the lock")
            // apt decides each alternative when it comes to it, and keeps that also where a later dependency brings the
            // other one; the solver then takes only the one that is needed. So it is with podman's network stack.
            guard names != ["podman"] else { continue }
            #expect(theirs.subtracting(ours).sorted() == [], "\(names), only in apt's choice")
        }
    }
}
