import Command
public import Fault
import Glibc
public import SystemPackage

/// What a build needs to give files the owners that packages name, and to run maintainer scripts: to be root, on this machine
/// or in a user namespace.
public enum BuildPrivileges {
    /// newuidmap(1) gives the namespace the ranges that subuid(5) and subgid(5) name; without them only one user would exist
    /// in it.
    private static let namespace = ["--map-user=0", "--map-group=0", "--map-auto", "--"]

    /// Returns for root. For everybody else this process becomes `executable` with `arguments`, as root of a user namespace
    /// in which the caller is user 0 and the caller's subordinate IDs are the others.
    ///
    /// To be called before anything is written or any thread started: nothing of the process stays but its environment.
    ///
    /// - Throws: `invalidRequest` where the machine does not let the caller do that.
    public static func acquire(for executable: FilePath, arguments: [String]) throws(AssemblyFault) {
        guard geteuid() != 0 else { return }
        // Tried with a program that cannot fail: once this process is another one, nobody explains what went wrong.
        do throws(CommandFault) {
            let probe = try Command("unshare", namespace + ["true"]).outcome(withinSeconds: 10)
            guard let probe, probe.status == 0 else {
                throw CommandFault(
                    .failed,
                    probe.map { $0.errorText.prefix(400).split(separator: "\n").joined(separator: ", ") }
                        ?? "unshare does not end")
            }
        } catch {
            throw AssemblyFault(
                .invalidRequest,
                "a build gives files owners, which an ordinary user does in a user namespace only, and none can "
                    + "be made here",
                remedy:
                    "install 'uidmap' and give yourself a range by 'usermod --add-subuids 100000-165535 --add-subgids "
                    + "100000-165535 USER', or build as root",
                cause: error)
        }
        let words = ["unshare"] + namespace + [executable.string] + arguments
        let pointers: [UnsafeMutablePointer<CChar>?] = words.map { strdup($0) } + [nil]
        // This may be a thread of a pool, which blocks the signals that end a program; the next one would inherit that.
        var signals = sigset_t()
        sigemptyset(&signals)
        pthread_sigmask(SIG_SETMASK, &signals, nil)
        execvp("unshare", pointers)
        throw AssemblyFault(.invalidRequest, "cannot run 'unshare'", cause: Errno(rawValue: errno))
    }
}
