import FileIO
public import FileTree
public import SystemPackage

/// What differs between a tree and a mounted image of it: content, kind, mode, owner, group, time, attributes, links.
public enum TreeComparison {
    /// One line a difference; none where the two are equal.
    public static func differences(expected: FileTree, found root: FilePath) throws -> [String] {
        let found = try FileTree(scanning: root, latestTime: .max)
        var differences: [String] = []
        let expectedPaths = expected.sortedPaths()
        let foundPaths = found.sortedPaths()
        if expectedPaths != foundPaths {
            let missing = Set(expectedPaths).subtracting(foundPaths)
            let extra = Set(foundPaths).subtracting(expectedPaths)
            differences.append("names differ: missing \(missing.sorted().prefix(5)), extra \(extra.sorted().prefix(5))")
        }
        var firstOfExpected: [FileTree.InodeID: String] = [:]
        var firstOfFound: [FileTree.InodeID: String] = [:]
        for path in expectedPaths {
            guard let left = expected[path], let right = found[path], let leftID = expected.identity(of: path),
                let rightID = found.identity(of: path)
            else { continue }
            var leftMeta = left
            var rightMeta = right
            if case .regular(let leftContent) = left.kind, case .regular(let rightContent) = right.kind {
                if try leftContent.load() != rightContent.load() { differences.append("\(path): content differs") }
                leftMeta.kind = .fifo
                rightMeta.kind = .fifo
            }
            if leftMeta != rightMeta { differences.append("\(path): \(leftMeta) and \(rightMeta)") }
            let leftFirst = firstOfExpected[leftID, default: path]
            let rightFirst = firstOfFound[rightID, default: path]
            firstOfExpected[leftID] = leftFirst
            firstOfFound[rightID] = rightFirst
            if leftFirst != rightFirst { differences.append("\(path): linked to \(leftFirst) and \(rightFirst)") }
        }
        return differences
    }
}
