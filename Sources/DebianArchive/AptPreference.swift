/// Finds which alternatives apt would take, so that the solver can be asked to prefer the same.
///
/// For `a | b`, apt takes the first alternative that can be installed, and a package of the name before one that provides
/// it; libsolv only looks for a set that fits. What has no choice is followed first, since it may satisfy the others.
struct AptPreference {
    private let candidates: Candidates
    private let providers: (String) -> [String]
    private var chosen: Set<String> = []
    private var favoured: [String] = []

    /// - Parameter providers: the candidates that satisfy one alternative, such as `libfoo (>= 2)`.
    init(_ candidates: Candidates, providers: @escaping (String) -> [String]) {
        self.candidates = candidates
        self.providers = providers
    }

    /// The packages to prefer when `roots` are installed, in the order in which apt comes to them.
    mutating func favourites(
        of roots: [String], without refused: Set<String>, withRecommends: Bool
    ) -> [String] {
        var queue = roots[...]
        chosen = Set(roots)
        var choices: [[String]] = []
        while true {
            while let name = queue.popFirst() {
                guard let entry = candidates[name] else { continue }
                let lists = withRecommends ? [entry.dependencies, entry.recommendations] : [entry.dependencies]
                for group in lists.flatMap({ $0.split(separator: ",") }) {
                    let alternatives = group.split(separator: "|").map { $0.drop { $0 == " " || $0 == "\n" } }.map(
                        String.init)
                    let options = alternatives.map { ordered(providers($0), for: $0) }
                        .flatMap { $0 }.filter { !refused.contains($0) }
                    if options.count > 1 {
                        choices.append(options)
                    } else if let only = options.first, chosen.insert(only).inserted {
                        queue.append(only)
                    }
                }
            }
            guard !choices.isEmpty else { return favoured }
            let options = choices.removeFirst()
            guard !options.contains(where: chosen.contains), let first = options.first else { continue }
            chosen.insert(first)
            favoured.append(first)
            queue.append(first)
        }
    }

    /// A package of the name itself first, then by priority, then by name.
    private func ordered(_ names: [String], for alternative: String) -> [String] {
        let wanted = alternative.prefix { $0 != " " && $0 != "(" && $0 != ":" }
        func rank(_ name: String) -> (Int, Int, String) {
            (name == wanted ? 0 : 1, candidates[name]?.importance ?? 9, name)
        }
        return names.sorted { rank($0) < rank($1) }
    }
}
