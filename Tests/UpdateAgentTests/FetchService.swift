import Fetching
import Foundation
import Glibc
import SystemPackage
import TestSupport
import UpdateAgent

/// The fetch workers of a host whose files are below a directory, as ballast-fetch.socket has them, for as long as this value is.
final class FetchService: Sendable {
    private let process: Process

    init(root: FilePath) throws {
        process = Process()
        process.executableURL = URL(fileURLWithPath: try BuiltExecutable.path("ballastd").string)
        process.arguments = ["fetch", "--root", root.string]
        process.standardInput = FileHandle.nullDevice
        let socket = HostPaths(prefix: root).fetchSocket
        try process.run()
        // A worker says of the port that nobody listens there, and who finds no worker says that.
        let fetcher = WorkerFetcher(socket: socket)
        while process.isRunning {
            let problem = fetcher.connectionProblem(host: "127.0.0.1", port: 1, seconds: 1)
            if problem?.hasPrefix("127.0.0.1:1") == true { return }
            usleep(20_000)
        }
    }

    // A child of a thread of Dispatch's has its signals blocked, other than this one.
    deinit { kill(process.processIdentifier, SIGKILL) }
}
