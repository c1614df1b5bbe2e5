import Command
import Fault
import FileIO
import SystemPackage

/// Runs the image's own programs on the tree that becomes the image: as root inside it, without network, with only the
/// pseudo file systems it needs, and with an environment of which every value is known.
struct Sandbox {
    let root: FilePath
    /// A directory for what the sandbox itself needs.
    let work: FilePath
    /// Seconds since 1970, for tools that write times.
    let epoch: Int64
    /// Files of the build machine shown over files of the tree for as long as a command runs.
    let stubs: [(path: String, file: FilePath)]

    private static let capabilities = [
        "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL", "CAP_MKNOD",
        "CAP_SETFCAP", "CAP_SETGID", "CAP_SETPCAP", "CAP_SETUID", "CAP_SYS_CHROOT",
    ]

    private var command: [String] {
        var arguments = [
            "--bind", root.string, "/", "--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp", "--tmpfs", "/run",
            "--unshare-net", "--unshare-pid", "--unshare-ipc", "--unshare-uts", "--hostname", "ballast",
            "--die-with-parent",
            "--new-session", "--chdir", "/",
        ]
        arguments += ["--cap-drop", "ALL"] + Self.capabilities.flatMap { ["--cap-add", $0] }
        for stub in stubs { arguments += ["--ro-bind", stub.file.string, "/" + stub.path] }
        return arguments
    }

    /// Runs `program` inside, and fails as `what` where it does.
    @discardableResult
    func run(_ what: String, _ program: [String]) async throws(AssemblyFault) -> String {
        let environment = [
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root",
            "LC_ALL": "C.UTF-8",
            "TZ": "UTC", "DEBIAN_FRONTEND": "noninteractive", "DEBCONF_NONINTERACTIVE_SEEN": "true",
            "SOURCE_DATE_EPOCH": String(epoch), "SYSTEMD_OFFLINE": "1", "SYSTEMD_IN_CHROOT": "1", "INITRD": "No",
        ]
        // bwrap's own environment becomes the program's. It takes the filter from a descriptor, which the shell opens.
        let filter = work.appending("sync-filter.bpf")
        let command = Command(
            "sh", ["-c", "exec bwrap --seccomp 9 \"$@\" 9<\"$0\"", filter.string] + command + ["--"] + program,
            environment: environment)
        do throws(CommandFault) {
            do throws(FileIOFault) {
                if !filter.exists { try filter.replaceContents(with: SyncFilter.program) }
            } catch {
                throw CommandFault(.notStarted, "cannot write the sandbox's filter", cause: error)
            }
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
