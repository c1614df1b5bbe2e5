public import Fault
import FileIO
public import SystemPackage

/// Accepted metadata in the files of a directory, which is made when it is missing.
public struct DirectoryStore: MetadataStore {
    private let directory: FilePath

    /// A store in `directory`.
    public init(_ directory: FilePath) {
        self.directory = directory
    }

    private func path(_ document: StoredDocument) -> FilePath { directory.appending(document.fileName) }

    /// The document, or nil where there is none.
    public func load(_ document: StoredDocument) throws(TrustFault) -> [UInt8]? {
        do throws(FileIOFault) {
            return try path(document).contents(limit: MetadataRole.targets.sizeLimit)
        } catch {
            // Too much is not what was saved, so it is as good as nothing; and what the disk does not give any more stays lost.
            if error.code == .notFound || error.code == .tooLarge || error.isOfMedium { return nil }
            throw Self.fault(error)
        }
    }

    /// Keeps `bytes`, all of them or none, flushed.
    public func save(_ bytes: [UInt8], as document: StoredDocument) throws(TrustFault) {
        do throws(FileIOFault) {
            try directory.makeDirectories()
            try path(document).replaceContents(with: bytes)
        } catch {
            throw Self.fault(error)
        }
    }

    /// Forgets the document.
    public func remove(_ document: StoredDocument) throws(TrustFault) {
        do throws(FileIOFault) { try path(document).removeTree() } catch { throw Self.fault(error) }
    }

    private static func fault(_ cause: FileIOFault) -> TrustFault {
        TrustFault(.store, "the trusted metadata cannot be kept", cause: cause)
    }
}
