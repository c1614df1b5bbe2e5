import Cryptography
public import Fault
import FileIO
import JSON
public import SystemPackage

/// A manifest merged from all its files, before it becomes the typed `Manifest`.
public struct MergedManifest: Sendable {
    /// The merged tree with defaults filled in: every value and where it comes from.
    public let tree: ManifestNode
    /// The files it was read from, in the order in which they were merged.
    public let files: [FilePath]
    let digest: SHA256Digest

    /// The manifest at `path` with all that it includes, or every problem found in them.
    public static func load(_ path: FilePath) -> Result<MergedManifest, ManifestProblems> {
        var loader = ManifestLoader()
        loader.load(path)
        return loader.finish(path)
    }
}

/// All problems that one run found.
public struct ManifestProblems: Error {
    /// At least one, sorted by place within each file.
    public let problems: [ManifestFault]

    /// The only problem, or one fault whose message has a line for each.
    public var fault: ManifestFault {
        if problems.count == 1, let only = problems.first { return only }
        let lines = problems.map { "\n\($0)" }.joined()
        return ManifestFault(.several, "\(problems.count) problems in the manifest:\(lines)")
    }
}

private struct ManifestLoader {
    /// Includes are for layers, not for programs: a number nobody reaches on purpose.
    static let fileLimit = 64
    static let depthLimit = 16

    private struct Identity: Hashable {
        let device: UInt64
        let inode: UInt64
    }

    private var problems: [ManifestFault] = []
    private var layers: [ManifestNode] = []
    private var files: [FilePath] = []
    private var seen: Set<Identity> = []
    private var hasReachedLimit = false

    mutating func load(_ path: FilePath) { load(path, includedAt: nil, chain: []) }

    private mutating func load(
        _ path: FilePath, includedAt origin: ManifestNode.Origin?, chain: [(file: FilePath, identity: Identity)]
    ) {
        let status: FileStatus
        do {
            status = try FileStatus(following: path)
        } catch {
            reportMissing(path, includedAt: origin)
            return
        }
        let identity = Identity(device: status.device, inode: status.inode)
        if let start = chain.firstIndex(where: { $0.identity == identity }) {
            let names = (chain[start...].map(\.file) + [path]).map(\.string).joined(separator: " -> ")
            problems.append(
                ManifestFault(
                    .includeCycle, "manifests include one another: \(names)", at: origin?.place,
                    remedy: "remove one of these includes"))
            return
        }
        // Reached a second time by another way: it counts once, or its values would override those laid over it.
        guard !seen.contains(identity) else { return }
        guard seen.count < Self.fileLimit, chain.count < Self.depthLimit else {
            if !hasReachedLimit {
                problems.append(
                    ManifestFault(
                        .limit,
                        "more than \(Self.fileLimit) manifests, or includes more than \(Self.depthLimit) levels deep",
                        at: origin?.place))
            }
            hasReachedLimit = true
            return
        }
        seen.insert(identity)
        let raw: ManifestNode
        do {
            raw = try ManifestReader.read(path)
        } catch {
            problems.append(error)
            return
        }
        var validator = SchemaValidator()
        let node = validator.validate(raw, against: .manifest)
        problems += validator.problems
        guard var node else { return }
        for include in node["include"]?.elements ?? [] {
            guard let text = include.text, let place = include.origin else { continue }
            load(place.resolve(text), includedAt: place, chain: chain + [(path, identity)])
        }
        node["include"] = nil
        layers.append(node)
        files.append(path)
    }

    private mutating func reportMissing(_ path: FilePath, includedAt origin: ManifestNode.Origin?) {
        guard let origin else {
            problems.append(ManifestFault.missing(path))
            return
        }
        let siblings = (try? path.removingLastComponent().directoryEntries()) ?? []
        problems.append(
            ManifestFault(
                .notFound, "the included manifest is not there, expected it at \(path)", at: origin.place,
                remedy: Spelling.nearest(to: path.lastComponent?.string ?? "", among: siblings).map {
                    "did you mean '\($0)'?"
                }))
    }

    consuming func finish(_ path: FilePath) -> Result<MergedManifest, ManifestProblems> {
        var merge = ManifestMerge()
        var tree = ManifestNode(.mapping([]), origin: nil)
        for layer in layers { tree = merge.merge(layer, over: tree, schema: .manifest) }
        var problems = problems
        // What a broken layer would have brought is not known, so that these would mislead.
        if problems.isEmpty {
            problems += merge.problems
            var validator = SchemaValidator()
            validator.requireKeys(in: tree, schema: .manifest, of: path)
            problems += validator.problems
        }
        guard problems.isEmpty else { return .failure(ManifestProblems(problems: Self.sorted(problems))) }
        // No value of a manifest is a floating-point number, the only thing without a canonical form.
        let canonical = (try? tree.json.canonicalBytes()) ?? []
        return .success(
            MergedManifest(
                tree: tree.fillingDefaults(.manifest), files: files, digest: SHA256Digest(of: canonical)))
    }

    /// By line within a file; files stay in the order in which they were first found wrong.
    private static func sorted(_ problems: [ManifestFault]) -> [ManifestFault] {
        func key(_ fault: ManifestFault) -> (path: String, line: Int, column: Int) {
            switch fault.place {
            case .position(let path, let line, let column): (path, line, column)
            case .path(let path): (path, 0, 0)
            case .offset(let path, _): (path, 0, 0)
            case .url(let name), .named(let name): (name, 0, 0)
            case nil: ("", 0, 0)
            }
        }
        var order: [String: Int] = [:]
        for problem in problems where order[key(problem).path] == nil { order[key(problem).path] = order.count }
        return problems.sorted { first, second in
            let (a, b) = (key(first), key(second))
            return (order[a.path] ?? 0, a.line, a.column) < (order[b.path] ?? 0, b.line, b.column)
        }
    }
}
