import Cryptography
public import Fault
public import Manifest

extension Lock {
    /// Finds the packages of `manifest` in the archive: what it asks for, its kernel, what every Debian system has, and what
    /// all of them depend on.
    ///
    /// - Parameters:
    ///   - suites: instead of the manifest's own.
    ///   - previous: a lock whose versions are kept, except for those of `updates`.
    ///   - updates: names that move to the archive's version.
    public static func resolve(
        _ manifest: Manifest, suites: [String]? = nil, from archive: ArchiveClient, keeping previous: Lock? = nil,
        updating updates: [String] = []
    ) async throws(DebianArchiveFault) -> Lock {
        var suites = suites ?? manifest.distribution.suites
        var seen: Set<String> = []
        suites.removeAll { !seen.insert($0).inserted }
        guard !suites.isEmpty else {
            throw DebianArchiveFault(
                .wrongSuite, "no suite is named", remedy: "name one in distribution.suites or with --suites")
        }
        var releases: [ReleaseFile] = []
        var indices: [PackageIndex] = []
        for suite in suites {
            let release = try await archive.release(ofSuite: suite)
            releases.append(release)
            for component in manifest.distribution.components {
                indices.append(
                    try await archive.index(
                        of: release, component: component, architecture: manifest.architecture.rawValue))
            }
        }
        var held: [String: String] = [:]
        for package in previous?.packages ?? [] where !updates.contains(package.name) {
            held[package.name] = package.version
        }
        if let previous,
            let stranger = updates.first(where: { name in !previous.packages.contains { $0.name == name } })
        {
            throw DebianArchiveFault(
                .unknownPackage, "'\(stranger)' is to be updated and is not in the lock",
                remedy: Spelling.nearest(to: stranger, among: previous.packages.map(\.name)).map {
                    "did you mean '\($0)'?"
                } ?? "name a package that the lock has; a new one comes by 'packages.install' and a new lock")
        }
        let solver = try DependencySolver(indices, architecture: manifest.architecture.rawValue, held: held)
        let packages = try solver.solve(
            .init(
                install: manifest.packages.install + [manifest.kernel.package], refuse: manifest.packages.remove,
                installsRecommends: manifest.packages.installsRecommends,
                place: { name in
                    manifest.place(of: "packages.install", element: name)
                        ?? (name == manifest.kernel.package ? manifest.place(of: "kernel.package") : nil)
                }, placeOfRefusal: { manifest.place(of: "packages.remove", element: $0) }))
        return Lock(
            architecture: manifest.architecture.rawValue,
            suites: releases.map { LockedSuite(name: $0.suite, date: $0.date, digest: $0.digest) },
            packages: packages, manifestDigest: manifest.digest)
    }
}
