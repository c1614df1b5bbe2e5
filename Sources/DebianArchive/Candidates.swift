import Fault
import Manifest

/// The one version of each package that may be chosen: as apt has it, the highest version of the highest-ranked suite, and
/// of suites that have the same one the first. What an old lock holds fast stays at its version.
struct Candidates {
    private(set) var entries: [String: (entry: PackageIndex.Entry, index: Int)] = [:]

    /// - Parameters:
    ///   - held: versions that must stay, by name.
    ///   - compare: compares two versions; negative where the first is older.
    init(
        _ indices: [PackageIndex], held: [String: String], compare: (String, String) -> Int
    ) throws(DebianArchiveFault) {
        entries.reserveCapacity(indices.reduce(0) { $0 + $1.entries.count })
        for (position, index) in indices.enumerated() {
            for entry in index.entries {
                if let version = held[entry.name], version != entry.version { continue }
                guard let present = entries[entry.name] else {
                    entries[entry.name] = (entry, position)
                    continue
                }
                let rank = indices[present.index].priority
                if index.priority > rank
                    || (index.priority == rank && compare(entry.version, present.entry.version) > 0)
                {
                    entries[entry.name] = (entry, position)
                }
            }
        }
        let gone = held.filter { entries[$0.key] == nil }.sorted { $0.key < $1.key }
        guard gone.isEmpty else {
            let list = gone.map { "\($0.key) \($0.value)" }.joined(separator: ", ")
            throw DebianArchiveFault(
                .versionGone, "the archive no longer has what the lock holds: \(list)",
                remedy:
                    "move these too (\(gone.map { "--update \($0.key)" }.joined(separator: " "))) or lock everything anew"
            )
        }
    }

    subscript(name: String) -> PackageIndex.Entry? { entries[name]?.entry }

    /// What every Debian system has.
    ///
    /// Essential packages and those of priority `required` are what debootstrap's and mmdebstrap's minbase have, except
    /// for apt: nothing installs packages into an immutable image, and apt alone brings a dozen more. Who wants it names it.
    var base: [String] { entries.values.filter(\.entry.isBase).map(\.entry.name).sorted() }

    /// Refuses names that no package has.
    ///
    /// - Parameter place: where the manifest names one.
    func require(_ names: [String], place: (String) -> Place?) throws(DebianArchiveFault) {
        let faults = names.filter { entries[$0] == nil }.map { name in
            DebianArchiveFault(
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
