public import Fault
public import Fetching
import FileIO
import Glibc
public import Release
import Synchronization
import SystemPackage
public import Transfer
public import Trust

/// A repository behind one web server or several that have the same.
public final class MirroredRepository: BlobSource {
    /// How often all mirrors are asked for the same bytes.
    private static let rounds = 3
    /// The pause before the second round in seconds; each further one is twice as long.
    private static let firstPause: Int64 = 1
    /// Longer than this nobody waits for a server that wants to be left alone.
    private static let longestPause: Int64 = 30
    /// How long a request may take at least in seconds.
    private static let leastSeconds = 120
    /// After so many bytes that came and were kept, a failure is the first one again.
    private static let goodProgress: Int64 = 64 << 10

    private let mirrors: [String]
    private let transfer: TransferSettings
    private let fetcher: any Fetcher
    private let host: Host
    private let patience: HTTPOptions.Patience
    private let pause: @Sendable (Int64) -> Void
    private let clock: @Sendable () -> Int64
    private let order: Mutex<MirrorOrder>

    /// The repository that `settings` name, trusted through the root metadata of the image on `host`.
    ///
    /// - Parameters:
    ///   - patience: how long servers are waited for; how long a request may take in all is reckoned for each.
    ///   - clock: seconds of a clock that nobody sets.
    ///   - pause: waits a number of seconds. Tests count here instead.
    public init(
        _ settings: AgentSettings, host: Host, fetcher: any Fetcher,
        patience: HTTPOptions.Patience = HTTPOptions.Patience(),
        clock: @escaping @Sendable () -> Int64 = { MirroredRepository.secondsSinceBoot },
        pause: @escaping @Sendable (Int64) -> Void = { RetryPolicy.sleepOnThread(.seconds($0)) }
    ) {
        self.patience = patience
        mirrors = settings.mirrors
        transfer = settings.transfer
        self.fetcher = fetcher
        self.host = host
        self.pause = pause
        self.clock = clock
        order = Mutex(MirrorOrder(count: settings.mirrors.count))
    }

    /// Seconds until one of the servers wants to be asked again.
    public var retryAfter: Int64? { order.withLock { $0.retryAfter(now: clock()) } }

    /// What is published now.
    public func refresh(
        isCancelled: @escaping @Sendable () -> Bool
    ) throws(UpdateAgentFault) -> TrustedRepository {
        let root: [UInt8]
        do throws(FileIOFault) { root = try host.paths.trustedRoot.contents(limit: 1 << 20) } catch {
            throw UpdateAgentFault(
                .unconfigured, "the image brings no root metadata, so no repository is trusted",
                remedy: "set 'update.trusted_root' in the manifest and install an image with it", cause: error)
        }
        let store = DirectoryStore(host.paths.trust)
        let now = host.now()
        return try onMirrors(isCancelled) { files throws(UpdateAgentFault) in
            let client = MetadataClient(trustedRoot: root, source: files, store: store)
            return try Self.trusting { () throws(TrustFault) in try client.refresh(now: now) }
        }
    }

    /// The bytes of a target, verified.
    public func target(
        _ name: String, in repository: TrustedRepository, limit: Int,
        isCancelled: @escaping @Sendable () -> Bool
    ) throws(UpdateAgentFault) -> [UInt8] {
        try onMirrors(isCancelled) { files throws(UpdateAgentFault) in
            try Self.trusting { () throws(TrustFault) in try repository.fetch(name, limit: limit, from: files) }
        }
    }

    private static func trusting<Result>(
        _ body: () throws(TrustFault) -> Result
    ) throws(UpdateAgentFault) -> Result {
        do throws(TrustFault) { return try body() } catch { throw UpdateAgentFault(trust: error) }
    }

    /// Gives the bytes of `blob` from `offset` on to `receiver`.
    public func stream(
        _ blob: Blob, from offset: Int64, form: FetchRequest.Form, into receiver: any BlobReceiver,
        isCancelled: @escaping @Sendable () -> Bool
    ) throws(UpdateAgentFault) {
        var position = offset
        try onMirrors(isCancelled) { files throws(UpdateAgentFault) in
            if position < blob.size {
                var request = try files.request(blob.path)
                request.form = form
                request.http.start = position
                request.http.end = blob.size
                request.http.limit = blob.size - position
                request.options.patience.totalSeconds = Self.seconds(for: blob.size, request)
                var refusal: UpdateAgentFault?
                let answer = files.fetch(request) { bytes, received in
                    do throws(UpdateAgentFault) { try receiver.take(bytes, received: received) } catch {
                        refusal = error
                        throw error
                    }
                }
                if let failure = answer.failure {
                    let fault = refusal ?? UpdateAgentFault(transfer: failure)
                    // Of a server that gave nothing but a wrong length, nothing that others gave is damaged.
                    let isDamaged = fault.code == .mismatch && (refusal != nil || answer.received > 0)
                    let next = try receiver.resume(isDamaged: isDamaged)
                    files.kept = next - position
                    position = next
                    throw fault
                }
            }
            do throws(UpdateAgentFault) { try receiver.finish() } catch {
                position = try receiver.resume(isDamaged: true)
                throw error
            }
        }
    }

    /// A server that gives no more than the least that is bearable is done by then.
    fileprivate static func seconds(for bytes: Int64, _ request: FetchRequest) -> Int {
        let patience = request.options.patience
        let slowest = max(
            min(Int64(patience.slowBytesPerSecond), request.options.bytesPerSecond.map { $0 / 2 } ?? .max), 1)
        let seconds = patience.connectSeconds + patience.slowSeconds + Int(min(bytes / slowest, 1 << 30))
        return max(seconds, leastSeconds)
    }

