import Command
import Compression
import Fault
import Terminal

/// The programs and libraries of the build machine that write parts of an image. Another version of one may give other bytes.
enum BuildTools {
    /// Their versions by name.
    static func versions() async throws(AssemblyFault) -> [String: String] {
        var versions = ["ballast": ProgramVersion.current, "libzstd": ZstdCompressor.libraryVersion]
        for (name, arguments) in [("mkfs.vfat", ["--help"]), ("mcopy", ["-V"])] {
            do throws(CommandFault) {
                let outcome = try await Command(name, arguments).outcome()
                versions[name] = version(in: outcome.outputText + outcome.errorText)
            } catch {
                throw .during("cannot ask a build tool for its version", error)
            }
        }
        return versions
    }

    /// The first word that begins with a digit.
    private static func version(in text: String) -> String {
        let word = text.split(whereSeparator: { $0.isWhitespace || $0 == "," }).first {
            $0.first?.isNumber == true && $0.contains(".")
        }
        return word.map(String.init) ?? "unknown"
    }
}
