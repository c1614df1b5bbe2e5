import Command
import Cryptography
import FileIO
import Foundation
import Publishing
import Synchronization
import SystemPackage
import TestSupport
import Testing
import Trust

/// What `ballast publish` and `ballast serve` leave when they are asked to end.
@Suite("Verbs that are asked to end", .serialized, .timeLimit(.minutes(60)))
final class InterruptionTests {
    private let work: TemporaryDirectory
    private let repository: FilePath

    init() throws {
        work = try TemporaryDirectory()
        repository = work.path.appending("repository")
        let keys = try KeySet.generate(in: work.path.appending("keys"), passphrase: Passphrase("word".utf8))
        try Repository(repository).initialize(keys: keys, now: .now)
    }

    /// A running `ballast`.
    private final class Tool: Sendable {
        private let process: Mutex<Process>
        private let output = Pipe()
        private let error = Pipe()

        init(_ arguments: [String]) throws {
            let process = Process()
            process.executableURL = URL(fileURLWithPath: try BuiltExecutable.path("ballast").string)
            process.arguments = arguments
            process.environment = ["PATH": "/usr/bin:/bin", "BALLAST_PASSPHRASE": "word"]
            process.standardInput = FileHandle.nullDevice
            process.standardOutput = output
            process.standardError = error
            try process.run()
            self.process = Mutex(process)
        }

        deinit { process.withLock { if $0.isRunning { kill($0.processIdentifier, SIGKILL) } } }

        /// What it has written to standard output first.
        func firstOutput() async throws -> String {
            try await onOwnThread { String(decoding: self.output.fileHandleForReading.availableData, as: UTF8.self) }
        }

        func send(_ signal: Int32) { process.withLock { _ = kill($0.processIdentifier, signal) } }

        /// Its exit status and what it says on standard error, once it has ended.
        func end() async throws -> (status: Int32, error: String) {
            try await onOwnThread {
                let text = String(decoding: self.error.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
                return self.process.withLock { process in
                    process.waitUntilExit()
                    return (process.terminationReason == .exit ? process.terminationStatus : -1, text)
                }
            }
        }
    }

    @Test("an interrupt at the question for a passphrase ends the program as the signal does")
    func question() async throws {
        let ballast = try BuiltExecutable.path("ballast").string
        let program = """
            import os, pty, sys
            child, terminal = pty.fork()
            if child == 0:
                os.execv(sys.argv[1], sys.argv[1:])
            said = b""
            while b":" not in said:
                said += os.read(terminal, 100)
            os.write(terminal, b"\\x03")
            print(os.waitpid(child, 0)[1])
            """
        let keys = work.path.appending("asked")
        let outcome = try await Command(
            "timeout", ["60", "python3", "-c", program, ballast, "key", "generate", keys.string],
            environment: ["PATH": "/usr/bin:/bin"]
        ).outcome()
        #expect(outcome.outputText == "\(SIGINT)\n", "\(outcome.errorText)")
        #expect(!keys.exists)
    }

    @Test("an interrupted publication leaves the repository as it was", arguments: [SIGINT, SIGTERM])
    func publish(signal: Int32) async throws {
        let build = work.path.appending("build")
        try FakeBuild.write(to: build, version: "1.0", blocks: 12_000)
        let before = try files()
        let arguments = [
            "publish", build.string, "--repo", repository.string, "--keys", work.path.appending("keys").string,
            "--channel", "stable", "--accept-warnings", "--level", "19",
        ]
        let tool = try Tool(arguments)
        // It has begun when it writes blobs.
        let blobs = repository.appending("blobs")
        try await onOwnThread {
            while try blobs.directoryEntries().isEmpty { usleep(5000) }
            tool.send(signal)
        }
        let end = try await tool.end()
        #expect(end.status == 128 + signal)
        #expect(end.error.hasSuffix("ballast: interrupted; nothing was published\n"), "\(end.error)")
        #expect(try files() == before)
        // And one that nobody interrupts succeeds.
        let again = try Tool(arguments.dropLast() + ["1"])
        #expect(try await again.firstOutput().hasPrefix("Published box 1.0 (amd64) in stable: "))
        #expect(try await again.end().status == 0)
    }

    @Test("offering a version anew changes nothing else, and says so before anything is done")
    func reoffer() async throws {
        let before = try files()
        let arguments = [
            "publish", "--reoffer", "1.0", "--repo", repository.string, "--keys", work.path.appending("keys").string,
        ]
        let end = try await Tool(arguments + ["--revoke", "0.9"]).end()
        #expect(end.status == 64 && end.error.contains("--reoffer changes nothing else"), "\(end.error)")
        #expect(try files() == before)
        #expect(try await Tool(arguments).end().error.contains("no product has a release 1.0 here"))
    }

    /// Every file of the repository with its digest.
    private func files() throws -> [String: String] {
        var files: [String: String] = [:]
        for directory in ["metadata", "targets", "blobs"].map({ repository.appending($0) }) {
            for name in try directory.directoryEntries() {
                files["\(directory)/\(name)"] = try SHA256Digest.ofFile(directory.appending(name)).digest.description
            }
        }
        return files
    }

    @Test(
        "a server that is asked to end gives transfers time, and less when it is asked twice",
        arguments: [SIGINT, SIGTERM, SIGHUP])
    func serve(signal: Int32) async throws {
        // More than what sockets take.
        let blob = repository.appending("blobs").appending(String(repeating: "a", count: 64))
        try OpenFile(blob, .readWrite, options: .create).resize(to: 1 << 30)
        let tool = try Tool(["serve", repository.string, "--port", "0"])
        let address = try #require(try await tool.firstOutput().split(separator: " ").last).split(separator: "\n")[0]
        // Nothing goes on: it ends at once.
        let idle = try Tool(["serve", repository.string, "--port", "0"])
        #expect(try await idle.firstOutput().contains("http://127.0.0.1:"))
        idle.send(signal)
        let quick = try await idle.end()
        #expect(quick.status == 0)
        #expect(quick.error.isEmpty)

        let slow = Process()
        slow.executableURL = URL(fileURLWithPath: "/usr/bin/curl")
        slow.arguments = [
            "-s", "--limit-rate", "1M", "--max-time", "600", "-o", work.path.appending("part").string,
            "\(address)/blobs/\(String(repeating: "a", count: 64))",
        ]
        try slow.run()
        while !work.path.appending("part").exists { try await Task.sleep(for: .milliseconds(20)) }
        tool.send(signal)
        try await Task.sleep(for: .milliseconds(1500))
        // New requests are not taken any more.
        let late = try await Command("curl", ["-s", "--max-time", "5", "\(address)/metadata/timestamp.json"]).outcome()
        #expect(late.status != 0)
        tool.send(signal)
        let end = try await tool.end()
        let download = Mutex(slow)
        try await onOwnThread { download.withLock { $0.waitUntilExit() } }
        #expect(end.status == 128 + signal)
        #expect(
            end.error.hasSuffix("ballast: waiting up to 10 s for transfers; Ctrl-C again ends them\n"), "\(end.error)")
        #expect(end.error.contains("127.0.0.1 GET /blobs/aaaa"), "\(end.error)")
    }
}
