import Glibc

/// The manifest's patterns of excluded paths, with dpkg's meaning of `--path-exclude`: fnmatch(3) on the whole path, where `*`
/// also matches `/`.
struct PathPatterns: Sendable {
    private let patterns: [String]

    init(_ patterns: [String]) { self.patterns = patterns }

    /// Whether the file at `path` (without a leading slash) is left out. A directory is left out only by a pattern that
    /// takes everything below it.
    func excludes(_ path: String, isDirectory: Bool) -> Bool {
        let path = "/" + path
        return patterns.contains { pattern in
            if isDirectory {
                guard pattern.hasSuffix("/*") else { return false }
                return fnmatch(String(pattern.dropLast(2)), path, 0) == 0 || fnmatch(pattern, path, 0) == 0
            }
            return fnmatch(pattern, path, 0) == 0
        }
    }
}
