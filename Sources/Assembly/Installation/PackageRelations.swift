import DebianArchive

/// What the packages of one installation need of each other. All of them fit together, as the lock's solver made sure, so
/// that versions are left out: every package of a relation's name, or that provides it, is taken for what is needed.
struct PackageRelations {
    private var providers: [String: [String]] = [:]
    private var dependencies: [String: [String]] = [:]
    private var preDependencies: [String: [String]] = [:]

    init(_ packages: [DebianPackageFile]) {
        for package in packages {
            providers[package.name, default: []].append(package.name)
            for name in Self.names(package.control["Provides"]) { providers[name, default: []].append(package.name) }
        }
        for package in packages {
            let before = Self.names(package.control["Pre-Depends"]).flatMap { providers[$0] ?? [] }
            preDependencies[package.name] = before
            dependencies[package.name] =
                before + Self.names(package.control["Depends"]).flatMap { providers[$0] ?? [] }
        }
    }

    /// The packages that must be configured before `name` is unpacked.
    func preDependencies(of name: String) -> [String] { preDependencies[name] ?? [] }

    /// `names` and all that they depend on, each package after what it depends on as far as there is no cycle.
    func closure(of names: [String]) -> [String] {
        var ordered: [String] = []
        var seen: Set<String> = []
        // A chain of dependencies may be long: no recursion.
        var pending: [(name: String, next: Int)] = []
        for start in names where seen.insert(start).inserted {
            pending.append((start, 0))
            while let (name, next) = pending.popLast() {
                let needed = dependencies[name] ?? []
                guard next < needed.count else {
                    ordered.append(name)
                    continue
                }
                pending.append((name, next + 1))
                if seen.insert(needed[next]).inserted { pending.append((needed[next], 0)) }
            }
        }
        return ordered
    }

    /// The package names of a relationship field, all alternatives, without versions and architectures.
    private static func names(_ field: String?) -> [String] {
        (field ?? "").split(whereSeparator: { $0 == "," || $0 == "|" }).compactMap { part in
            part.split(whereSeparator: { " (:\n\t".contains($0) }).first.map(String.init)
        }
    }
}
