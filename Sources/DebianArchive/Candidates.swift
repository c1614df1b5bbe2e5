import Fault
import Manifest

/// The one version of each package that may be chosen, as apt has it: the highest version of the highest priority, and of
/// suites that have the same one the first. What an old lock holds fast stays as it is, and what is asked for by version or
/// suite is that one.
struct Candidates {
    private(set) var entries: [String: (entry: PackageIndex.Entry, index: Int)] = [:]
    private let odd: [String: DebianArchiveFault]
    /// The entries that would be chosen if there were only Debian's own suites.
    private var debian: [String: (entry: PackageIndex.Entry, index: Int)] = [:]
    /// The archive that has a package and may not supply it, by the package's name.
    private let withheld: [String: String]

    /// - Parameters:
    ///   - held: packages that must stay, by name.
    ///   - choices: which version is wanted, by name.
    ///   - compare: compares two versions; negative where the first is older.
    init(
        _ indices: [PackageIndex], held: [String: LockedPackage], choices: [String: PackageRequest.Choice],
        place: (String) -> Place?, compare: (String, String) -> Int
    ) throws(DebianArchiveFault) {
        entries.reserveCapacity(indices.reduce(0) { $0 + $1.entries.count })
        func isBetter(_ entry: PackageIndex.Entry, _ index: Int, than other: (entry: PackageIndex.Entry, index: Int)?)
            -> Bool
        {
            guard let other else { return true }
            let (priority, rank) = (indices[index].priority, indices[other.index].priority)
            return priority > rank || (priority == rank && compare(entry.version, other.entry.version) > 0)
        }
        for (position, index) in indices.enumerated() {
            for entry in index.entries {
                if index.isDebian, isBetter(entry, position, than: debian[entry.name]) {
                    debian[entry.name] = (entry, position)
                }
                if let kept = held[entry.name] {
                    guard kept.version == entry.version, kept.digest == entry.digest else { continue }
                } else if let choice = choices[entry.name], !Self.fits(entry, index, choice) {
                    continue
                }
                if isBetter(entry, position, than: entries[entry.name]) { entries[entry.name] = (entry, position) }
            }
        }
        odd = indices.reduce(into: [:]) { $0.merge($1.odd) { first, _ in first } }
        withheld = indices.reduce(into: [:]) { archives, index in
            for name in index.withheld { archives[name] = index.suite }
        }
        for (name, choice) in choices.sorted(by: { $0.key < $1.key }) where entries[name] == nil {
            throw Self.absence(of: name, choice, indices, at: place(name))
        }
    }

    private static func fits(
        _ entry: PackageIndex.Entry, _ index: PackageIndex, _ choice: PackageRequest.Choice
    ) -> Bool {
        switch choice {
        case .version(let version): entry.version == version
        case .suite(let suite): index.names.contains(suite)
        }
    }

    /// Says what there is instead of what was asked for.
    private static func absence(
        of name: String, _ choice: PackageRequest.Choice, _ indices: [PackageIndex], at place: Place?
    ) -> DebianArchiveFault {
        let there = indices.flatMap { index in
            index.entries.filter { $0.name == name }.map { "\($0.version) (\(index.suite))" }
        }
        if there.isEmpty, let fault = indices.lazy.compactMap({ $0.odd[name] }).first {
            return unusable(name, fault, at: place)
        }
        if there.isEmpty, let index = indices.first(where: { $0.withheld.contains(name) }) {
            return forbidden(name, index.suite, at: place)
        }
        let what =
            switch choice {
            case .version(let version): "no suite has '\(name)' \(version)"
            case .suite(let suite):
                indices.contains { $0.names.contains(suite) }
                    ? "'\(suite)' has no package '\(name)'"
                    : "'\(name)' is asked for from '\(suite)', which is none of the suites and archives"
            }
        return DebianArchiveFault(
            .unknownPackage, what, at: place,
            remedy: there.isEmpty
                ? "correct it, or 'distribution.suites' and 'distribution.archives'"
                : "there is \(there.prefix(8).joined(separator: ", "))")
    }

    private static func unusable(_ name: String, _ fault: DebianArchiveFault, at place: Place?) -> DebianArchiveFault {
        DebianArchiveFault(
            .malformed, "the archive's entry of '\(name)' cannot be used", at: place,
            remedy: "tell whoever runs the archive", cause: fault)
    }

    private static func forbidden(_ name: String, _ archive: String, at place: Place?) -> DebianArchiveFault {
        DebianArchiveFault(
            .unknownPackage, "only the archive '\(archive)' has '\(name)', and may not supply it", at: place,
            remedy: "add '\(name)' to the archive's 'packages'")
    }

    /// The archive that has the package and may not supply it.
    func archive(withholding name: String) -> String? { withheld[name] }

    subscript(name: String) -> PackageIndex.Entry? { entries[name]?.entry }

    /// What every Debian system has.
    ///
    /// Essential packages and those of priority `required` are what debootstrap's and mmdebstrap's minbase have, except
    /// for apt: nothing installs packages into an immutable image, and apt alone brings a dozen more. Who wants it names it.
    /// Other archives can neither add a name nor remove one, whichever archive a package is taken from.
    var base: [String] {
        debian.values.map(\.entry).filter { $0.isBase && entries[$0.name] != nil }.map(\.name).sorted()
    }

    /// Refuses names that no package has.
    ///
    /// - Parameters:
    ///   - place: where the manifest names one.
    ///   - providers: the packages that provide a name.
    func require(
        _ names: [String], place: (String) -> Place?, providers: (String) -> [String]
    ) throws(DebianArchiveFault) {
        let faults = names.filter { entries[$0] == nil }.map { name in
            if let fault = odd[name] {
                return Self.unusable(name, fault, at: place(name))
            }
            if let archive = withheld[name] { return Self.forbidden(name, archive, at: place(name)) }
            let real = Set(providers(name)).sorted()
            if !real.isEmpty {
                return DebianArchiveFault(
                    .unknownPackage, "'\(name)' is a virtual package", at: place(name),
                    remedy:
                        "name one that provides it: \(real.prefix(8).joined(separator: ", "))\(real.count > 8 ? ", …" : "")"
                )
            }
            return DebianArchiveFault(
                .unknownPackage, "the suites have no package '\(name)'", at: place(name),
                remedy: Spelling.nearest(to: name, among: entries.keys).map { "did you mean '\($0)'?" }
                    ?? "correct it, or 'distribution.suites' and 'distribution.components'")
        }
        guard let first = faults.first else { return }
        guard faults.count > 1 else { throw first }
        throw DebianArchiveFault(
            .unknownPackage, "\(faults.count) packages are unknown:" + faults.map { "\n\($0)" }.joined())
    }
}
