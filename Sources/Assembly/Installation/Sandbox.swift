import Command
import Fault
import FileIO
import Glibc
import SystemPackage

/// What is around the programs of a build beside their tree, their environment and their arguments: time.
public struct Surroundings: Sendable {
    /// By how many seconds its clock is ahead of the build machine's.
    public var clockOffset = 0
    /// For how long nothing may be written to the log before what runs counts as hanging, in seconds.
    public var longestSilence = 1800

    /// As usual.
    public init() {}

    /// Other ones than usual: more than a year later, at another time of the day.
    static let other = {
        var other = Surroundings()
        other.clockOffset = 400 * 86_400 + 5 * 3600 + 1234
        return other
    }()
}

/// Runs the image's own programs on the tree that becomes the image: as root inside it, without network, with only the
/// pseudo file systems it needs, and with an environment of which every value is known.
struct Sandbox {
    /// A file of the build machine that is shown, read-only, in the tree for as long as a command runs.
    struct ShownFile {
        /// Its absolute path inside.
        let path: String
        let file: FilePath
    }

    let root: FilePath
    /// A directory for what the sandbox itself needs.
    let work: FilePath
    /// Seconds since 1970, for tools that write times.
    let epoch: Int64
    var shown: [ShownFile] = []
    /// What programs have in their environment beyond what all have.
    var environment: [String: String] = [:]
    var surroundings = Surroundings()

    /// libfaketime, on the build machine and inside.
    private static let fakeTime = (
        package: "libfaketime",
        names: ["x86_64-linux-gnu", "aarch64-linux-gnu"].map {
            FilePath("/usr/lib/\($0)/faketime/libfaketime.so.1")
        }, inside: "/run/libfaketime.so.1",
        // Programs with an allocator of their own that asks for the time as it starts (jemalloc) would wait for libfaketime,
        // which waits for memory; with the C library before theirs they have its allocator.
        preloaded: "/run/libfaketime.so.1 libc.so.6"
    )

    /// The library that gives programs another clock, where they are to have one.
    private func fakeTimeLibrary() throws(AssemblyFault) -> FilePath? {
        guard surroundings.clockOffset != 0 else { return nil }
        guard let library = Self.fakeTime.names.first(where: \.exists) else {
            throw AssemblyFault(
                .missing, "there is no libfaketime, by which the second run gets another clock",
                remedy: "install the package '\(Self.fakeTime.package)'")
        }
        return library
    }

    /// The name of the machine that scripts see. Some write it into configuration files, and what reads those refuses a
    /// machine without a name.
    static let hostName = "localhost"

    // No CAP_MKNOD: in a user namespace no device can be made, and the image must be the same.
    private static let capabilities = [
        "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL",
        "CAP_SETFCAP", "CAP_SETGID", "CAP_SETPCAP", "CAP_SETUID", "CAP_SYS_CHROOT",
    ]

    private func bubblewrap(_ library: FilePath?) throws(AssemblyFault) -> [String] {
        let directory = try RootDirectory(root)
        // bubblewrap follows symbolic links in the places of its mounts while the build machine's files are still visible.
        for path in ["proc", "dev"] where try directory.status(path).map({ $0.st_mode & S_IFMT != S_IFDIR }) == true {
            throw AssemblyFault(
                .configuration, "is not a directory any more", at: .path("/\(path)"),
                remedy: "look for a script that replaces it")
        }
        var arguments = [
            // /run and /tmp are the tree's own: what one script makes there, such as /run/lock, the next one finds.
            // Any user's programs share memory, as on every machine.
            "--bind", root.string, "/", "--proc", "/proc", "--dev", "/dev", "--perms", "1777", "--tmpfs", "/dev/shm",
            "--unshare-net", "--unshare-pid", "--unshare-ipc", "--unshare-uts", "--hostname", Self.hostName,
            "--die-with-parent", "--new-session", "--chdir", "/",
        ]
        arguments += ["--cap-drop", "ALL"] + Self.capabilities.flatMap { ["--cap-add", $0] }
        for shown in shown + (library.map { [.init(path: Self.fakeTime.inside, file: $0)] } ?? []) {
            arguments += ["--ro-bind", shown.file.string, try directory.placeToShow(shown.path)]
        }
        return arguments
    }

    /// The shell sets up what bubblewrap hands on: the seccomp filter's descriptor, the umask, and the redirections.
    func command(_ program: [String], redirections: String, files: [FilePath]) throws(AssemblyFault) -> Command {
        let filter = work.appending("sync-filter.bpf")
        if !filter.exists {
            try attempt("cannot write the sandbox's filter") { try filter.replaceContents(with: SyncFilter.program) }
        }
        let library = try fakeTimeLibrary()
        var environment = [
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root",
            "LC_ALL": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive", "DEBCONF_NONINTERACTIVE_SEEN": "true",
            // TeX takes the first for its dates only with the second.
            "SOURCE_DATE_EPOCH": String(epoch), "FORCE_SOURCE_DATE": "1", "SYSTEMD_OFFLINE": "1",
            "SYSTEMD_IN_CHROOT": "1", "INITRD": "No",
        ]
        environment.merge(self.environment) { _, own in own }
        if library != nil {
            environment["FAKETIME"] = "\(surroundings.clockOffset < 0 ? "" : "+")\(surroundings.clockOffset)s"
            environment["NO_FAKE_STAT"] = "1"
            environment["FAKETIME_DONT_FAKE_MONOTONIC"] = "1"
        }
        // bwrap's own environment becomes the program's.
        let script =
            "umask 022; filter=$1; first=$2; second=$3; shift 3; exec bwrap --seccomp 9 \"$@\" 9<\"$filter\" "
            + redirections
        let names = files.map(\.string) + Array(repeating: "", count: 2 - files.count)
        return Command(
            "sh",
            ["-c", script, "sh", filter.string] + names + (try bubblewrap(library))
                + (library.map { _ in ["--setenv", "LD_PRELOAD", Self.fakeTime.preloaded] } ?? [])
                + ["--"] + program, environment: environment)
    }

    /// Runs `program` inside and returns what it wrote to standard output; fails as `what` where it does.
    @discardableResult
    func run(_ what: String, _ program: [String]) async throws(AssemblyFault) -> String {
        let command = try command(program, redirections: "", files: [])
        do throws(CommandFault) {
            let outcome = try await command.outcome()
            guard outcome.status == 0 else {
                let text = (outcome.outputText + outcome.errorText).split(separator: "\n").suffix(25)
                throw CommandFault(
                    .failed,
                    "\(program.joined(separator: " ")) ended with status \(outcome.status):\n  "
                        + text.joined(separator: "\n  "))
            }
            return outcome.outputText
        } catch {
            throw AssemblyFault(
                .configuration, "cannot \(what)",
                remedy: error.message.contains("status 127:") ? "install the package 'bubblewrap'" : nil, cause: error)
        }
    }
}
