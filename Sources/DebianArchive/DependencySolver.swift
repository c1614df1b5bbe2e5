import CSolv
package import Fault
import Glibc
package import Manifest

/// libsolv's pool, freed with the last reference to it.
private final class PoolHandle {
    let pointer: UnsafeMutablePointer<Pool>

    init?() {
        guard let pointer = pool_create() else { return nil }
        self.pointer = pointer
    }

    deinit { pool_free(pointer) }
}

/// Chooses the packages that satisfy a request, by libsolv.
package struct DependencySolver {
    /// What is to be installed.
    package struct Request {
        /// By name, in the order in which apt would be given them.
        package var install: [String]
        /// Names that must not be chosen.
        package var refuse: [String]
        package var installsRecommends: Bool
        /// Where a name was asked for.
        package var place: (String) -> Place?
        /// Where a name was refused.
        package var placeOfRefusal: (String) -> Place?

        package init(
            install: [String], refuse: [String], installsRecommends: Bool,
            place: @escaping (String) -> Place? = { _ in nil },
            placeOfRefusal: @escaping (String) -> Place? = { _ in nil }
        ) {
            self.install = install
            self.refuse = refuse
            self.installsRecommends = installsRecommends
            self.place = place
            self.placeOfRefusal = placeOfRefusal
        }
    }

    private let handle: PoolHandle
    let candidates: Candidates
    private let suites: [String]
    /// Names whose version an old lock keeps.
    let held: Set<String>
    private let indices: [PackageIndex]

    /// Valid as long as this value lives.
    var pool: UnsafeMutablePointer<Pool> { handle.pointer }

    /// A solver over `indices`, whose order is that of the suites.
    ///
    /// - Parameters:
    ///   - held: packages that must stay, by name.
    ///   - choices: which version is wanted, by name.
    ///   - place: where a name is asked for.
    package init(
        _ indices: [PackageIndex], architecture: String, held: [String: LockedPackage] = [:],
        choices: [String: PackageRequest.Choice] = [:], place: (String) -> Place? = { _ in nil }
    ) throws(DebianArchiveFault) {
        guard let handle = PoolHandle() else {
            throw DebianArchiveFault(.system, "libsolv cannot be set up")
        }
        let pool = handle.pointer
        guard pool_setdisttype(pool, Int32(DISTTYPE_DEB)) >= 0 else {
            throw DebianArchiveFault(.system, "this libsolv was built without support for Debian packages")
        }
        pool_setarch(pool, architecture)
        self.handle = handle
        suites = indices.map(\.suite)
        self.held = Set(held.keys)
        self.indices = indices
        candidates = try Candidates(indices, held: held, choices: choices, place: place) {
            Self.compare($0, $1, in: pool)
        }
        for (position, index) in indices.enumerated() { try add(index, position: position) }
        pool_createwhatprovides(pool)
    }

    /// Gives libsolv the index, without the versions that are no candidates: what apt would never choose, libsolv must not
    /// fall back to either.
    private func add(_ index: PackageIndex, position: Int) throws(DebianArchiveFault) {
        guard !index.text.isEmpty else { return }
        let failed = index.text.withUnsafeBytes { bytes -> Bool in
            // Opened for reading, so that nothing writes through the pointer.
            guard let repository = repo_create(pool, index.suite),
                let stream = fmemopen(UnsafeMutableRawPointer(mutating: bytes.baseAddress), bytes.count, "r")
            else { return true }
            defer { fclose(stream) }
            guard repo_add_debpackages(repository, stream, 0) == 0 else { return true }
            // Of two entries with the same version, only the first counts, as in `candidates`.
            var taken: Set<String> = []
            for id in repository.pointee.start..<repository.pointee.end {
                guard let solvable = pool_id2solvable(pool, id), solvable.pointee.repo == repository else { continue }
                let package = name(of: id)
                let isCandidate =
                    candidates.entries[package].map {
                        $0.index == position && $0.entry.version == text(solvable.pointee.evr)
                            && $0.entry.architecture == text(solvable.pointee.arch)
                    } ?? false
                if !isCandidate || !taken.insert(package).inserted { repo_free_solvable(repository, id, 0) }
            }
            return false
        }
        if failed { throw DebianArchiveFault(.malformed, "libsolv cannot read the index of '\(index.suite)'") }
    }

    /// The chosen packages, sorted by name.
    package func solve(_ request: Request) throws(DebianArchiveFault) -> [LockedPackage] {
        try candidates.require(request.install, place: request.place) { Self.providers(of: $0, in: pool) }
        let refused = Set(request.refuse)
        if let both = request.install.first(where: refused.contains) {
            throw DebianArchiveFault(
                .unsatisfiable,
                "'\(both)' is in packages.remove, and asked for\(request.place(both).map { " at \($0)" } ?? "")",
                at: request.placeOfRefusal(both),
                remedy: "take it out of one of them; '- !remove \(both)' drops what an included manifest has"
            )
        }
        let base = candidates.base.filter { !refused.contains($0) }
        let roots = base + request.install
        var preference = AptPreference(candidates, providers: { [pool] in Self.providers(of: $0, in: pool) })
        let favourites = preference.favourites(
            of: roots, without: refused, withRecommends: request.installsRecommends)

        var jobs = Queue()
        queue_init(&jobs)
        defer { queue_free(&jobs) }
        func push(_ action: Int32, _ name: String) {
            queue_push2(&jobs, action | SOLVER_SOLVABLE_NAME, pool_str2id(pool, name, 1))
        }
        for name in roots { push(SOLVER_INSTALL, name) }
        for name in request.refuse { push(SOLVER_ERASE, name) }
        for name in favourites { push(SOLVER_FAVOR, name) }
        guard let solver = solver_create(pool) else { throw DebianArchiveFault(.system, "libsolv cannot be set up") }
        defer { solver_free(solver) }
        solver_set_flag(solver, SOLVER_FLAG_IGNORE_RECOMMENDED, request.installsRecommends ? 0 : 1)
        guard solver_solve(solver, &jobs) == 0 else {
            throw explain(solver, roots: roots, refused: refused, request)
        }
        guard let transaction = solver_create_transaction(solver) else {
            throw DebianArchiveFault(.system, "libsolv gave no result")
        }
        defer { transaction_free(transaction) }
        let steps = transaction.pointee.steps
        var packages: [LockedPackage] = []
        for position in 0..<Int(steps.count) {
            guard let found = candidates.entries[name(of: steps.elements[position])] else { continue }
            packages.append(LockedPackage(found.entry, suite: suites[found.index]))
        }
        return packages.sorted { $0.name.utf8.lexicographicallyPrecedes($1.name.utf8) }
    }

    private static func compare(_ first: String, _ second: String, in pool: UnsafeMutablePointer<Pool>) -> Int {
        Int(pool_evrcmp_str(pool, first, second, Int32(EVRCMP_COMPARE)))
    }

    /// What packages that are asked for by suite need and no candidate is: versions of the same suite, as apt-get(8) has it
    /// for `NAME/SUITE`.
    package func additions(to choices: [String: PackageRequest.Choice]) -> [String: PackageRequest.Choice] {
        var additions: [String: PackageRequest.Choice] = [:]
        for (name, choice) in choices.sorted(by: { $0.key < $1.key }) {
            guard case .suite(let suite) = choice, let entry = candidates[name] else { continue }
            for group in entry.dependencies.split(separator: ",") {
                let alternatives = group.split(separator: "|").map(String.init)
                guard alternatives.allSatisfy({ Self.providers(of: $0.trimmed, in: pool).isEmpty }) else { continue }
                let found = alternatives.compactMap { other(satisfying: $0.trimmed, in: suite) }.first
                if let found, choices[found] == nil, additions[found] == nil, !held.contains(found) {
                    additions[found] = .suite(suite)
                }
            }
        }
        return additions
    }

    /// A package of `suite` that satisfies an alternative by its own name.
    private func other(satisfying alternative: String, in suite: String) -> String? {
        let relation = Relation(alternative)
        let isThere = indices.contains { index in
            index.names.contains(suite)
                && index.entries.contains { entry in
                    entry.name == relation.name
                        && relation.accepts(entry.version) { Self.compare($0, $1, in: pool) }
                }
        }
        return isThere ? relation.name : nil
    }

    func text(_ id: Id) -> String { pool_id2str(pool, id).map { String(cString: $0) } ?? "" }

    func name(of solvable: Id) -> String {
        pool_id2solvable(pool, solvable).map { text($0.pointee.name) } ?? ""
    }

    /// The names of the packages that satisfy one alternative of a dependency, such as `libfoo:any (>= 2)`.
    static func providers(of alternative: String, in pool: UnsafeMutablePointer<Pool>) -> [String] {
        guard let id = relation(alternative, in: pool), let data = pool.pointee.whatprovidesdata else { return [] }
        var names: [String] = []
        var offset = Int(pool_whatprovides(pool, id))
        while data[offset] != 0 {
            if let solvable = pool_id2solvable(pool, data[offset]), let text = pool_id2str(pool, solvable.pointee.name)
            {
                names.append(String(cString: text))
            }
            offset += 1
        }
        return names
    }

    private static func relation(_ alternative: String, in pool: UnsafeMutablePointer<Pool>) -> Id? {
        let relation = Relation(alternative)
        guard !relation.name.isEmpty else { return nil }
        let name = pool_str2id(pool, relation.name, 1)
        guard let limit = relation.limit else { return name }
        let flags: Int32 =
            switch limit.sign {
            case .less: REL_LT
            case .atMost: REL_LT | REL_EQ
            case .equal: REL_EQ
            case .atLeast: REL_GT | REL_EQ
            case .greater: REL_GT
            }
        return pool_rel2id(pool, name, pool_str2id(pool, limit.version, 1), flags, 1)
    }
}

