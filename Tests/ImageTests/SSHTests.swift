import Assembly
import Command
import Fault
import FileIO
import SystemPackage
import TestSupport
import Testing

extension RealImages {
    /// The first image that a new user makes, and the way into it.
    @Suite("The SSH image", .timeLimit(.minutes(120)))
    struct SSHTests {
        /// The machine's disk, and the key of the person who logs in.
        private struct Machine {
            let disk: FilePath
            let work: FilePath
            let ballast: String

            /// Boots the machine and runs `command` on it as soon as it lets one in.
            func output(of command: String, boot: Int) async throws -> String {
                let log = work.appending("run-\(boot).log")
                let script = """
                    set -u
                    "$1" run "$2" --persist --no-reboot --ssh --ssh-key key.pub --console console-\(boot).log 2>"$3" &
                    machine=$!
                    trap 'kill $machine; wait $machine' EXIT
                    while kill -0 $machine; do
                      port=$(sed -n 's/.* -p \\([0-9]*\\) .*/\\1/p' "$3")
                      timeout 300 ssh -q -i key -p "${port:-1}" -o UserKnownHostsFile=/dev/null -o StrictHostKeyChecking=no \
                        -o BatchMode=yes -o ConnectTimeout=30 root@127.0.0.1 "$4" && exit
                      sleep 2
                    done
                    cat "$3" >&2
                    exit 1
                    """
                let outcome = try await Command(
                    "timeout", ["3600", "sh", "-c", script, "sh", ballast, disk.string, log.string, command],
                    directory: work
                ).outcome()
                guard outcome.status == 0 else {
                    throw Fault<ExpectationCode>(.notMet, "\(outcome.outputText)\n\(outcome.errorText)")
                }
                return outcome.outputText
            }
        }

        private enum ExpectationCode: String, FaultCode { case notMet }

        @Test("a user logs in with an own key, and a host keeps the keys that it made")
        func login() async throws {
            let work = try TemporaryDirectory()
            let output = work.path.appending("out")
            _ = try await TestImage.build(in: work.path, output: output, manifest: "ssh").run { _ in }
            try await Command(
                "ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-f", "key"], directory: work.path
            ).run()
            let disk = try #require(try output.directoryEntries().first { $0.hasSuffix(".raw") })
            let machine = Machine(
                disk: output.appending(disk), work: work.path, ballast: try BuiltExecutable.path("ballast").string)
            let keys = "cat /etc/ssh/ssh_host_ed25519_key.pub; sync"
            let first = try await machine.output(of: keys, boot: 1)
            #expect(first.hasPrefix("ssh-ed25519 "))
            #expect(try await machine.output(of: keys, boot: 2) == first)
        }
    }
}