    // MARK: Mirrors

    /// Has `body` try the mirrors one after the other, and again after a pause, until it succeeds with one.
    private func onMirrors<Result>(
        _ isCancelled: @escaping @Sendable () -> Bool, _ body: (MirrorFiles) throws(UpdateAgentFault) -> Result
    ) throws(UpdateAgentFault) -> Result {
        var options = try transfer.options()
        var failed = 0
        while true {
            var worst: UpdateAgentFault?
            var isWorthWaiting = false
            var gained: Int64 = 0
            let sequence = order.withLock { $0.sequence(now: clock()) }
            for (place, index) in sequence.enumerated() {
                // One that crawls is left while another one may be fast.
                options.patience = place + 1 < sequence.count ? patience.choosing : patience
                let files = MirrorFiles(
                    address: mirrors[index], options: options, fetcher: fetcher, isCancelled: isCancelled)
                do throws(UpdateAgentFault) {
                    let result = try body(files)
                    order.withLock { $0.succeed(index) }
                    return result
                } catch {
                    guard Self.isMirrors(error), !isCancelled() else { throw error }
                    order.withLock {
                        $0.fail(index, retryAfter: files.retryAfter, now: clock(), random: host.random)
                    }
                    gained += files.kept
                    if files.isTemporary || files.kept > 0 { isWorthWaiting = true }
                    worst = worst.map { Self.isGraver(error, than: $0) ? error : $0 } ?? error
                }
            }
            // What one brings and another one spoils is no progress.
            if gained >= Self.goodProgress { failed = 0 }
            failed += 1
            guard let worst else { throw UpdateAgentFault(.unconfigured, "this host has no repository to ask") }
            let wanted = order.withLock { $0.retryAfter(now: clock()) } ?? 0
            let seconds = max(Self.firstPause << Int64(failed - 1), wanted)
            guard isWorthWaiting, failed < Self.rounds, seconds <= Self.longestPause else { throw worst }
            for _ in 0..<seconds {
                if isCancelled() { throw worst }
                pause(1)
            }
        }
    }

    /// Whether another mirror may have what this one does not.
    private static func isMirrors(_ fault: UpdateAgentFault) -> Bool {
        switch fault.code {
        case .transfer, .mismatch, .untrusted, .expired, .rolledBack: true
        case .busy, .denied, .pinned, .held, .notFound, .noSpace, .nothingGood, .notPermitted, .invalid, .unconfigured,
            .unsupported, .storage, .state, .system:
            false
        }
    }

    /// Whom nobody reaches says less than what somebody gives out who is not to be trusted.
    private static func isGraver(_ fault: UpdateAgentFault, than other: UpdateAgentFault) -> Bool {
        other.code == .transfer && fault.code != .transfer
    }

    /// Seconds of a clock that nobody sets.
    public static var secondsSinceBoot: Int64 {
        var time = timespec()
        clock_gettime(CLOCK_BOOTTIME, &time)
        return Int64(time.tv_sec)
    }
}

extension HTTPOptions.Patience {
    /// What is expected of a server beside which there are others: 64 KiB a second, for longer.
    fileprivate var choosing: Self {
        var patience = self
        patience.slowBytesPerSecond = max(slowBytesPerSecond, 64 << 10)
        patience.slowSeconds = 4 * slowSeconds
        return patience
    }
}

/// One mirror's files, for one attempt.
private final class MirrorFiles: MetadataSource {
    private let address: String
    private let options: HTTPOptions
    private let fetcher: any Fetcher
    private let isCancelled: @Sendable () -> Bool
    /// What the last failure came with.
    private(set) var retryAfter: Int64?
    private(set) var isTemporary = false
    /// How many bytes of a blob came by it that need not come again.
    var kept: Int64 = 0

    init(address: String, options: HTTPOptions, fetcher: any Fetcher, isCancelled: @escaping @Sendable () -> Bool) {
        self.address = address
        self.options = options
        self.fetcher = fetcher
        self.isCancelled = isCancelled
    }

    func request(_ path: String) throws(UpdateAgentFault) -> FetchRequest {
        var options = options
        let url = WebAddress.join(address, path)
        if options.proxy == .environment { options.proxy = .inEnvironment(for: url) }
        return FetchRequest(HTTPRequest(url), options: options)
    }

    func fetch(_ request: FetchRequest, receive: (UnsafeRawBufferPointer, Int64) throws -> Void) -> FetchAnswer {
        let answer = fetcher.fetch(request, isCancelled: isCancelled, receive: receive)
        retryAfter = answer.retryAfter
        isTemporary = answer.failure?.isTemporary ?? false
        return answer
    }

    func fetch(_ path: String, limit: Int) throws -> [UInt8]? {
        var request = try request(path)
        request.http.limit = Int64(limit)
        request.options.patience.totalSeconds = MirroredRepository.seconds(for: Int64(limit), request)
        request.http.revalidates = true
        var document: [UInt8] = []
        let answer = fetch(request) { bytes, _ in
            // Whoever does not keep to the limit is not the one that was asked.
            guard document.count + bytes.count <= limit else {
                throw TransferFault(.tooLarge, "more than the \(limit) bytes that are allowed here")
            }
            document.append(contentsOf: bytes)
        }
        guard let failure = answer.failure else { return document }
        if failure.code == .notFound { return nil }
        // Stores that list nothing to strangers say so of files that are not there; the next root is asked for to see that.
        if answer.status == 403, path.hasSuffix(".root.json") { return nil }
        throw failure
    }
}
