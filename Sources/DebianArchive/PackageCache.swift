import Cryptography
import Dispatch
public import Fault
import FileIO
public import Manifest
import Synchronization
public import SystemPackage
import Transfer

/// Packages on this machine, named by their SHA-256, so that builds of all manifests share them and none can be mistaken.
public struct PackageCache: Sendable {
    /// `CACHE/sha256/ab/abcdef….deb`.
    public let directory: FilePath
    /// A mirror's answer takes longer than its bytes, so that a few at a time fill the line.
    private static let width = 4

    /// A cache in `cache`, which is made when it is first needed.
    public init(_ cache: FilePath = ArchiveClient.defaultCache) {
        directory = cache.appending("sha256")
    }

    /// Where `package` is once it was fetched.
    public func path(of package: LockedPackage) -> FilePath {
        let digest = package.digest.description
        return directory.appending(String(digest.prefix(2))).appending("\(digest).deb")
    }

    /// Those of `packages` that are not here yet, by name and size alone.
    public func missing(of packages: [LockedPackage]) -> [LockedPackage] {
        packages.filter { (try? FileStatus(of: path(of: $0)))?.size != $0.size }
    }

    /// Refuses a lock that was made when other package files were beside the manifest.
    public func checkLocal(_ lock: Lock, of manifest: Manifest) throws(DebianArchiveFault) {
        guard !manifest.packages.local.isEmpty else { return }
        try LocalPackages(manifest).requireLocked(in: lock.packages, by: manifest)
    }

    /// Takes over from beside the manifest those local packages of `packages` that are not here.
    public func addLocal(_ packages: [LockedPackage], of manifest: Manifest) throws(DebianArchiveFault) {
        guard !manifest.packages.local.isEmpty else { return }
        let wanted = missing(of: packages.filter { $0.suite == LocalPackages.suite })
        do throws(DebianArchiveFault) {
            let local = try LocalPackages(manifest)
            // The files must be the locked ones, even if the cache has the packages already.
            try local.requireLocked(in: packages, by: manifest)
            try add(wanted, from: local)
        } catch  where error.code == .unknownPackage && wanted.isEmpty {
            // The files are not on this machine, but the cache has all locked ones.
        }
    }

    /// Takes these over from the files that have their SHA-256.
    func add(_ packages: [LockedPackage], from local: LocalPackages) throws(DebianArchiveFault) {
        for package in packages {
            let file = try local.file(of: package)
            do {
                try path(of: package).removingLastComponent().makeDirectories()
                try ArchiveTransfer().download(
                    "file:" + file.string.replacing("%", with: "%25"), to: path(of: package), size: package.size,
                    digest: package.digest)
            } catch {
                throw DebianArchiveFault(
                    .system, "'\(file)' cannot be taken over", at: .path(directory.string), cause: error)
            }
        }
    }

    /// Makes sure that all of these packages are here and are what the lock names. Nothing else is ever asked of the mirror.
    ///
    /// A package that is here with the right SHA-256 is not fetched; one that is damaged is fetched anew; one that was cut
    /// goes on where it ended.
    ///
    /// - Parameter progress: called from any thread with the bytes that came to those before; negative where some are
    ///   thrown away. What was here whole does not count, so that the sum is the size of `missing`.
    public func fetch(
        _ packages: [LockedPackage], from sources: PackageSources,
        progress: @escaping @Sendable (Int64) -> Void = { _ in }
    ) async throws(DebianArchiveFault) {
        let queue = DispatchQueue(label: "ballast.packages", attributes: .concurrent)
        let work = Work(packages)
        // Transfers block, and Swift's own threads are as many as there are processors.
        await withTaskGroup(of: Void.self) { group in
            for _ in 0..<Self.width {
                group.addTask {
                    await withCheckedContinuation { continuation in
                        queue.async {
                            while let package = work.next() {
                                do throws(DebianArchiveFault) {
                                    try obtain(package, from: sources, progress: progress)
                                } catch {
                                    work.fail(error)
                                }
                            }
                            continuation.resume()
                        }
                    }
                }
            }
        }
        if let failure = work.failure { throw failure }
    }

    /// What is still to be fetched, until the first failure.
    private final class Work: Sendable {
        private let state: Mutex<(rest: ArraySlice<LockedPackage>, failure: DebianArchiveFault?)>

        init(_ packages: [LockedPackage]) { state = Mutex((packages[...], nil)) }

        var failure: DebianArchiveFault? { state.withLock { $0.failure } }
        func next() -> LockedPackage? { state.withLock { $0.failure == nil ? $0.rest.popFirst() : nil } }
        func fail(_ fault: DebianArchiveFault) { state.withLock { $0.failure = $0.failure ?? fault } }
    }

    /// Refuses a lock of which something is missing or damaged, without asking the network.
    public func verify(_ package: LockedPackage) throws(DebianArchiveFault) {
        let path = path(of: package)
        let found: (digest: SHA256Digest, size: Int64)
        do {
            found = try SHA256Digest.ofFile(path)
        } catch {
            throw DebianArchiveFault(
                .system, "the package '\(package.name)' is not in the cache", at: .path(path.string), cause: error)
        }
        guard found == (package.digest, package.size) else {
            throw tampered(
                package, at: .path(path.string), found: found,
                remedy: "the file in the cache is damaged: remove it, so that it is fetched again")
        }
    }

    private func tampered(
        _ package: LockedPackage, at place: Place, found: (digest: SHA256Digest, size: Int64),
        remedy: String =
            "use another mirror; if the archive itself changed it under the same version, run 'ballast lock' again"
    ) -> DebianArchiveFault {
        DebianArchiveFault(
            .digestMismatch,
            "the package '\(package.name)' \(package.version) is not what the lock names: expected SHA-256 "
                + "\(package.digest) (\(package.size) bytes), found \(found.digest) (\(found.size) bytes)",
            at: place,
            remedy: remedy)
    }

    private func obtain(
        _ package: LockedPackage, from sources: PackageSources, progress: (Int64) -> Void
    ) throws(DebianArchiveFault) {
        let destination = path(of: package)
        let address = sources.address(of: package)
        do {
            if let present = try? SHA256Digest.ofFile(destination) {
                if present == (package.digest, package.size) { return }
                try destination.removeTree()
            }
            try destination.removingLastComponent().makeDirectories()
            try sources.transfer.download(
                address, to: destination, size: package.size, digest: package.digest, progress: progress)
        } catch let fault as TransferFault where fault.code == .digestMismatch {
            // Read once more, only to say what is there.
            throw tampered(
                package, at: .url(address), found: sources.transfer.measure(address, limit: package.size))
        } catch {
            let isGone = (error as? TransferFault)?.code == .notFound
            throw DebianArchiveFault(
                .transfer, "the package '\(package.name)' \(package.version) cannot be fetched",
                remedy: isGone
                    ? "an archive drops old versions: use a snapshot mirror or run 'ballast lock' again" : nil,
                cause: error)
        }
    }
}
