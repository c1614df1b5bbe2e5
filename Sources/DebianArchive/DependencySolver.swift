import CSolv
package import Fault
import Glibc

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

    /// Valid as long as this value lives.
    var pool: UnsafeMutablePointer<Pool> { handle.pointer }

    /// A solver over `indices`, whose order is that of the suites.
    ///
    /// - Parameter held: versions that must stay, by name.
    package init(
        _ indices: [PackageIndex], architecture: String, held: [String: String] = [:]
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
        candidates = try Candidates(indices, held: held) { Int(pool_evrcmp_str(pool, $0, $1, Int32(EVRCMP_COMPARE))) }
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
            for id in repository.pointee.start..<repository.pointee.end {
                guard let solvable = pool_id2solvable(pool, id), solvable.pointee.repo == repository else { continue }
                let isCandidate =
                    candidates.entries[name(of: id)].map {
                        $0.index == position && $0.entry.version == text(solvable.pointee.evr)
                    } ?? false
                if !isCandidate { repo_free_solvable(repository, id, 0) }
            }
            return false
        }
        if failed { throw DebianArchiveFault(.malformed, "libsolv cannot read the index of '\(index.suite)'") }
    }

    /// The chosen packages, sorted by name.
    package func solve(_ request: Request) throws(DebianArchiveFault) -> [LockedPackage] {
        try candidates.require(request.install, place: request.place)
        let refused = Set(request.refuse)
        if let both = request.install.first(where: refused.contains) {
            throw DebianArchiveFault(
                .unsatisfiable, "'\(both)' is both in packages.install and in packages.remove",
                at: request.placeOfRefusal(both), remedy: "take it out of one of them")
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

    /// Debian policy, section 7.1: `name[:arch] [(operator version)]`.
    private static func relation(_ alternative: String, in pool: UnsafeMutablePointer<Pool>) -> Id? {
        let name = alternative.prefix { $0 != " " && $0 != "(" && $0 != ":" && $0 != "[" && $0 != "<" }
        guard !name.isEmpty else { return nil }
        let nameId = pool_str2id(pool, String(name), 1)
        guard let open = alternative.firstIndex(of: "("), let close = alternative.lastIndex(of: ")"), open < close
        else {
            return nameId
        }
        let inside = alternative[alternative.index(after: open)..<close]
        let sign = inside.prefix { "<>=".contains($0) }
        let version = inside.dropFirst(sign.count).filter { $0 != " " }
        let flags: Int32 =
            switch sign {
            case "<<": REL_LT
            case "<=", "<": REL_LT | REL_EQ
            case "=": REL_EQ
            case ">=", ">": REL_GT | REL_EQ
            case ">>": REL_GT
            default: 0
            }
        guard flags != 0 else { return nil }
        return pool_rel2id(pool, nameId, pool_str2id(pool, String(version), 1), flags, 1)
    }
}
