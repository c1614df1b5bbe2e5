import Dispatch

/// Runs `body`, which waits for others, on a thread of its own: on one of Swift's it would keep these from going on.
public func onOwnThread<Result: Sendable>(_ body: @escaping @Sendable () throws -> Result) async throws -> Result {
    try await withCheckedThrowingContinuation { continuation in
        DispatchQueue(label: "test").async {
            continuation.resume(with: Swift.Result { try body() })
        }
    }
}
