/// A package that packages of a lock recommend, and that is not among them.
public struct Recommendation: Sendable, Hashable {
    /// The first alternative that there is.
    public let name: String
    /// Who recommends it, sorted.
    public let recommenders: [String]
}

extension DependencySolver {
    /// What the field Recommends of `packages` names and none of them is, sorted by name.
    ///
    /// - Parameter refused: names that nobody wants.
    package func recommendations(of packages: [LockedPackage], without refused: [String]) -> [Recommendation] {
        let chosen = Set(packages.map(\.name))
        var recommenders: [String: Set<String>] = [:]
        for package in packages {
            for group in (candidates[package.name]?.recommendations ?? "").split(separator: ",") {
                let alternatives = group.split(separator: "|").map { String($0).trimmed }
                let providers = alternatives.map { Self.providers(of: $0, in: pool) }
                guard !providers.joined().contains(where: chosen.contains) else { continue }
                // As apt has it, a package of the name itself comes before one that provides it.
                let names = zip(alternatives, providers).compactMap { alternative, providers in
                    let name = Relation(alternative).name
                    return providers.contains(name) ? name : providers.min()
                }
                guard let name = names.first(where: { !refused.contains($0) }) else { continue }
                recommenders[name, default: []].insert(package.name)
            }
        }
        return recommenders.sorted { $0.key < $1.key }.map {
            Recommendation(name: $0.key, recommenders: $0.value.sorted())
        }
    }
}
