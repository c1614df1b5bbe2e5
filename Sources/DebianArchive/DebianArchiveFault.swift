public import Fault

/// Why packages could not be found, chosen, fetched or trusted.
public enum DebianArchiveFaultCode: String, FaultCode {
    /// An index, a Release file or apt's sources break their grammar.
    case malformed
    /// A Release file is not signed by a key of the keyring, or was changed after it was signed.
    case signature
    /// A Release file is past its Valid-Until.
    case expired
    /// A Release file is dated in the future.
    case notYetValid = "not-yet-valid"
    /// A Release file is for another suite, or has no such component or architecture.
    case wrongSuite = "wrong-suite"
    /// Bytes are not those that a SHA-256 names.
    case digestMismatch = "digest-mismatch"
    /// The archive has no package of this name.
    case unknownPackage = "unknown-package"
    /// What was asked for cannot be installed together.
    case unsatisfiable
    /// A version that the lock names is no longer in the archive.
    case versionGone = "version-gone"
    /// No mirror was given, and apt's sources name none.
    case noMirror = "no-mirror"
    /// There is no lock.
    case lockMissing = "lock-missing"
    /// The lock was edited or is damaged.
    case lockDamaged = "lock-damaged"
    /// The lock was made for another manifest.
    case lockStale = "lock-stale"
    /// Something could not be fetched.
    case transfer
    /// A file could not be read or written, or a program not run.
    case system
}

/// A failure of this module.
public typealias DebianArchiveFault = Fault<DebianArchiveFaultCode>
