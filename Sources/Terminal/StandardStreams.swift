import Glibc

/// The process's own output, written without buffering so that lines of two streams keep their order.
public enum StandardStreams {
    /// Writes `line` and a newline to standard output.
    public static func print(_ line: String) { write(line + "\n", to: STDOUT_FILENO) }

    /// Writes `line` and a newline to standard error.
    public static func report(_ line: String) { write(line + "\n", to: STDERR_FILENO) }

    /// Whether standard error is a terminal, which can show a line that changes.
    public static let errorIsTerminal = isatty(STDERR_FILENO) == 1

    static func write(_ text: String, to descriptor: Int32) {
        let bytes = Array(text.utf8)
        var done = 0
        while done < bytes.count {
            let count = bytes.withUnsafeBytes { buffer in
                Glibc.write(descriptor, buffer.baseAddress.map { $0 + done }, buffer.count - done)
            }
            if count < 0 && errno == EINTR { continue }
            // Nobody reads any more: there is nobody to tell.
            if count <= 0 { return }
            done += count
        }
    }
}
