import DebianArchive
import Fault
import FileIO
import SystemPackage
import Terminal

/// The image's own dpkg, run in the sandbox.
struct Dpkg {
    var sandbox: Sandbox
    let excludedPaths: PathPatterns
    let log: InstallationLog
    let progress: Progress

    /// Shows the sandbox the package files that it unpacks.
    private static let archives = "/run/packages"

    /// The database on a disk that is thrown away needs no flushing. Nobody is there to ask about a configuration file that
    /// another package's script has made: dpkg does what it would do by itself, and where it has no such answer it keeps the
    /// file. ucf(1) reads both from DPKG_FORCE; by the second alone it leaves a `.ucf-dist` beside a file that is the same.
    private var command: [String] {
        ["/usr/bin/dpkg", "--status-fd", "3", "--no-debsig", "--force-unsafe-io", "--force-confdef", "--force-confold"]
            + excludedPaths.dpkgOptions
    }

    /// Unpacks packages from these files, in this order.
    ///
    /// - Parameter isBootstrap: whether what a package must have before it is unpacked is not there yet.
    func unpack(_ packages: [(package: DebianPackageFile, file: FilePath)], isBootstrap: Bool)
        async throws(AssemblyFault)
    {
        guard !packages.isEmpty else { return }
        var sandbox = sandbox
        var paths: [String] = []
        for (package, file) in packages {
            let path = "\(Self.archives)/\(package.name)_\(package.version)_\(package.architecture).deb"
            sandbox.shown.append(.init(path: path, file: file))
            paths.append(path)
        }
        try await run(
            "unpack the packages",
            ["--unpack", "--no-triggers"] + (isBootstrap ? ["--force-depends"] : []) + ["--"] + paths, in: sandbox
        )
    }

    /// Configures these packages, or all that are left.
    func configure(_ packages: [DebianPackageFile]?) async throws(AssemblyFault) {
        try await run(
            "configure the packages",
            ["--configure"] + (packages.map { ["--"] + $0.map(\.databaseName) } ?? ["--pending"]),
            in: sandbox)
    }

    /// Checks that dpkg finds nothing left to do.
    func audit() async throws(AssemblyFault) {
        let audit = try await sandbox.run("audit the packages", ["/usr/bin/dpkg", "--audit"])
        guard audit.isEmpty else {
            throw AssemblyFault(
                .configuration, "dpkg --audit finds packages that are not whole:\n\(audit)",
                remedy: "take them out of the manifest; the whole log is in \(try log.keep())")
        }
    }

    private func run(_ what: String, _ arguments: [String], in sandbox: Sandbox) async throws(AssemblyFault) {
        try await sandbox.run(
            what, command + arguments, log: log, remedy: "mend the package or the manifest, or take the package out"
        ) { start throws(AssemblyFault) in
            // By the packages that are being configured.
            progress.advance(by: try log.configurations(since: start))
        }
    }
}
