/// In which order dpkg unpacks and configures packages so that what one needs before it is unpacked is configured by then
/// (Pre-Depends: Debian policy, section 7.2).
struct InstallationSteps {
    /// One call of dpkg.
    enum Step: Hashable {
        case unpack([String])
        case configure([String])
    }

    private let relations: PackageRelations
    private let toUnpack: Set<String>
    private var steps: [Step] = []
    private var batch: [String] = []
    private var unpacked: Set<String> = []
    private var configured: Set<String>
    private var visiting: Set<String> = []

    /// - Parameters:
    ///   - names: the packages that dpkg unpacks, each after what it depends on.
    ///   - configured: what is configured already.
    static func make(
        unpacking names: [String], configured: Set<String>, relations: PackageRelations
    ) -> [Step] {
        var steps = InstallationSteps(relations: relations, toUnpack: Set(names), configured: configured)
        for name in names { steps.unpack(name) }
        steps.flush()
        return steps.steps
    }

    private init(relations: PackageRelations, toUnpack: Set<String>, configured: Set<String>) {
        self.relations = relations
        self.toUnpack = toUnpack
        self.configured = configured
    }

    private mutating func unpack(_ name: String) {
        guard !unpacked.contains(name), visiting.insert(name).inserted else { return }
        defer { visiting.remove(name) }
        // A package that needs itself is left out here: where the circle is real, dpkg refuses and names it.
        let before = relations.closure(of: relations.preDependencies(of: name))
            .filter { !configured.contains($0) && !visiting.contains($0) }
        for needed in before where toUnpack.contains(needed) { unpack(needed) }
        let left = before.filter { !configured.contains($0) }
        if !left.isEmpty {
            flush()
            steps.append(.configure(left))
            configured.formUnion(left)
        }
        unpacked.insert(name)
        batch.append(name)
    }

    private mutating func flush() {
        guard !batch.isEmpty else { return }
        steps.append(.unpack(batch))
        batch = []
    }
}
