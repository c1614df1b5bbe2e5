import Command
import Fault
import FileIO
import SystemPackage

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

    // No CAP_MKNOD: in a user namespace no device can be made, and the image must be the same.
    private static let capabilities = [
        "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL",
        "CAP_SETFCAP", "CAP_SETGID", "CAP_SETPCAP", "CAP_SETUID", "CAP_SYS_CHROOT",
    ]

    private var bubblewrap: [String] {
        var arguments = [
            "--bind", root.string, "/", "--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp", "--tmpfs", "/run",
            "--unshare-net", "--unshare-pid", "--unshare-ipc", "--unshare-uts", "--hostname", "ballast",
            "--die-with-parent", "--new-session", "--chdir", "/",
        ]
        arguments += ["--cap-drop", "ALL"] + Self.capabilities.flatMap { ["--cap-add", $0] }
        for shown in shown { arguments += ["--ro-bind", shown.file.string, shown.path] }
        return arguments
    }

    /// The shell sets up what bubblewrap hands on: the seccomp filter's descriptor, the umask, and the redirections.
    private func command(_ program: [String], redirections: String, files: [FilePath]) throws(AssemblyFault) -> Command
    {
        let filter = work.appending("sync-filter.bpf")
        if !filter.exists {
            try attempt("cannot write the sandbox's filter") { try filter.replaceContents(with: SyncFilter.program) }
        }
        let environment = [
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root",
            "LC_ALL": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive", "DEBCONF_NONINTERACTIVE_SEEN": "true",
            // TeX takes the first for its dates only with the second.
            "SOURCE_DATE_EPOCH": String(epoch), "FORCE_SOURCE_DATE": "1", "SYSTEMD_OFFLINE": "1",
            "SYSTEMD_IN_CHROOT": "1", "INITRD": "No",
        ]
        // bwrap's own environment becomes the program's.
        let script =
            "umask 022; filter=$1; first=$2; second=$3; shift 3; exec bwrap --seccomp 9 \"$@\" 9<\"$filter\" "
            + redirections
        let names = files.map(\.string) + Array(repeating: "", count: 2 - files.count)
        return Command(
            "sh", ["-c", script, "sh", filter.string] + names + bubblewrap + ["--"] + program, environment: environment)
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

    /// Runs `program` inside with its output and what it writes to descriptor 3 going to `log`, and returns its exit status.
    ///
    /// What it started ends with it.
    func status(of program: [String], log: InstallationLog) async throws(AssemblyFault) -> Int {
        let command = try command(
            program, redirections: ">>\"$first\" 2>&1 3>>\"$second\"", files: [log.text, log.status])
        do throws(CommandFault) { return try await command.outcome().status } catch {
            throw .during("cannot run the sandbox", error)
        }
    }
}
