import CLinux
import Dispatch
import Glibc
import Synchronization

/// Turns the signals that ask this process to end into the cancellation of what it does, so that no virtual machine is left
/// without anybody who looks after it, and no working directory with gigabytes in it.
public enum EndingSignals {
    private static let numbers = [SIGTERM, SIGINT, SIGHUP]
    private static let queue = DispatchQueue(label: "io.ballast.signals")
    private static let received = Mutex<Int32?>(nil)

    /// What a shell shows of a process that such a signal has ended, once one has come: 130 for SIGINT.
    public static var exitStatus: Int32? { received.withLock { $0.map { 128 + $0 } } }

    /// The result of `body`, which is cancelled when this process is asked to end.
    public static func cancelling<Result: Sendable>(
        _ body: @escaping @Sendable () async throws -> Result
    ) async throws -> Result {
        // Before anything begins: a source of signals would only listen some time later, and until then one would end this
        // process at once, whatever it is about to leave behind.
        var ends: [Int32] = [-1, -1]
        guard ballast_pipe(&ends) == 0 else { return try await body() }
        // Fails for what is neither a signal nor a pipe alone; then such a signal ends this process at once.
        _ = ballast_report_signals(numbers, numbers.count, ends[1])
        let task = Task { try await body() }
        let (reader, writer) = (ends[0], ends[1])
        let source = DispatchSource.makeReadSource(fileDescriptor: reader, queue: queue)
        source.setEventHandler {
            var byte: UInt8 = 0
            guard read(reader, &byte, 1) == 1 else { return }
            received.withLock { $0 = $0 ?? Int32(byte) }
            task.cancel()
        }
        source.setCancelHandler {
            close(reader)
            close(writer)
        }
        source.activate()
        defer {
            _ = ballast_report_signals(numbers, numbers.count, -1)
            source.cancel()
        }
        return try await task.value
    }

    /// Does `body`, which ends by itself when this process is asked to end, and ends this process with ``exitStatus`` where it
    /// has not after `patience`, or when it is asked a second time.
    ///
    /// - Parameter waiting: called where it does not end at once, to say what is waited for.
    public static func ending<Result: Sendable>(
        within patience: Duration, waiting: @escaping @Sendable () -> Void,
        _ body: @escaping @Sendable () async throws -> Result
    ) async throws -> Result {
        let count = Mutex(0)
        let sources = sources {
            let times = count.withLock { count in
                count += 1
                return count
            }
            guard times == 1 else { exit(exitStatus ?? 1) }
            Task {
                // Most end at once, and say nothing.
                try? await Task.sleep(for: .seconds(1))
                waiting()
                try? await Task.sleep(for: patience)
                exit(exitStatus ?? 1)
            }
        }
        defer { for source in sources { source.cancel() } }
        return try await body()
    }

    private static func sources(_ handler: @escaping @Sendable () -> Void) -> [any DispatchSourceSignal] {
        numbers.map { number in
            let source = DispatchSource.makeSignalSource(signal: number, queue: queue)
            source.setEventHandler {
                received.withLock { $0 = $0 ?? number }
                handler()
            }
            source.activate()
            return source
        }
    }
}
