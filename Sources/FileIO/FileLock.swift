public import Fault
import Glibc
public import SystemPackage

/// A lock on a file, which one process at a time has, until the last reference to this goes.
public final class FileLock: Sendable {
    private let file: OpenFile

    private init(_ file: consuming OpenFile) { self.file = file }

    // Not by closing alone: a program that another thread starts at this moment has the file open too, until it runs.
    deinit { _ = flock(file.descriptor.rawValue, LOCK_UN) }

    /// Waits until nobody else has the lock on `path`, which is made where it is missing.
    public static func waiting(for path: FilePath) throws(FileIOFault) -> FileLock {
        let file = try OpenFile(path, .readWrite, options: [.create])
        while flock(file.descriptor.rawValue, LOCK_EX) != 0 {
            guard errno == EINTR else { throw .last("cannot lock", at: path) }
        }
        return FileLock(file)
    }

    /// Whether somebody has the lock on `path` at this moment. Writes nothing.
    public static func isHeld(_ path: FilePath) throws(FileIOFault) -> Bool {
        let file: OpenFile
        do throws(FileIOFault) { file = try OpenFile(reading: path) } catch {
            if error.code == .notFound { return false }
            throw error
        }
        guard flock(file.descriptor.rawValue, LOCK_SH | LOCK_NB) == 0 else {
            guard errno == EWOULDBLOCK else { throw .last("cannot lock", at: path) }
            return true
        }
        _ = flock(file.descriptor.rawValue, LOCK_UN)
        return false
    }

    /// The lock on `path`, which is made where it is missing, or nil where somebody else has it.
    public static func ifFree(_ path: FilePath) throws(FileIOFault) -> FileLock? {
        let file = try OpenFile(path, .readWrite, options: [.create])
        guard flock(file.descriptor.rawValue, LOCK_EX | LOCK_NB) == 0 else {
            guard errno == EWOULDBLOCK else { throw .last("cannot lock", at: path) }
            return nil
        }
        return FileLock(file)
    }
}
