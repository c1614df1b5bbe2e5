import Foundation

/// The Python server beside this file, for as long as the process runs. One for all tests: each path has its own faults.
final class FaultyServer: Sendable {
    static let shared = Result { try FaultyServer() }

    let base: String
    let data = (0..<300_000).map { UInt8(truncatingIfNeeded: $0 * 31 + ($0 >> 8) * 7) }
    // Ends when its standard input does, which is when this process ends.
    private let input: Pipe

    private init() throws {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        let script = URL(fileURLWithPath: #filePath).deletingLastPathComponent().appendingPathComponent(
            "Server/server.py")
        process.arguments = ["python3", script.path]
        let output = Pipe()
        input = Pipe()
        process.standardInput = input
        process.standardOutput = output
        try process.run()
        var line: [UInt8] = []
        while let byte = try output.fileHandleForReading.read(upToCount: 1)?.first, byte != UInt8(ascii: "\n") {
            line.append(byte)
        }
        base = "http://127.0.0.1:\(String(decoding: line, as: UTF8.self))"
    }
}
