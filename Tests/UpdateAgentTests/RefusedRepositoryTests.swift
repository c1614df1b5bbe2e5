import Command
import Cryptography
import Fault
import Fetching
import FileIO
import Foundation
import Publishing
import Release
import SystemPackage
import TestSupport
import Testing
import Transfer
import Trust
import UpdateAgent

/// What `ballastd update` says of a repository that it must not use, word for word, and that nothing has changed then.
@Suite("At the command line, a repository that cannot be used")
struct RefusedRepositoryTests {
    private static let served = ServedUpdateTests()

    /// A host that runs 1.0, and a repository on its way to 1.1.
    private final class Scene: Sendable {
        private let temporary: TemporaryDirectory
        let repository: TestRepository
        let machine: FileMachine
        let root: FilePath

        var directory: FilePath { temporary.path }

        init(published: UTCTime = .now) async throws {
            let directory = try TemporaryDirectory()
            let old = try TestImage(version: "1.0", blocks: 16)
            repository = try TestRepository(in: directory.path, now: published)
            machine = try FileMachine(in: directory.path, running: old)
            root = directory.path.appending("root")
            temporary = directory
            try served.populate(root, running: old, machine: machine, repository: repository)
            try await repository.publish(try TestImage(version: "1.1", blocks: 256), now: published)
        }

        var metadata: FilePath { repository.path.appending("metadata") }

        /// The one blob that has the image's frames.
        var frames: FilePath {
            get throws {
                let blobs = repository.path.appending("blobs")
                let paths = try blobs.directoryEntries().map { blobs.appending($0) }
                return try #require(try paths.max { try FileStatus(of: $0).size < FileStatus(of: $1).size })
            }
        }

        /// What the agent says when it is told to update from `address`.
        func update(from address: String) async throws -> Command.Outcome {
            try served.settings(root, address: address, machine: machine)
            let daemon = try BuiltExecutable.path("ballastd")
            let workers = try FetchService(root: root)
            defer { withExtendedLifetime(workers) {} }
            return try await Command(daemon.string, ["update", "--root", root.string]).outcome()
        }

