import Fault
import FileIO
import SystemPackage

/// What dpkg and the maintainer scripts say: to people, and by dpkg's `--status-fd` (dpkg(1)) to programs.
struct InstallationLog: Sendable {
    /// Everything that is written to standard output and standard error.
    let text: FilePath
    /// The lines of `--status-fd`.
    let status: FilePath
    /// Where `text` goes when the build fails.
    let kept: FilePath

    /// The most bytes from the end of either file that are read back.
    private static let limit = 4 << 20
    /// How many of a failed script's last lines an error has.
    private static let lineCount = 20

    /// How far both files are.
    struct Position: Hashable {
        fileprivate let text: Int
        fileprivate let status: Int
    }

    /// Makes both files, empty, in `directory`.
    init(in directory: FilePath, kept: FilePath) throws(AssemblyFault) {
        text = directory.appending("log")
        status = directory.appending("dpkg-status")
        self.kept = kept
        for file in [text, status] {
            try attempt("cannot write the build's log") { try file.replaceContents(with: "") }
        }
    }

    func position() throws(AssemblyFault) -> Position {
        try attempt("cannot read the build's log") {
            Position(text: Int(try FileStatus(of: text).size), status: Int(try FileStatus(of: status).size))
        }
    }

    /// Brings the log to where it outlives the build.
    func keep() throws(AssemblyFault) -> FilePath {
        try attempt("cannot keep the build's log", at: .path(kept.string)) {
            // Beside it on the same file system, and as long as a script made it.
            try text.rename(to: kept)
        }
        return kept
    }

    /// How many packages dpkg began to configure after `start`.
    func configurations(since start: Position) throws(AssemblyFault) -> Int64 {
        let lines = try attempt("cannot read the build's log") { try Self.tail(of: status, after: start.status) }
        return Int64(lines.split(separator: "\n").count { $0.hasPrefix("processing: configure: ") })
    }

    /// Whether a program that began at `start`, or dpkg of it, has written `words`.
    func says(_ words: String, since start: Position) throws(AssemblyFault) -> Bool {
        try attempt("cannot read the build's log") {
            try Self.tail(of: text, after: start.text).contains(words)
                || Self.tail(of: status, after: start.status).contains(words)
        }
    }

    /// The failure of a program that began at `start`: where dpkg named a package, it and what of it failed come first, then
    /// what was said, then where all is.
    ///
    /// - Parameter otherwise: what to say where no package is named.
    func failure(
        _ otherwise: String, since start: Position, remedy: String
    ) throws(AssemblyFault) -> AssemblyFault {
        let (said, reports) = try attempt("cannot read the build's log") {
            (
                try Self.tail(of: text, after: start.text),
                try Self.tail(of: status, after: start.status).split(separator: "\n").map(String.init)
            )
        }
        let file = try keep()
        var lines = said.split(separator: "\n").map(String.init)
        var sentence = otherwise
        if let error = reports.lazy.compactMap(Self.error).first {
            sentence = "the package '\(error.package)' failed: \(error.message)"
            // From where dpkg began with the package to where it gave it up.
            if let end = lines.firstIndex(where: { $0.hasPrefix("dpkg: error processing") }) {
                let start = lines[..<end].lastIndex { line in Self.beginnings.contains { line.hasPrefix($0) } }
                lines = Array(lines[(start ?? 0)..<end])
            }
        } else if let last = reports.last(where: { $0.hasPrefix("processing: ") }) {
            sentence += ", at '\(last.dropFirst(12))'"
        }
        if lines.count > Self.lineCount { sentence += "\n  …" }
        sentence += lines.suffix(Self.lineCount).map { "\n  \($0)" }.joined()
        return AssemblyFault(
            .configuration, sentence,
            remedy: "\(remedy); the whole log is in \(file)")
    }

    /// How dpkg's own lines begin that come before what a maintainer script says.
    private static let beginnings = ["Setting up ", "Preparing to unpack ", "Processing triggers for "]

    private static func tail(of file: FilePath, after offset: Int) throws -> String {
        let input = try OpenFile(reading: file)
        let size = try input.status().size
        let start = max(Int64(offset), size - Int64(limit))
        return String(decoding: try input.bytes(at: start, count: Int(max(0, size - start))), as: UTF8.self)
    }

    /// `status: PACKAGE : error : MESSAGE`, where a package that is being unpacked is named by its file.
    private static func error(_ line: String) -> (package: String, message: String)? {
        let prefix = "status: "
        guard line.hasPrefix(prefix), let range = line.firstRange(of: " : error : ") else { return nil }
        let subject = line[..<range.lowerBound].dropFirst(prefix.count)
        let package = subject.split(separator: "/").last?.split(separator: "_").first ?? subject
        return (String(package), String(line[range.upperBound...]))
    }
}
