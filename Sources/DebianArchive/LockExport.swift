import Cryptography
public import Fault
import FileIO
public import SystemPackage
import Transfer

/// A lock's packages as a flat archive, for builds and for apt when the archive has moved on.
public struct LockExport {
    private let lock: Lock
    private let cache: PackageCache

    /// An export of what `cache` has of `lock`.
    public init(_ lock: Lock, from cache: PackageCache) {
        self.lock = lock
        self.cache = cache
    }

    /// Where a package is below the directory.
    static func path(of package: LockedPackage) -> String {
        "packages/\(package.suite)/\(package.digest)/\(FilePath(package.path).lastComponent?.string ?? "package.deb")"
    }

    /// Writes the packages, a Packages index of them and a Release file to `directory`; what is there of them already stays.
    /// There is no signature: apt takes it by `deb [trusted=yes] file:DIRECTORY ./`.
    public func write(
        to directory: FilePath, progress: (Int64) -> Void = { _ in }
    ) throws(DebianArchiveFault) {
        do {
            var index = ""
            for package in lock.packages {
                let path = Self.path(of: package)
                let target = directory.appending(path)
                if (try? SHA256Digest.ofFile(target))?.digest != package.digest {
                    try target.removingLastComponent().makeDirectories()
                    try ArchiveTransfer().download(
                        "file:" + cache.path(of: package).string.replacing("%", with: "%25"), to: target,
                        size: package.size, digest: package.digest)
                }
                progress(package.size)
                index += LocalPackages.paragraph(
                    of: try DebianPackageFile(target), path: path, size: package.size, digest: package.digest)
            }
            let bytes = Array(index.utf8)
            try directory.appending("Packages").replaceContents(with: bytes)
            try directory.appending("Release").replaceContents(
                with: """
                    Date: \(ArchiveDate.releaseText(lock.epoch))
                    Architectures: \(lock.architecture)
                    SHA256:
                     \(SHA256Digest(of: bytes)) \(bytes.count) Packages

                    """)
        } catch let fault as DebianArchiveFault {
            throw fault
        } catch {
            throw DebianArchiveFault(.system, "cannot be written", at: .path(directory.string), cause: error)
        }
    }
}

extension PackageCache {
    /// Takes over from an export what is not here; what that does not have stays missing.
    public func add(_ packages: [LockedPackage], fromExport directory: FilePath) throws(DebianArchiveFault) {
        for package in packages {
            let file = directory.appending(LockExport.path(of: package))
            guard file.exists else { continue }
            do {
                try path(of: package).removingLastComponent().makeDirectories()
                try ArchiveTransfer().download(
                    "file:" + file.string.replacing("%", with: "%25"), to: path(of: package), size: package.size,
                    digest: package.digest)
            } catch {
                throw DebianArchiveFault(
                    .system, "cannot be taken over", at: .path(file.string),
                    remedy: "export the lock again with 'ballast lock --export'", cause: error)
            }
        }
    }
}