        /// Updates from the repository as it is served now, and expects that to be refused with `parts` in the message.
        func expectRefusal(of what: String, _ parts: [String], changesSlot: Bool = false) async throws {
            let disk = try SHA256Digest.ofFile(machine.disk).digest
            try await served.serving(repository) { address in
                let outcome = try await self.update(from: address)
                #expect(outcome.status == 1)
                #expect(outcome.outputText == "")
                let message = outcome.errorText.replacing(address, with: "http://HOST")
                #expect(message.hasPrefix("ballastd: "))
                for part in parts { #expect(message.contains(part), "\(message)") }
                try FaultCatalogue.note(
                    .repository, what, says: message,
                    then: changesSlot
                        ? "nothing boots but what did; the slot goes on with the next attempt" : "nothing changes")
            }
            #expect(try machine.order() == ["1.0"])
            if !changesSlot { #expect(try SHA256Digest.ofFile(machine.disk).digest == disk) }
        }
    }

    @Test("signed by keys that the image does not know")
    func anotherKey() async throws {
        let scene = try await Scene()
        var keys: [MetadataRole: Ed25519PrivateKey] = [:]
        for (index, role) in MetadataRole.allCases.enumerated() {
            keys[role] = try Ed25519PrivateKey(seed: [UInt8](repeating: UInt8(90 + index), count: 32))
        }
        let strangers = scene.directory.appending("strangers")
        try Repository(strangers).initialize(keys: KeySet(keys), now: .now)
        try scene.root.appending("usr/lib/ballast/root.json").replaceContents(
            with: try strangers.appending("metadata/1.root.json").contents())
        try await scene.expectRefusal(
            of: "it is signed by keys that the image does not know",
            [
                "the repository is not trusted: metadata/timestamp.json: signed by 0 of the 1 keys that version 1 of the trusted root "
                    + "requires; do not use this repository until who runs it explains why"
            ])
    }

    @Test("expired")
    func expired() async throws {
        let scene = try await Scene(published: UTCTime.now.adding(days: -400))
        try await scene.expectRefusal(
            of: "its metadata has expired",
            [
                "the repository is not trusted: metadata/timestamp.json: expired at ",
                "; check this machine's clock; if it is "
                    + "right, who runs the repository has to run 'ballast repo refresh'",
            ])
    }

    @Test("older than what the host has seen")
    func rolledBack() async throws {
        let scene = try await Scene()
        let old = try scene.metadata.appending("timestamp.json").contents()
        try await scene.repository.publish(try TestImage(version: "1.2", blocks: 16), now: .now)
        let (root, machine) = (scene.root, scene.machine)
        try await Self.served.serving(scene.repository) { address in
            try Self.served.settings(root, address: address, machine: machine)
            let paths = HostPaths(prefix: root)
            let settings = try AgentSettings.load(paths).settings
            let host = try Host(paths, settings: settings)
            let source = MirroredRepository(settings, host: host, fetcher: DirectFetcher())
            let agent = Agent(settings: settings, host: host, source: source)
            #expect(try await onOwnThread { try agent.check().available } == "1.2")
        }
        try scene.metadata.appending("timestamp.json").replaceContents(with: old)
        try await scene.expectRefusal(
            of: "it is older than what the host has seen",
            [
                "the repository is not trusted: metadata/timestamp.json: goes back to version 2, and this host has seen version 3; "
                    + "ask who runs the repository"
            ])
    }

    @Test(
        "truncated",
        arguments: [
            ("timestamp.json", "metadata/timestamp.json:10:3: is not valid metadata: not valid JSON"),
            (
                "targets.json",
                "metadata/2.targets.json: is not the document that the signed metadata names: its length or SHA-256 differs"
            ),
        ])
    func truncated(name: String, sentence: String) async throws {
        let scene = try await Scene()
        let file = try #require(try scene.metadata.directoryEntries().sorted().last { $0.hasSuffix(name) })
        let bytes = try scene.metadata.appending(file).contents()
        try scene.metadata.appending(file).replaceContents(with: Array(bytes.prefix(bytes.count / 2)))
        try await scene.expectRefusal(of: "\(name) is truncated", [sentence])
    }

    @Test("a web page with status 200")
    func webPage() async throws {
        let scene = try await Scene()
        try scene.metadata.appending("timestamp.json").replaceContents(with: "<!DOCTYPE html><html>Log in</html>")
        try await scene.expectRefusal(
            of: "its metadata is a web page with status 200",
            [
                "metadata/timestamp.json: a web page where signed metadata is expected; check the repository's address, and whether a "
                    + "proxy or a login page answers in its place"
            ])
    }

    @Test("with one flipped byte in the image's frames")
    func flipped() async throws {
        let scene = try await Scene()
        let frames = try scene.frames
        var bytes = try frames.contents()
        bytes[bytes.count / 2] ^= 1
        try frames.replaceContents(with: bytes)
        try await scene.expectRefusal(
            of: "a byte of the image is flipped in it",
            [
                "ballastd: what the server has is not what the release names: http://HOST/blobs/",
                ": what came is no zstd frame: damaged zstd frame: Unknown frame descriptor; try again; if it stays, the repository or a "
                    + "cache on the way is damaged\n",
            ], changesSlot: true)
    }

    @Test("behind a connection that is cut in the middle; once it holds, only what is missing is fetched")
    func cut() async throws {
        let scene = try await Scene()
        let script = FilePath(#filePath).removingLastComponent().appending("Server/cutting.py").string
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        process.arguments = ["python3", script, scene.repository.path.string]
        let (input, output) = (Pipe(), Pipe())
        process.standardInput = input
        process.standardOutput = output
        try process.run()
        defer { try? input.fileHandleForWriting.close() }
        let line = String(decoding: output.fileHandleForReading.availableData, as: UTF8.self)
        let port = try #require(Int(line.trimmingCharacters(in: .whitespacesAndNewlines)))
        let failed = try await scene.update(from: "http://127.0.0.1:\(port)")
        #expect(failed.status == 1)
        #expect(
            failed.errorText.hasPrefix(
                "ballastd: the transfer failed; the next attempt goes on where it ended: http://"))
        #expect(failed.errorText.contains(": the connection ended in the middle, after "), "\(failed.errorText)")
        try FaultCatalogue.note(
            .network, "the connection is cut in the middle", says: failed.errorText,
            then: "what came is kept; only the rest is fetched")
        #expect(try scene.machine.order() == ["1.0"])
        try await Self.served.serving(scene.repository) { address in
            let outcome = try await scene.update(from: address)
            // The frames before the cut were kept: of 538,276 bytes and a kernel of 150,000, these are what was missing.
            #expect(
                outcome.outputText.hasPrefix(
                    "1.1 is written to the other slot and starts with the next reboot (409.3 KiB fetched"))
        }
    }
}
