import Cryptography
public import Fault
import FileIO
public import Manifest
import Transfer

extension Lock {
    /// Finds the packages of `manifest` in its archives: what it asks for, its kernel, what every Debian system has, and what
    /// all of them depend on.
    ///
    /// - Parameters:
    ///   - suites: Debian's suites instead of the manifest's own.
    ///   - previous: the lock that this one takes the place of. Its accounts are kept: a number that was given once stays.
    ///   - updates: the only names that move to the archive's version; nil for all. The other packages of `previous` stay, also
    ///     where the archive has dropped their versions and the cache or a mirror still has the bytes.
    ///   - leftOut: given what the image's packages recommend and is not among them.
    public static func resolve(
        _ manifest: Manifest, suites: [String]? = nil, from archive: ArchiveClient, replacing previous: Lock? = nil,
        updating updates: [String]? = nil, leftOut: ([Recommendation]) -> Void = { _ in }
    ) async throws(DebianArchiveFault) -> Lock {
        let base = updates == nil ? nil : previous
        if let base, let updates { try require(updates, of: manifest, in: base) }
        let sources = try sources(manifest, suites: suites, from: archive)
        var releases: [ReleaseFile] = []
        var indices: [PackageIndex] = []
        let local = try LocalPackages(manifest)
        if !manifest.packages.local.isEmpty { indices.append(local.index) }
        for source in sources {
            let release = try await archive.release(of: source)
            releases.append(release)
            for component in source.isFlat ? [nil] : source.components.map(Optional.some) {
                indices.append(
                    try await archive.index(
                        of: release, component: component, architecture: manifest.architecture.rawValue))
            }
        }
        let cache = PackageCache(archive.cache)
        let held = (base?.packages ?? []).filter { package in
            updates?.contains(package.name) == false
                && mayStay(package, manifest, indices, local: local, suites: base?.suites ?? [])
        }
        let kept = try await keptIndices(
            held, of: base?.suites ?? [], beside: indices, in: cache,
            from: PackageSources(mirror: archive.mirror, archives: manifest.distribution.archives))
        let packages = try solve(manifest, indices + kept.indices, held: held, gone: kept.gone, leftOut)
        try cache.add(packages.filter { $0.suite == LocalPackages.suite }, from: local)
        var suites = releases.map(LockedSuite.init)
        // What was kept of a suite that is not looked at any more is still of that suite.
        let left = Set(packages.map(\.suite)).subtracting(suites.map(\.name))
        suites += (base?.suites ?? []).filter { left.contains($0.name) }
        return Lock(
            architecture: manifest.architecture.rawValue, suites: suites, packages: packages,
            accounts: previous?.accounts ?? LockedAccounts(), requestDigest: manifest.requestDigest)
    }

    /// Whether a package that an old lock has is still one that the manifest would take from where it came.
    private static func mayStay(
        _ package: LockedPackage, _ manifest: Manifest, _ indices: [PackageIndex], local: LocalPackages,
        suites: [LockedSuite]
    ) -> Bool {
        guard package.suite != LocalPackages.suite, !local.index.entries.contains(where: { $0.name == package.name })
        else { return false }
        if suites.first(where: { $0.name == package.suite })?.isArchive == true {
            guard let archive = manifest.distribution.archives.first(where: { $0.name == package.suite }),
                archive.packages.isEmpty || archive.packages.contains(package.name)
            else { return false }
        }
        let request = manifest.packages.install.map { PackageRequest($0) }.first { $0.name == package.name }
        guard case .suite(let suite)? = request?.choice else { return true }
        return indices.contains { $0.suite == package.suite && $0.names.contains(suite) }
    }

    /// Refuses names of packages that are neither locked nor asked for now.
    private static func require(
        _ updates: [String], of manifest: Manifest, in previous: Lock
    ) throws(DebianArchiveFault) {
        let known = Set(previous.packages.map(\.name) + manifest.packages.install.map { PackageRequest($0).name })
        guard let stranger = updates.first(where: { !known.contains($0) }) else { return }
        throw DebianArchiveFault(
            .unknownPackage, "'\(stranger)' is to be updated and is not in the lock",
            remedy: Spelling.nearest(to: stranger, among: previous.packages.map(\.name)).map {
                "did you mean '\($0)'?"
            } ?? "name a package that the lock or 'packages.install' has")
    }

    /// Debian's suites, then the manifest's archives.
    private static func sources(
        _ manifest: Manifest, suites: [String]?, from archive: ArchiveClient
    ) throws(DebianArchiveFault) -> [ArchiveSource] {
        var seen: Set<String> = []
        let suites = (suites ?? manifest.distribution.suites).filter { seen.insert($0).inserted }
        guard !suites.isEmpty else {
            throw DebianArchiveFault(
                .wrongSuite, "no suite is named", remedy: "name one in distribution.suites or with --suites")
        }
        seen.insert(LocalPackages.suite)
        if let double = manifest.distribution.archives.first(where: { seen.contains($0.name) }) {
            throw DebianArchiveFault(
                .wrongSuite,
                "an archive cannot have the name '\(double.name)', which \(double.name == LocalPackages.suite ? "stands for packages.local" : "one of the suites has")",
                at: double.place, remedy: "choose another name")
        }
        return suites.map { archive.source(debianSuite: $0, components: manifest.distribution.components) }
            + manifest.distribution.archives.map { ArchiveSource($0) }
    }

