import CLinux
public import Fault
import Glibc
import SystemPackage

extension Command {
    /// Runs the program while the calling thread waits, for callers that must not depend on Swift's thread pool: when all of
    /// its threads wait for something, nothing asynchronous goes on.
    ///
    /// Its standard input is empty. `directory` is not taken into account.
    ///
    /// - Parameters:
    ///   - seconds: the longest time; a program that takes longer is killed with all that it started.
    ///   - outputLimit: the most bytes that are kept of either stream; what comes after them is dropped.
    /// - Returns: what it left, whatever its status, or nil when its time was over.
    public func outcome(withinSeconds seconds: Int, outputLimit: Int = 1 << 20) throws(CommandFault) -> Outcome? {
        let deadline = ContinuousClock.now + .seconds(seconds)
        var output = try Stream(limit: outputLimit)
        var errors = try Stream(limit: outputLimit)
        let child = try spawn(output: output.writeEnd, errors: errors.writeEnd)
        output.closeWriteEnd()
        errors.closeWriteEnd()
        var isInTime = true
        while isInTime, !output.hasEnded || !errors.hasEnded {
            isInTime = Self.wait(for: &output, &errors, until: deadline)
        }
        while isInTime {
            if let status = Self.status(of: child, options: WNOHANG) {
                return Outcome(
                    status: status, output: output.bytes, errorText: String(decoding: errors.bytes, as: UTF8.self))
            }
            isInTime = ContinuousClock.now < deadline
            usleep(5_000)
        }
        kill(-child, SIGKILL)
        _ = Self.status(of: child, options: 0)
        return nil
    }

    /// One pipe from the program.
    private struct Stream: ~Copyable {
        private let readEnd: CInt
        private(set) var writeEnd: CInt
        private let limit: Int
        private(set) var bytes: [UInt8] = []
        private(set) var hasEnded = false

        init(limit: Int) throws(CommandFault) {
            var ends: [CInt] = [-1, -1]
            guard ballast_pipe(&ends) == 0 else {
                throw CommandFault(.notStarted, "no pipe", cause: Errno(rawValue: errno))
            }
            readEnd = ends[0]
            writeEnd = ends[1]
            self.limit = limit
        }

        deinit {
            close(readEnd)
            if writeEnd >= 0 { close(writeEnd) }
        }

        mutating func closeWriteEnd() {
            close(writeEnd)
            writeEnd = -1
        }

        /// What poll(2) is to wait for; nothing after the end.
        var interest: pollfd { pollfd(fd: hasEnded ? -1 : readEnd, events: Int16(POLLIN), revents: 0) }

        mutating func take(_ result: pollfd) {
            guard result.revents != 0 else { return }
            let count = withUnsafeTemporaryAllocation(byteCount: 1 << 14, alignment: 16) { buffer in
                let count = read(readEnd, buffer.baseAddress, buffer.count)
                if count > 0 { bytes.append(contentsOf: buffer[..<min(count, limit - bytes.count)]) }
                return count
            }
            if count == 0 || (count < 0 && errno != EINTR) { hasEnded = true }
        }
    }

    /// - Returns: false when the time is over.
    private static func wait(
        for output: inout Stream, _ errors: inout Stream, until deadline: ContinuousClock.Instant
    ) -> Bool {
        let left = (deadline - .now) / .milliseconds(1)
        guard left > 0 else { return false }
        var interests = [output.interest, errors.interest]
        let count = poll(&interests, nfds_t(interests.count), CInt(min(left.rounded(.up), 60_000)))
        guard count > 0 else { return true }
        output.take(interests[0])
        errors.take(interests[1])
        return true
    }

    private static func status(of child: pid_t, options: CInt) -> Int? {
        var raw: CInt = 0
        while true {
            let found = waitpid(child, &raw, options)
            if found == child { break }
            if found < 0, errno == EINTR { continue }
            // Nobody else waits for our children; without one there is no status to have.
            return found < 0 ? 127 : nil
        }
        let signal = raw & 0x7F
        return signal == 0 ? Int(raw >> 8 & 0xFF) : 128 + Int(signal)
    }

    private func spawn(output: CInt, errors: CInt) throws(CommandFault) -> pid_t {
        var actions = posix_spawn_file_actions_t()
        var attributes = posix_spawnattr_t()
        posix_spawn_file_actions_init(&actions)
        posix_spawnattr_init(&attributes)
        defer {
            posix_spawn_file_actions_destroy(&actions)
            posix_spawnattr_destroy(&attributes)
        }
        posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0)
        posix_spawn_file_actions_adddup2(&actions, output, STDOUT_FILENO)
        posix_spawn_file_actions_adddup2(&actions, errors, STDERR_FILENO)
        // A group of its own, so that what it starts ends with it; and no signal that is blocked or ignored here.
        var signals = sigset_t()
        sigemptyset(&signals)
        posix_spawnattr_setsigmask(&attributes, &signals)
        sigfillset(&signals)
        posix_spawnattr_setsigdefault(&attributes, &signals)
        posix_spawnattr_setpgroup(&attributes, 0)
        let flags = POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF
        posix_spawnattr_setflags(&attributes, Int16(flags))

        var words: [UnsafeMutablePointer<CChar>?] = ([program] + arguments).map { strdup($0) } + [nil]
        var variables: [UnsafeMutablePointer<CChar>?] =
            environment.map { $0.map { strdup("\($0.key)=\($0.value)") } + [nil] } ?? []
        defer { for word in words + variables { free(word) } }
        var child: pid_t = 0
        let status =
            variables.isEmpty
            ? posix_spawnp(&child, program, &actions, &attributes, &words, environ)
            : posix_spawnp(&child, program, &actions, &attributes, &words, &variables)
        guard status == 0 else {
            throw CommandFault(
                .notStarted, "cannot run '\(program)'", remedy: "install the package that has it",
                cause: Errno(rawValue: status))
        }
        return child
    }
}
