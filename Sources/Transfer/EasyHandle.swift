import CCurl
import Synchronization

/// One libcurl handle with the connections it keeps open.
final class EasyHandle: Sendable {
    // libcurl lets any one thread at a time use a handle, and `HandlePool` lends each to one borrower.
    nonisolated(unsafe) let pointer: UnsafeMutableRawPointer

    init?() {
        // Not thread safe by itself in every build of libcurl, hence once and before the first handle.
        guard Self.libraryIsReady, let pointer = curl_easy_init() else { return nil }
        self.pointer = pointer
    }

    private static let libraryIsReady = curl_global_init(Int(CURL_GLOBAL_DEFAULT)) == CURLE_OK

    deinit { curl_easy_cleanup(pointer) }

    func set(_ option: CURLoption, _ value: Int) { _ = ballast_curl_set_long(pointer, option, value) }
    func set(_ option: CURLoption, _ value: String) { _ = ballast_curl_set_string(pointer, option, value) }
    func set(_ option: CURLoption, _ value: UnsafeMutableRawPointer) {
        _ = ballast_curl_set_pointer(pointer, option, value)
    }
}

/// Handles that nobody uses at the moment, so that the next request finds their connections open.
final class HandlePool: Sendable {
    private let idle = Mutex<[EasyHandle]>([])

    func borrow() -> EasyHandle? { idle.withLock { $0.popLast() } ?? EasyHandle() }

    /// Takes a handle back; all its options are forgotten, its connections are not.
    func giveBack(_ handle: EasyHandle) {
        curl_easy_reset(handle.pointer)
        idle.withLock { $0.append(handle) }
    }
}