/// One alternative of a dependency (Debian policy, section 7.1): `name[:arch] [(operator version)]`.
struct Relation {
    enum Sign: String {
        case less = "<<"
        case atMost = "<="
        case equal = "="
        case atLeast = ">="
        case greater = ">>"
    }

    let name: String
    let limit: (sign: Sign, version: String)?

    init(_ text: String) {
        name = String(text.prefix { !" (:[<\n\t".contains($0) })
        guard let open = text.firstIndex(of: "("), let close = text.lastIndex(of: ")"), open < close else {
            limit = nil
            return
        }
        let inside = text[text.index(after: open)..<close].drop { $0 == " " }
        let sign = inside.prefix { "<>=".contains($0) }
        let version = inside.dropFirst(sign.count).filter { $0 != " " }
        // The single signs are obsolete, and mean what the double ones with `=` do.
        let known = Sign(rawValue: sign == "<" ? "<=" : sign == ">" ? ">=" : String(sign))
        limit = known.map { ($0, version) }
    }

    /// Whether a package of this version satisfies it.
    func accepts(_ version: String, _ compare: (String, String) -> Int) -> Bool {
        guard let limit else { return true }
        let order = compare(version, limit.version)
        return switch limit.sign {
        case .less: order < 0
        case .atMost: order <= 0
        case .equal: order == 0
        case .atLeast: order >= 0
        case .greater: order > 0
        }
    }
}

extension String {
    /// Without the space around it.
    var trimmed: String {
        var text = drop(while: \.isWhitespace)
        while text.last?.isWhitespace == true { text.removeLast() }
        return String(text)
    }
}
