import CSolv
import Fault

extension DependencySolver {
    /// Why there is no solution, as the chain from what was asked for to what is missing or in the way.
    func explain(
        _ solver: UnsafeMutablePointer<Solver>, roots: [String], refused: Set<String>, _ request: Request
    ) -> DebianArchiveFault {
        var sentences: [String] = []
        var place: Place?
        for problem in 1...max(1, Int32(solver_problem_count(solver))) {
            let rules = rules(of: problem, in: solver)
            let sentence = sentence(for: rules, roots: roots, refused: refused)
            if let sentence, !sentences.contains(sentence) { sentences.append(sentence) }
            let forbidden = refusal(in: rules, refused: refused).map { name(of: $0.provider) }
            place = place ?? forbidden.flatMap(request.placeOfRefusal)
        }
        if sentences.isEmpty { sentences = ["the packages exclude one another"] }
        return DebianArchiveFault(
            .unsatisfiable, "the packages cannot be installed together: " + sentences.joined(separator: "; also "),
            at: place,
            remedy: !held.isEmpty
                ? "move what is in the way too, with --update, or lock everything anew"
                : "correct packages.install, packages.remove or distribution.suites in the manifest")
    }

    private struct Rule {
        let kind: SolverRuleinfo
        let source: Id
        let target: Id
        let dependency: Id
    }

    private func rules(of problem: Id, in solver: UnsafeMutablePointer<Solver>) -> [Rule] {
        var ids = Queue()
        queue_init(&ids)
        defer { queue_free(&ids) }
        solver_findallproblemrules(solver, problem, &ids)
        var rules: [Rule] = []
        for position in 0..<Int(ids.count) {
            var (source, target, dependency): (Id, Id, Id) = (0, 0, 0)
            let kind = solver_ruleinfo(solver, ids.elements[position], &source, &target, &dependency)
            rules.append(Rule(kind: kind, source: source, target: target, dependency: dependency))
        }
        return rules
    }

    private func sentence(for rules: [Rule], roots: [String], refused: Set<String>) -> String? {
        let chains = chains(through: rules, roots: roots)
        func chain(_ id: Id) -> String { chains[name(of: id)] ?? described(id) }
        for rule in rules where rule.kind == SOLVER_RULE_PKG_NOTHING_PROVIDES_DEP {
            return "\(chain(rule.source)) -> \(dependency(rule.dependency)), which \(absence(of: rule.dependency))"
        }
        if let (rule, _) = refusal(in: rules, refused: refused) {
            return "\(chain(rule.source)) -> \(dependency(rule.dependency)), which packages.remove forbids"
        }
        for rule in rules where rule.kind == SOLVER_RULE_PKG_CONFLICTS || rule.kind == SOLVER_RULE_PKG_OBSOLETES {
            return "\(chain(rule.source)) conflicts with \(dependency(rule.dependency)): \(chain(rule.target))"
        }
        for rule in rules where rule.kind == SOLVER_RULE_PKG_NOT_INSTALLABLE {
            return "\(chain(rule.source)) is not for this architecture"
        }
        return nil
    }

    /// A dependency that only refused packages satisfy, and the first of these.
    private func refusal(in rules: [Rule], refused: Set<String>) -> (rule: Rule, provider: Id)? {
        for rule in rules where rule.kind == SOLVER_RULE_PKG_REQUIRES {
            let providers = providers(of: rule.dependency)
            guard let first = providers.first, providers.allSatisfy({ refused.contains(name(of: $0)) }) else {
                continue
            }
            return (rule, first)
        }
        return nil
    }

    /// For every package in `rules` the shortest way to it from something that was asked for, by name.
    private func chains(through rules: [Rule], roots: [String]) -> [String: String] {
        var chains: [String: String] = [:]
        let sources = Set(rules.map { name(of: $0.source) })
        for root in roots where sources.contains(root) {
            chains[root] = candidates[root].map { "\($0.name) \($0.version)" } ?? root
        }
        var hasGrown = true
        while hasGrown {
            hasGrown = false
            for rule in rules where rule.kind == SOLVER_RULE_PKG_REQUIRES {
                guard let way = chains[name(of: rule.source)] else { continue }
                for provider in providers(of: rule.dependency) where chains[name(of: provider)] == nil {
                    chains[name(of: provider)] = "\(way) -> \(described(provider))"
                    hasGrown = true
                }
            }
        }
        return chains
    }

    private func providers(of dependency: Id) -> [Id] {
        guard let data = pool.pointee.whatprovidesdata else { return [] }
        var ids: [Id] = []
        var offset = Int(pool_whatprovides(pool, dependency))
        while data[offset] != 0 {
            ids.append(data[offset])
            offset += 1
        }
        return ids
    }

    private func described(_ solvable: Id) -> String {
        guard let pointer = pool_id2solvable(pool, solvable) else { return "" }
        return "\(text(pointer.pointee.name)) \(text(pointer.pointee.evr))"
    }

    private func dependency(_ id: Id) -> String { pool_dep2str(pool, id).map { String(cString: $0) } ?? "" }

    /// Says what there is instead: usually another version.
    private func absence(of dependency: Id) -> String {
        let name = self.dependency(dependency).prefix { $0 != " " }
        guard let entry = candidates[String(name)] else {
            let archive = candidates.archive(withholding: String(name))
            return archive.map { "only the archive '\($0)' has, whose 'packages' does not name it" } ?? "no suite has"
        }
        if held.contains(entry.name) { return "the lock does not let move: it holds \(entry.name) \(entry.version)" }
        return "no suite has: there is \(entry.name) \(entry.version)"
    }
}
