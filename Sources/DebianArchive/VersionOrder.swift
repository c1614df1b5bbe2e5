import CSolv

/// Compares versions as dpkg does (Debian policy, section 5.6.12), by libsolv.
package final class VersionOrder {
    private let pool: UnsafeMutablePointer<Pool>?

    package init() {
        pool = pool_create()
        if let pool { pool_setdisttype(pool, Int32(DISTTYPE_DEB)) }
    }

    deinit { if let pool { pool_free(pool) } }

    /// Whether `first` is older than `second`.
    package func isOlder(_ first: String, _ second: String) -> Bool {
        guard let pool else { return false }
        return pool_evrcmp_str(pool, first, second, Int32(EVRCMP_COMPARE)) < 0
    }
}
