import Glibc

/// The manifest's patterns of excluded paths, with dpkg's meaning of `--path-exclude`: fnmatch(3) on the whole path, where `*`
/// also matches `/`.
struct PathPatterns: Sendable {
    private let patterns: [String]

    init(_ patterns: [String]) { self.patterns = patterns }

    /// Whether the file at `path` (without a leading slash) is left out. Directories are not: maintainer scripts put files
    /// into them.
    func excludes(_ path: String) -> Bool {
        let path = "/" + path
        return patterns.contains { fnmatch($0, path, 0) == 0 }
    }

    /// dpkg's options for the same. dpkg leaves directories out too, unless a pattern of what is included after all begins
    /// as their paths do: one that no file has keeps them.
    var dpkgOptions: [String] {
        patterns.flatMap { ["--path-exclude=\($0)", "--path-include=\($0)/.ballast-keeps-directories"] }
    }
}
