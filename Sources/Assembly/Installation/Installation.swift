import DebianArchive
import Fault
import FileIO
import Glibc
import SystemPackage
import Terminal

/// Packages into a directory: what dpkg would have made of them, and nothing else. The only part of a build that runs
/// what packages bring.
///
/// dpkg itself configures all packages. It unpacks those of which anything but their files matters, such as a preinst
/// script, a path that another package has too, or a path that is diverted. The rest, most packages, is decompressed here,
/// several at a time, while dpkg works, and put into the root by renames: as if dpkg had unpacked it before the others.
///
/// | step | dpkg | beside it |
/// |---|---|---|
/// | 1 | | essential packages and what they need are decompressed, and put into the root |
/// | 2 | unpacks those of them that are its own to unpack, configures all of them | the other packages are decompressed |
/// | 3 | | they are put into the root |
/// | 4 | unpacks what was left to it, configures what that needs first, then everything | |
struct Installation {
    let root: FilePath
    /// A directory on the same file system for what is on its way.
    let work: FilePath
    let packages: [DebianPackageFile]
    let excludedPaths: PathPatterns
    /// Answers for the packages' scripts.
    var debconf: [String] = []
    let sandbox: Sandbox
    let log: InstallationLog

    private static let width = 2

    /// Installs all of `packages` into the empty directory `root`.
    ///
    /// - Parameter beside: what is to be done once all is unpacked, while dpkg has one processor busy. It must change nothing
    ///   in the root.
    func run<Result: Sendable>(
        _ clock: inout StageClock, beside: @escaping @Sendable () async throws -> Result
    ) async throws(AssemblyFault) -> Result {
        do { return try await install(&clock, beside) } catch {
            let fault = AssemblyFault.during("cannot install the packages", error)
            guard let full = fault.cause as? FileIOFault, full.code == .noSpace else { throw fault }
            throw AssemblyFault(
                fault.code, fault.message, at: full.place, remedy: RootDirectory.roomRemedy(root), cause: full.cause)
        }
    }

    private func install<Result: Sendable>(
        _ clock: inout StageClock, _ beside: @escaping @Sendable () async throws -> Result
    ) async throws -> Result {
        let directory = try RootDirectory(root)
        // Whatever the umask made it.
        try directory.setAttributes(ofDirectory: "", permissions: 0o755, owner: 0, group: 0)
        let relations = PackageRelations(packages)
        let byName = Dictionary(packages.map { ($0.name, $0) }, uniquingKeysWith: { first, _ in first })
        let base = relations.closure(of: packages.filter(\.isEssential).map(\.name))
        guard base.contains("dpkg"), base.contains("base-files") else {
            throw AssemblyFault(
                .missing, "the lock has no packages 'dpkg' and 'base-files', without which nothing can be installed",
                remedy: "lock again; 'packages.remove' must not have them")
        }
        let isBase = Set(base)
        let rest = relations.closure(of: packages.map(\.name).sorted()).filter { !isBase.contains($0) }
        let progress = Progress("installing", total: Int64(2 * packages.count), unit: .items("steps"))
        defer { progress.finish() }

        let staged = try await stage(base, byName, Accounts(), isBase: true, progress)
        let database = PackageDatabase(root: directory)
        try database.create()
        let bootstrap = try placeBase(staged, in: directory, database)
        try nameMachine(in: directory)
        let accounts = try Accounts(
            users: "usr/share/base-passwd/passwd.master", groups: "usr/share/base-passwd/group.master", in: directory)

        try clock.end("unpack base")

        async let others = stage(rest, byName, accounts, isBase: false, progress)
        let dpkg = Dpkg(
            sandbox: sandbox, excludedPaths: excludedPaths, log: log,
            progress: progress)
        try await dpkg.unpack(bootstrap.map { ($0, $0.path) }, isBootstrap: true)
        try await configure(base.compactMap { byName[$0] }, by: dpkg, in: directory)

        try clock.end("install base")

        let stagedOthers = try await others
        let left = try place(stagedOthers, in: directory, database)
        let files = Dictionary(
            stagedOthers.compactMap { package in package.file.map { (package.package.name, $0) } },
            uniquingKeysWith: { first, _ in first })
        let steps = InstallationSteps.make(
            unpacking: rest.filter { left.contains($0) }, configured: isBase, relations: relations)
        try clock.end("unpack")
        var isAnswered = try await answer(in: directory)
        for step in steps {
            switch step {
            case .unpack(let names):
                try await dpkg.unpack(
                    names.compactMap { byName[$0] }.map { ($0, files[$0.name] ?? $0.path) }, isBootstrap: false)
            case .configure(let names):
                try await configure(names.compactMap { byName[$0] }, by: dpkg, in: directory)
            }
        }
        try clock.end("unpack by dpkg")
        if !isAnswered { isAnswered = try await answer(in: directory) }
        guard isAnswered else {
            throw AssemblyFault(
                .missing, "there is no debconf to give answers to", at: .named("debconf"),
                remedy: "take 'debconf' out of the manifest, or add the package 'debconf'")
        }
        async let result = beside()
        try await configure(nil, by: dpkg, in: directory)
        try await dpkg.audit()
        try MissingFiles(directory: directory, excludedPaths: excludedPaths).refuse(log)
        try removeExcluded(from: directory)
        let finished = try await result
        try clock.end("configure")
        return finished
    }

