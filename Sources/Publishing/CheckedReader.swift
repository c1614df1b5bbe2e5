import Cryptography
import Fault
import FileIO
import Glibc
import Release
import SystemPackage

/// Reads one of a build's files from its beginning to its end, once, and knows at the end whether it was the right one.
final class CheckedReader {
    private let output: BuildDescription.Output
    private let file: OpenFile
    private var hasher = SHA256Hasher()
    private var position: Int64 = 0

    init(_ output: BuildDescription.Output) throws(PublishingFault) {
        self.output = output
        do throws(FileIOFault) {
            file = try OpenFile(reading: output.path)
            let size = try file.status().size
            guard size == output.blob.size else {
                throw FileIOFault(
                    .truncated, "\(size) bytes where build.json says \(output.blob.size)", at: .path(output.path.string)
                )
            }
        } catch {
            throw PublishingFault(
                .badBuild, "a file of the build cannot be used", remedy: "build again", cause: error)
        }
    }

    func read(_ count: Int) throws(PublishingFault) -> [UInt8] {
        let bytes: [UInt8]
        do throws(FileIOFault) {
            bytes = try file.bytes(at: position, count: count)
        } catch {
            throw PublishingFault(.file, "a file of the build cannot be read", cause: error)
        }
        hasher.update(bytes)
        position += Int64(count)
        return bytes
    }

    /// Requires that everything was read and was what the build wrote.
    func finish() throws(PublishingFault) {
        let digest = hasher.finish()
        guard position == output.blob.size, digest == output.blob.digest else {
            throw PublishingFault(
                .badBuild, "SHA-256 is \(digest) where build.json says \(output.blob.digest)",
                at: .path(output.path.string), remedy: "build again; the file was changed after the build")
        }
    }
}

/// How many processors this process may use.
enum ActiveProcessors {
    static var count: Int { Int(sysconf(Int32(_SC_NPROCESSORS_ONLN))) }
}
