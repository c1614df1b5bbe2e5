import BootControl
import Command
import Cryptography
import Fault
import Fetching
import FileIO
import Glibc
import JSON
import PartitionTable
import Publishing
import Release
import Serving
import SystemPackage
import TestSupport
import Testing
import Transfer
import Trust
import UpdateAgent

@Suite("A host and a web server")
struct ServedUpdateTests {
    /// Runs `body` with the address of `repository`, served over HTTP.
    func serving(_ repository: TestRepository, _ body: (String) async throws -> Void) async throws {
        let server = try RepositoryServer(root: repository.path, host: "127.0.0.1", port: 0)
        let (addresses, continuation) = AsyncStream.makeStream(of: String.self)
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await server.run { continuation.yield($0) } }
            var iterator = addresses.makeAsyncIterator()
            try await body(try #require(await iterator.next()))
            group.cancelAll()
        }
    }

    /// Everything below `root` that the agent's executable reads on a host that runs `image`.
    func populate(_ root: FilePath, running image: TestImage, machine: FileMachine, repository: TestRepository) throws {
        for directory in ["usr/lib/ballast", "etc", "proc/sys/kernel/random"] {
            try root.appending(directory).makeDirectories()
        }
        try root.appending("usr/lib/os-release").replaceContents(
            with: "ID=debian\nIMAGE_ID=box\nIMAGE_VERSION=\"\(image.version)\"\n")
        try root.appending("etc/machine-id").replaceContents(with: "0123456789abcdef0123456789abcdef\n")
        try root.appending("proc/cmdline").replaceContents(with: "quiet roothash=\(image.hash) ro\n")
        try root.appending("proc/sys/kernel/random/boot_id").replaceContents(with: "a boot\n")
        try root.appending("usr/lib/ballast/root.json").replaceContents(with: try repository.root())
    }

    func settings(_ root: FilePath, address: String, machine: FileMachine) throws {
        let value: JSONValue = [
            "format": 1, "product": "box", "architecture": "amd64", "repository": .string(address), "channel": "stable",
            "poll": ["interval_seconds": 3600, "jitter_seconds": 0], "reboot": "manual", "boot": ["tries": 3],
            "health": [], "disk": .string(machine.disk.string), "boot_partition": .string(machine.boot.string),
        ]
        try root.appending("usr/lib/ballast/agent.json").replaceContents(with: value.text())
    }

    @Test("the agent's executable updates a host over HTTP in less than 48 MiB of memory")
    func executable() async throws {
        let daemon = try BuiltExecutable.path("ballastd")
        let directory = try TemporaryDirectory()
        let old = try TestImage(version: "1.0", blocks: 16)
        let new = try TestImage(version: "1.1", blocks: 16 << 10)
        let repository = try TestRepository(in: directory.path, now: .now)
        try await repository.publish(new, now: .now) { $0.frameSize = 1 << 20 }
        let machine = try FileMachine(in: directory.path, running: old, slotSize: 80 << 20)
        let root = directory.path.appending("root")
        try populate(root, running: old, machine: machine, repository: repository)
        let workers = try FetchService(root: root)
        defer { withExtendedLifetime(workers) {} }
        try await serving(repository) { address in
            try settings(root, address: address, machine: machine)
            // A small parent, since a child begins with its parent's peak.
            let measure = """
                import resource, subprocess, sys
                status = subprocess.run(sys.argv[1:]).returncode
                print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
                sys.exit(status)
                """
            let outcome = try await Command(
                "python3", ["-c", measure, daemon.string, "update", "--root", root.string]
            ).run()
            let lines = outcome.outputText.split(separator: "\n")
            let peak = try #require(lines.last.flatMap { Int($0) })
            #expect(peak < 48 << 10, "\(peak) KiB")
            #expect(
                lines.first?.hasPrefix("1.1 is written to the other slot and starts with the next reboot (") == true)
            #expect(try machine.order() == ["1.1+3", "1.0"])
            let slot = try #require(try machine.slots(running: old.hash).slots().last)
            #expect(slot.label == "box_1.1")
            let again = try await Command(daemon.string, ["update", "--root", root.string]).run()
            #expect(again.outputText == "nothing to do: 1.1 is ready and starts with the next reboot\n")
        }
    }

    @Test("an update that is killed again and again fetches at most 4 MiB anew each time")
    func killed() async throws {
        let daemon = try BuiltExecutable.path("ballastd")
        let directory = try TemporaryDirectory()
        let old = try TestImage(version: "1.0", blocks: 16)
        let new = try TestImage(version: "1.1", blocks: 12 << 10)
        let repository = try TestRepository(in: directory.path, now: .now)
        try await repository.publish(new, now: .now) { $0.frameSize = 1 << 20 }
        let machine = try FileMachine(in: directory.path, running: old, slotSize: 64 << 20)
        let root = directory.path.appending("root")
        try populate(root, running: old, machine: machine, repository: repository)
        let workers = try FetchService(root: root)
        let nginx = try await Nginx(serving: repository.path, in: directory.path)
        try settings(root, address: nginx.base + "/steady", machine: machine)
        let record = root.appending("var/lib/ballast/staging.json")
        let kills = 5
        for _ in 0..<kills {
            // It is killed when it has noted more than the one before.
            let script = """
                import json, signal, subprocess, sys, time
                def frames():
                    try: return json.load(open(sys.argv[1]))["frames"]
                    except (OSError, ValueError): return 0
                before = frames()
                process = subprocess.Popen(sys.argv[2:])
                while process.poll() is None and frames() < before + 4: time.sleep(0.01)
                time.sleep(0.2)
                process.kill()
                sys.exit(0 if process.wait() == -signal.SIGKILL else 1)
                """
            try await Command(
                "python3", ["-c", script, record.string, daemon.string, "update", "--root", root.string]
            ).run()
        }
        let last = try await Command(daemon.string, ["update", "--root", root.string]).run()
        #expect(last.outputText.hasPrefix("1.1 is written to the other slot"))
        let frames = try nginx.requests().filter { $0.contains("/blobs/") && $0.contains(" 206 ") }
        let sent = frames.compactMap { Int64($0.split(separator: " ")[2]) }.reduce(0, +)
        let blobs = repository.path.appending("blobs")
        let size = try blobs.directoryEntries().map { try FileStatus(of: blobs.appending($0)).size }.max() ?? 0
        let again = (sent - size) / Int64(kills)
        #expect(frames.count > kills && size > 20 << 20, "\(frames)")
        #expect(again <= 4 << 20, "\(again) bytes of \(size)")
        withExtendedLifetime((workers, nginx)) {}
    }

    @Test("each way in which a served repository is not to be trusted has its own words and changes nothing")
    func untrusted() async throws {
        let directory = try TemporaryDirectory()
        let old = try TestImage(version: "1.0", blocks: 16)
        let repository = try TestRepository(in: directory.path, now: .now)
        try await repository.publish(try TestImage(version: "1.1", blocks: 16), now: .now)
        let machine = try FileMachine(in: directory.path, running: old)
        let root = directory.path.appending("root")
        try populate(root, running: old, machine: machine, repository: repository)
        let disk = try SHA256Digest.ofFile(machine.disk).digest
        let trusted = root.appending("usr/lib/ballast/root.json")
        let state = root.appending("var/lib/ballast")
        let metadata = repository.path.appending("metadata")
        try await serving(repository) { address in
            try settings(root, address: address, machine: machine)
            let paths = HostPaths(prefix: root)
            func agent(address: String? = nil, at time: UTCTime = .now) throws -> Agent {
                var settings = try AgentSettings.load(paths).settings
                if let address { settings.mirrors = [address] }
                var host = try Host(paths, settings: settings)
                host.now = { time }
                let source = MirroredRepository(settings, host: host, fetcher: DirectFetcher(), pause: { _ in })
                return Agent(settings: settings, host: host, source: source)
            }
            func fault(_ agent: Agent) async throws -> UpdateAgentFault {
                try await #require(throws: UpdateAgentFault.self) {
                    try await onOwnThread { try agent.update { _ in } }
                }
            }
            let expired = try await fault(agent(at: UTCTime.now.adding(days: 4000)))
            #expect(expired.code == .expired)
            #expect(expired.description.contains("expired at"))
            let unreachable = try await fault(agent(address: "http://127.0.0.1:9"))
            #expect(unreachable.code == .transfer)
            #expect(unreachable.description.contains("no connection"))

            // Seen once, an older timestamp is a rollback.
            let old = try metadata.appending("timestamp.json").contents()
            try await repository.publish(try TestImage(version: "1.2", blocks: 16), now: .now)
            let seeing = try agent()
            let seen = try await onOwnThread { try seeing.check().available }
            #expect(seen == "1.2")
            let new = try metadata.appending("timestamp.json").contents()
            try metadata.appending("timestamp.json").replaceContents(with: old)
            let rolledBack = try await fault(agent())
            #expect(rolledBack.code == .rolledBack)
            try metadata.appending("timestamp.json").replaceContents(with: Array("<html>Welcome</html>".utf8))
            let page = try await fault(agent())
            #expect(page.code == .transfer)
            #expect(page.description.contains("a web page where signed metadata is expected"))
            try metadata.appending("timestamp.json").replaceContents(with: new)

            let root = try trusted.contents()
            let strangers = directory.path.appending("strangers")
            var keys: [MetadataRole: Ed25519PrivateKey] = [:]
            for (index, role) in MetadataRole.allCases.enumerated() {
                keys[role] = try Ed25519PrivateKey(seed: [UInt8](repeating: UInt8(90 + index), count: 32))
            }
            try Repository(strangers).initialize(keys: KeySet(keys), now: .now)
            try trusted.replaceContents(with: try strangers.appending("metadata/1.root.json").contents())
            try state.removeTree()
            let stranger = try await fault(agent())
            #expect(stranger.code == .untrusted)
            try trusted.removeTree()
            let none = try await fault(agent())
            #expect(none.code == .unconfigured)
            #expect(none.message == "the image brings no root metadata, so no repository is trusted")
            try trusted.replaceContents(with: root)
            #expect(try SHA256Digest.ofFile(machine.disk).digest == disk)
            #expect(try machine.order() == ["1.0"])
            let last = try agent()
            let updated = try await onOwnThread { try last.update { _ in }.version }
            #expect(updated == "1.2")
        }
    }
}
