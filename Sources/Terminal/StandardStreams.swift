import Glibc

/// The process's own output, written without buffering so that lines of two streams keep their order.
public enum StandardStreams {
    /// Writes `line` and a newline to standard output.
    ///
    /// Where it cannot be written, the process ends with status 1 and says so: half of an answer is none.
    public static func print(_ line: String) {
        let problem = write(line + "\n", to: STDOUT_FILENO)
        // Nobody reads any more: there is nobody to tell.
        guard problem != 0, problem != EPIPE else { return }
        let program = CommandLine.arguments.first?.split(separator: "/").last.map(String.init) ?? "error"
        report("\(program): standard output cannot be written: \(String(cString: strerror(problem)))")
        report("  have it go where there is room for it, and ask again: what was written is not whole")
        exit(1)
    }

    /// Writes `line` and a newline to standard error.
    public static func report(_ line: String) { write(line + "\n", to: STDERR_FILENO) }

    /// Whether standard error is a terminal, which can show a line that changes.
    public static let errorIsTerminal = isatty(STDERR_FILENO) == 1

    /// - Returns: what went wrong, as errno(3) has it, or 0.
    @discardableResult
    static func write(_ text: String, to descriptor: Int32) -> Int32 {
        let bytes = Array(text.utf8)
        var done = 0
        while done < bytes.count {
            let count = bytes.withUnsafeBytes { buffer in
                Glibc.write(descriptor, buffer.baseAddress.map { $0 + done }, buffer.count - done)
            }
            if count < 0 && errno == EINTR { continue }
            if count < 0 && errno == EAGAIN {
                // A pipe that does not wait, and a reader that is slow.
                var interest = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
                _ = poll(&interest, 1, -1)
                continue
            }
            if count <= 0 { return count < 0 ? errno : EIO }
            done += count
        }
        return 0
    }
}
