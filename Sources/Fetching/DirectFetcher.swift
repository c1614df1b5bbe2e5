import Compression
import Fault
import Synchronization
import Transfer

/// Fetches in this process.
public final class DirectFetcher: Fetcher {
    /// Bytes that wait in the kernel when a host loses its power were fetched in vain. The kernel takes this twice, for its own use, and
    /// not more than `net.core.rmem_max`.
    private static let receiveBuffer = 512 << 10

    private let last = Mutex<(options: HTTPOptions, client: HTTPClient)?>(nil)

    /// A fetcher without connections.
    public init() {}

    /// Makes one request.
    public func fetch(
        _ request: FetchRequest, isCancelled: () -> Bool,
        receive: (_ bytes: UnsafeRawBufferPointer, _ received: Int64) throws -> Void
    ) -> FetchAnswer {
        let client = client(request.options)
        var received: Int64 = 0
        let answer: HTTPAnswer
        switch request.form {
        case .stored:
            answer = client.answer(to: request.http, isCancelled: isCancelled) { bytes in
                received += Int64(bytes.count)
                try receive(bytes, received)
            }
        case .dropped: answer = client.answer(to: request.http, isCancelled: isCancelled)
        case .decompressed:
            do {
                var stream = try ZstdStream()
                var damage: CompressionFault?
                var read = client.answer(to: request.http, isCancelled: isCancelled) { bytes in
                    received += Int64(bytes.count)
                    do {
                        var isTold = false
                        try stream.decompress(bytes) { content in
                            isTold = true
                            try receive(content, received)
                        }
                        // On a slow line it takes its time until there is something to give, and whoever waits knows that it goes on.
                        if !isTold { try receive(UnsafeRawBufferPointer(start: nil, count: 0), received) }
                    } catch let fault as CompressionFault {
                        damage = fault
                        throw fault
                    }
                }
                if let damage {
                    read.failure = TransferFault(
                        .digestMismatch, "what came is no zstd frame", at: read.failure?.place,
                        remedy: "try again; if it stays, the repository or a cache on the way is damaged",
                        cause: damage)
                }
                answer = read
            } catch {
                return FetchAnswer(
                    status: 0, received: 0,
                    failure: TransferFault(.refused, "zstd cannot be set up", cause: error))
            }
        }
        return FetchAnswer(
            status: answer.status, received: answer.delivered, retryAfter: answer.retryAfter, failure: answer.failure)
    }

    /// Why no connection to `port` of `host` opens.
    public func connectionProblem(host: String, port: UInt16, seconds: Int) -> String? {
        SocketProbe.problem(host: host, port: port, seconds: seconds)
    }

    /// A client that has connections open, where the last one will do.
    private func client(_ options: HTTPOptions) -> HTTPClient {
        var options = options
        options.receiveBuffer = Self.receiveBuffer
        return last.withLock { [options] last in
            if let last, last.options == options { return last.client }
            let client = HTTPClient(options: options, retries: RetryPolicy(attempts: 1))
            last = (options, client)
            return client
        }
    }
}