    /// Solves with the packages of an old lock. Those in `gone` can no longer be fetched; a solution that needs one is refused.
    private static func solve(
        _ manifest: Manifest, _ indices: [PackageIndex], held: [LockedPackage], gone: [LockedPackage],
        _ leftOut: ([Recommendation]) -> Void
    ) throws(DebianArchiveFault) -> [LockedPackage] {
        let names = Set(gone.map(\.name))
        let packages: [LockedPackage]
        do throws(DebianArchiveFault) {
            packages = try solve(manifest, indices, held: held.filter { !names.contains($0.name) }, leftOut)
        } catch  where !gone.isEmpty && [.unsatisfiable, .unknownPackage].contains(error.code) {
            throw versionsGone(gone, cause: error)
        }
        let chosen = Set(packages.map(\.name))
        let needed = gone.filter { chosen.contains($0.name) }
        guard needed.isEmpty else { throw versionsGone(needed) }
        return packages
    }

    private static func versionsGone(
        _ packages: [LockedPackage], cause: (any Error)? = nil
    ) -> DebianArchiveFault {
        let names = packages.map { "\($0.name) \($0.version)" }.joined(separator: ", ")
        let options = packages.map { "--update \($0.name)" }.joined(separator: " ")
        return DebianArchiveFault(
            .versionGone, "the archive no longer has what the lock holds: \(names)",
            remedy: "move these too (\(options)) or lock everything anew", cause: cause)
    }

    private static func solve(
        _ manifest: Manifest, _ indices: [PackageIndex], held: [LockedPackage], _ leftOut: ([Recommendation]) -> Void
    ) throws(DebianArchiveFault) -> [LockedPackage] {
        let requests = manifest.packages.install.map { (text: $0, request: PackageRequest($0)) }
        let texts = Dictionary(requests.map { ($0.request.name, $0.text) }) { first, _ in first }
        func place(_ name: String) -> Place? {
            texts[name].flatMap { manifest.place(of: "packages.install", element: $0) }
                ?? (name == manifest.kernel.package ? manifest.place(of: "kernel.package") : nil)
                ?? (microcodePackages.contains(name) ? manifest.place(of: "kernel.microcode") : nil)
        }
        var choices = Dictionary(
            requests.compactMap { entry in entry.request.choice.map { (entry.request.name, $0) } }
        ) { first, _ in first }
        // What is asked for by version is not what an old lock has.
        let kept = Dictionary(
            held.filter { package in
                if case .version(let version)? = choices[package.name] { version == package.version } else { true }
            }.map { ($0.name, $0) }
        ) { first, _ in first }
        let microcode = manifest.kernel.microcode ? Self.microcodePackages : []
        var request = DependencySolver.Request(
            install: requests.map(\.request.name) + [manifest.kernel.package] + microcode,
            refuse: manifest.packages.remove,
            installsRecommends: manifest.packages.installsRecommends, place: place,
            placeOfRefusal: { manifest.place(of: "packages.remove", element: $0) })
        while true {
            let solver = try DependencySolver(
                indices, architecture: manifest.architecture.rawValue, held: kept, choices: choices, place: place)
            let additions = solver.additions(to: choices)
            guard additions.isEmpty else {
                choices.merge(additions) { first, _ in first }
                continue
            }
            let image = try solver.solve(request)
            leftOut(solver.recommendations(of: image, without: manifest.packages.remove))
            guard !manifest.packages.buildOnly.isEmpty else { return image }
            // What is in the image stays as it is, whatever the build needs beyond.
            request.install = image.map(\.name) + manifest.packages.buildOnly
            request.place = { manifest.place(of: "packages.build_only", element: $0) }
            let names = Set(image.map(\.name))
            return try solver.solve(request).map { package in
                var package = package
                package.isBuildOnly = !names.contains(package.name)
                return package
            }
        }
    }

    /// The processors' microcode.
    private static let microcodePackages = ["amd64-microcode", "intel-microcode"]

    /// Indices of the held packages that no archive lists any more, read from the package files, and the held packages whose
    /// files neither the cache nor a mirror has.
    private static func keptIndices(
        _ held: [LockedPackage], of suites: [LockedSuite], beside indices: [PackageIndex], in cache: PackageCache,
        from sources: PackageSources
    ) async throws(DebianArchiveFault) -> (indices: [PackageIndex], gone: [LockedPackage]) {
        let names = Set(held.map(\.name))
        var there: Set<SHA256Digest> = []
        for index in indices {
            for entry in index.entries where names.contains(entry.name) { there.insert(entry.digest) }
        }
        var texts: [String: String] = [:]
        var gone: [LockedPackage] = []
        for package in held where !there.contains(package.digest) {
            do throws(DebianArchiveFault) { try await cache.fetch([package], from: sources) } catch {
                guard (error.cause as? TransferFault)?.code == .notFound else { throw error }
                gone.append(package)
                continue
            }
            texts[package.suite, default: ""] += LocalPackages.paragraph(
                of: try DebianPackageFile(cache.path(of: package)), path: package.path, size: package.size,
                digest: package.digest)
        }
        let archives = Set(suites.filter(\.isArchive).map(\.name))
        let kept = texts.sorted { $0.key < $1.key }.map { suite, text in
            PackageIndex(
                text: Array(text.utf8), suite: suite, priority: 1, isDebian: !archives.contains(suite),
                source: "the cache's packages of '\(suite)'")
        }
        return (kept, gone)
    }
}
