import CLinux
import Fault
import Glibc
import JSON
import Synchronization
public import SystemPackage
import Transfer

/// Fetches by workers in processes of their own, which are behind a socket.
public final class WorkerFetcher: Fetcher {
    /// How much longer than a server the worker itself may be silent, in seconds.
    private static let grace = 15
    /// The most characters of what a worker says.
    private static let textLimit = 1000

    private let socket: FilePath
    private let idle = Mutex<MessageChannel?>(nil)

    /// A fetcher that finds its workers at `socket`.
    public init(socket: FilePath) { self.socket = socket }

    /// Makes one request.
    public func fetch(
        _ request: FetchRequest, isCancelled: () -> Bool,
        receive: (_ bytes: UnsafeRawBufferPointer, _ received: Int64) throws -> Void
    ) -> FetchAnswer {
        let patience = request.options.patience
        let seconds = patience.connectSeconds + patience.slowSeconds + Self.grace
        // A worker that is not what it should be is not believed how long it takes, nor how much there is.
        let deadline = patience.totalSeconds.map { ContinuousClock.now + .seconds($0 + Self.grace) }
        let most = min(request.http.limit, request.http.end.map { $0 - request.http.start } ?? .max)
        var received: Int64 = 0
        let url = WebAddress.redacted(request.http.url)
        do {
            let bytes = try perform(
                .fetch(request), seconds: seconds, deadline: deadline, isCancelled: isCancelled
            ) { message in
                guard message.count >= 8 else { throw Errno.badMessage }
                let total = message[..<8].reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
                let count = Int64(clamping: total)
                // Nothing new says that something comes, as where a server begins anew; for how long is bounded.
                guard count <= most, count >= received else { throw Errno.badMessage }
                received = count
                do { try receive(UnsafeRawBufferPointer(rebasing: message[8...]), received) } catch {
                    throw TransferFault(.receiver, "what came could not be taken", at: .url(url), cause: error)
                }
            }
            return try FetchAnswer(parsing: bytes)
        } catch {
            return FetchAnswer(status: 0, received: received, failure: Self.fault(error, url: url))
        }
    }

    /// Why no connection to `port` of `host` opens.
    public func connectionProblem(host: String, port: UInt16, seconds: Int) -> String? {
        do {
            let bytes = try perform(
                .connect(host: host, port: port, seconds: max(seconds, 1)), seconds: 2 * seconds + Self.grace,
                isCancelled: { false }, onData: { _ in throw Errno.badMessage })
            return try JSONCursor(parsing: bytes, source: "the fetch worker's answer").optional("problem")?.string()
                .excerpt(limit: Self.textLimit)
        } catch {
            return "\(Self.fault(error, url: nil))"
        }
    }

    private static func fault(_ error: any Error, url: String?) -> TransferFault {
        let place = url.map { Place.url($0) }
        switch error {
        case let fault as TransferFault: return fault
        case Errno.canceled: return TransferFault(.cancelled, "the transfer was cancelled", at: place)
        case Errno.timedOut: return TransferFault(.timeout, "the fetch worker said nothing for too long", at: place)
        case let error as Errno:
            return TransferFault(
                .cut, "the fetch worker ended before its answer", at: place,
                remedy: "see 'journalctl -u ballast-fetch@*'", cause: error)
        default:
            return TransferFault(.refused, "the fetch worker's answer cannot be read", at: place, cause: error)
        }
    }

    /// Has a worker carry out `order`.
    ///
    /// - Returns: its answer.
    private func perform(
        _ order: WorkOrder, seconds: Int, deadline: ContinuousClock.Instant? = nil, isCancelled: () -> Bool,
        onData: (UnsafeRawBufferPointer) throws -> Void
    ) throws -> [UInt8] {
        let text = Array(order.json.compactText.utf8)
        func give(to channel: MessageChannel) throws(Errno) {
            try text.withUnsafeBytes { text in
                Result { () throws(Errno) in try channel.send(.order, text, seconds: Self.grace) }
            }.get()
        }
        let channel: MessageChannel
        // One that waited for too long has left.
        if let kept = idle.withLock({ $0.take() }), !kept.isClosedByPeer, (try? give(to: kept)) != nil {
            channel = kept
        } else {
            channel = try connect()
            try give(to: channel)
        }
        var buffer: [UInt8] = []
        func isLate() -> Bool { deadline.map { ContinuousClock.now > $0 } ?? false }
        func ends() -> Bool { isLate() || isCancelled() }
        while true {
            let next: MessageChannel.Kind?
            do throws(Errno) {
                next = try channel.receive(into: &buffer, seconds: seconds, isCancelled: ends)
            } catch {
                throw error == .canceled && isLate() ? Errno.timedOut : error
            }
            guard let kind = next else { throw Errno.connectionReset }
            switch kind {
            case .data:
                if isLate() { throw Errno.timedOut }
                if isCancelled() { throw Errno.canceled }
                try buffer.withUnsafeBytes { try onData($0) }
            case .answer:
                idle.withLock { $0 = channel }
                return buffer
            case .order: throw Errno.badMessage
            }
        }
    }

    /// Lets a worker that waits for the next order go.
    public func release() { idle.withLock { $0 = nil } }

    private func connect() throws(TransferFault) -> MessageChannel {
        let descriptor = ballast_connect_unix(socket.string)
        guard descriptor >= 0 else {
            throw TransferFault(
                .refused, "there is no fetch worker, by which this host reaches servers", at: .path(socket.string),
                remedy: "start it with 'systemctl start ballast-fetch.socket'", cause: Errno(rawValue: errno))
        }
        return MessageChannel(owning: descriptor)
    }
}
