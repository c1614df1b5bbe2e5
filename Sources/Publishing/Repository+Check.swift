import Cryptography
public import Fault
import FileIO
import Release
import SystemPackage
import Terminal
import Trust

extension Repository {
    /// What a look at every file of a repository found.
    public struct Inspection: Sendable {
        /// Releases that were looked at.
        public let releases: Int
        /// Blobs whose every byte was read, each once.
        public let blobs: Int
        /// Their bytes.
        public let bytes: Int64
        /// What is not as the signed metadata says: one fault a file.
        public let problems: [PublishingFault]
        /// Blobs that no release names, by their file names. None where a release document cannot be read, which might name
        /// any of them, or while somebody publishes, or where that cannot be seen.
        public let strays: [String]
    }

    /// Verifies the metadata as a client does, and every blob that a release names by its length and SHA-256.
    ///
    /// - Throws: where the metadata itself cannot be used; `interrupted` on cancellation.
    public func check() async throws(PublishingFault) -> Inspection {
        // Hidden files are what somebody publishes at this moment, or what the next one to publish removes.
        let names = ((try? directory.blobs.directoryEntries()) ?? []).filter { !$0.hasPrefix(".") }
        let current = try directory.load()
        var problems: [PublishingFault] = []
        var releases: [ReleaseDocument] = []
        for entry in ReleaseEntry.all(in: current.targets) {
            do throws(PublishingFault) { releases.append(try current.release(entry)) } catch { problems.append(error) }
        }
        let isAllKnown = problems.isEmpty
        var blobs: [String: Blob] = [:]
        for blob in releases.flatMap(\.blobs) { blobs[blob.path] = blob }
        let progress = Progress("checking", total: blobs.values.reduce(0) { $0 + $1.size }, unit: .bytes)
        defer { progress.finish() }
        for blob in blobs.values.sorted(by: { $0.path < $1.path }) {
            if let problem = problem(of: blob, progress) { problems.append(problem) }
            if Task.isCancelled { throw PublishingFault(.interrupted, "interrupted before everything was checked") }
        }
        let unnamed = isAllKnown ? names.filter { blobs["blobs/\($0)"] == nil } : []
        return Inspection(
            releases: releases.count, blobs: blobs.count, bytes: blobs.values.reduce(0) { $0 + $1.size },
            problems: problems, strays: unnamed.isEmpty ? [] : unnamedStill(unnamed))
    }

    /// Those of `names` that are not named now either: somebody may have published them meanwhile.
    private func unnamedStill(_ names: [String]) -> [String] {
        // What is just being published has blobs before anything names them. Whoever began later is not in the list.
        guard (try? FileLock.isHeld(directory.lockPath)) == false, let current = try? directory.load() else {
            return []
        }
        var named: Set<String> = []
        for entry in ReleaseEntry.all(in: current.targets) {
            guard let release = try? current.release(entry) else { return [] }
            named.formUnion(release.blobs.map(\.path))
        }
        return names.filter { !named.contains("blobs/\($0)") }
    }

    private func problem(of blob: Blob, _ progress: Progress) -> PublishingFault? {
        let path = directory.path.appending(blob.path)
        let remedy = "put it back from a copy, or publish the build anew under another version"
        do throws(FileIOFault) {
            let file = try OpenFile(reading: path)
            let size = try file.status().size
            guard size == blob.size else {
                return PublishingFault(
                    .badRepository, "has \(size) bytes, and the release names \(blob.size)", at: .path(path.string),
                    remedy: remedy)
            }
            var hasher = SHA256Hasher()
            var position: Int64 = 0
            while position < size {
                if Task.isCancelled { break }
                let bytes = try file.bytes(at: position, count: Int(min(size - position, 1 << 20)))
                hasher.update(bytes)
                position += Int64(bytes.count)
                progress.advance(by: Int64(bytes.count))
            }
            guard !Task.isCancelled, hasher.finish() != blob.digest else { return nil }
            return PublishingFault(
                .badRepository, "is not the file that the release names: its SHA-256 differs", at: .path(path.string),
                remedy: remedy)
        } catch {
            return PublishingFault(
                .badRepository, error.code == .notFound ? "is missing" : "cannot be read", at: .path(path.string),
                remedy: remedy, cause: error.code == .notFound ? nil : error)
        }
    }
}

extension ReleaseDocument {
    /// All that it names.
    fileprivate var blobs: [Blob] { [image.index, image.frames, kernel] }
}
