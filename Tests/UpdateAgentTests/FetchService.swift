import Fetching
import Glibc
import SystemPackage
import TestSupport
import UpdateAgent

/// The fetch workers of a host whose files are below a directory, as ballast-fetch.socket has them, for as long as this value is.
final class FetchService: ServerProcess, @unchecked Sendable {
    init(root: FilePath) throws {
        super.init()
        try start([BuiltExecutable.path("ballastd").string, "fetch", "--root", root.string])
        // A worker says of the port that nobody listens there, and who finds no worker says that.
        let fetcher = WorkerFetcher(socket: HostPaths(prefix: root).fetchSocket)
        while isRunning {
            let problem = fetcher.connectionProblem(host: "127.0.0.1", port: 1, seconds: 1)
            if problem?.hasPrefix("127.0.0.1:1") == true { return }
            usleep(20_000)
        }
    }
}