    /// Makes the files that a Debian machine has before anything is installed on it (debootstrap(8) copies its own machine's),
    /// and that scripts ask for its name. They are not part of the image.
    private func nameMachine(in directory: RootDirectory) throws(AssemblyFault) {
        for (path, text) in [("etc/hostname", Sandbox.hostName + "\n"), ("etc/resolv.conf", "")]
        where try !directory.exists(path) {
            try directory.replaceFile(path, with: text)
        }
    }

    /// Gives debconf the answers, and says whether there is a debconf already.
    private func answer(in directory: RootDirectory) async throws -> Bool {
        if debconf.isEmpty { return true }
        let program = "/usr/bin/debconf-set-selections"
        guard try directory.status(program, following: true) != nil else { return false }
        let file = work.appending("debconf-answers")
        try file.replaceContents(with: debconf.map { $0 + "\n" }.joined())
        var sandbox = sandbox
        sandbox.shown.append(.init(path: "/run/debconf-answers", file: file))
        try await sandbox.run("give debconf its answers", [program, "/run/debconf-answers"])
        return true
    }

    /// Decompresses the packages `names`.
    ///
    /// - Returns: the packages in the same order.
    private func stage(
        _ names: [String], _ byName: [String: DebianPackageFile],
        _ accounts: Accounts, isBase: Bool, _ progress: Progress
    ) async throws -> [StagedPackage] {
        let stager = PackageStager(
            directory: work.appending("staged"), excludedPaths: excludedPaths, accounts: accounts)
        let packages = names.compactMap { byName[$0] }
        // The largest first: the last to end is then a small one.
        let order = packages.indices.sorted { packages[$0].size > packages[$1].size }
        var results: [Int: StagedPackage] = [:]
        try await withThrowingTaskGroup(of: (Int, StagedPackage).self) { group in
            var pending = order[...]
            func startNext() {
                guard let index = pending.popFirst() else { return }
                group.addTask {
                    try Task.checkCancellation()
                    return (index, try stager.stage(packages[index], isBase: isBase))
                }
            }
            for _ in 0..<Self.width { startNext() }
            while let (index, staged) = try await group.next() {
                results[index] = staged
                progress.advance(by: 1)
                startNext()
            }
        }
        return packages.indices.compactMap { results[$0] }
    }

    /// Puts the essential packages and what they need into the empty root, so that there is a dpkg to run.
    ///
    /// - Returns: those that dpkg has to unpack again over it.
    private func placeBase(
        _ packages: [StagedPackage], in directory: RootDirectory, _ database: PackageDatabase
    ) throws(AssemblyFault) -> [DebianPackageFile] {
        // The package that has the root's own symbolic links (/bin, /lib) comes first, so that every other path is resolved
        // through them.
        let first = packages.filter { $0.package.name == "base-files" }
        var placed: [StagedPackage] = []
        var left: [DebianPackageFile] = []
        for package in first + packages.filter({ $0.package.name != "base-files" }) {
            let isPlain = package.isPlain ? try directory.canPlace(package, special: []) : false
            try directory.place(package, holdsConffiles: false)
            if isPlain { placed.append(package) } else { left.append(package.package) }
        }
        try database.add(placed, holdsConffiles: false)
        return left
    }

    /// Puts the packages that are plain into the root, and into dpkg's database.
    ///
    /// - Returns: the names of those that are left to dpkg.
    private func place(
        _ packages: [StagedPackage], in directory: RootDirectory, _ database: PackageDatabase
    ) throws(AssemblyFault) -> Set<String> {
        // Scripts may have replaced directories.
        directory.forgetParents()
        let special = try database.specialPaths()
        var placed: [StagedPackage] = []
        var left: Set<String> = []
        for package in packages {
            if package.isPlain, try directory.canPlace(package, special: special) {
                try directory.place(package, holdsConffiles: true)
                placed.append(package)
            } else {
                left.insert(package.package.name)
            }
        }
        try database.add(placed, holdsConffiles: true)
        return left
    }

    /// Has dpkg configure these packages, or all that are left, with the stubs in place.
    private func configure(_ packages: [DebianPackageFile]?, by dpkg: Dpkg, in directory: RootDirectory) async throws {
        try await SandboxStubs(root: directory, work: work).show(in: dpkg.sandbox) { sandbox in
            var dpkg = dpkg
            dpkg.sandbox = sandbox
            try await dpkg.configure(packages)
        }
        directory.forgetParents()
    }

    /// All paths that dpkg says the packages have.
    private func listedPaths(in directory: RootDirectory) throws(AssemblyFault) -> Set<String> {
        let info = PackageDatabase.directory + "/info"
        var paths: Set<String> = []
        for name in try directory.entries(info) where name.hasSuffix(".list") {
            let text = String(decoding: try directory.contents("\(info)/\(name)") ?? [], as: UTF8.self)
            for path in text.split(separator: "\n") { paths.insert(String(path.dropFirst())) }
        }
        return paths
    }

    /// What is excluded and dpkg has made all the same: symbolic links, and directories that no script has put anything into.
    private func removeExcluded(from directory: RootDirectory) throws(AssemblyFault) {
        let excluded = try listedPaths(in: directory).filter { excludedPaths.excludes($0) }
        // What is in a directory goes before it.
        for path in excluded.sorted(by: { $0.utf8.count > $1.utf8.count }) {
            guard let status = try directory.status(path) else { continue }
            switch status.st_mode & S_IFMT {
            case S_IFLNK: try directory.removeFile(path)
            case S_IFDIR: _ = try directory.removeEmptyDirectory(path)
            default: break
            }
        }
    }
}
