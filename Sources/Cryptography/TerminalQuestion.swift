import CCrypto
import Fault
import Glibc

/// A question on the controlling terminal whose answer is not shown.
enum TerminalQuestion {
    /// Asks with `prompt`, whatever standard input and output are connected to.
    static func ask(_ prompt: String) throws(CryptographyFault) -> Passphrase {
        let terminal = open("/dev/tty", O_RDWR | O_CLOEXEC)
        guard terminal >= 0 else {
            throw CryptographyFault(
                .noPassphrase, "a passphrase is needed, and there is no terminal to ask on",
                remedy: "set \(PassphraseSource.variable) or use --passphrase-fd")
        }
        defer { close(terminal) }
        var before = termios()
        guard tcgetattr(terminal, &before) == 0 else {
            throw CryptographyFault(.noPassphrase, "the terminal cannot be set to hide the passphrase")
        }
        var quiet = before
        // Without ISIG an interrupt comes as a character: a signal would end the process with the echo still off.
        quiet.c_lflag &= ~tcflag_t(ECHO | ICANON | ISIG)
        guard tcsetattr(terminal, TCSAFLUSH, &quiet) == 0 else {
            throw CryptographyFault(.noPassphrase, "the terminal cannot be set to hide the passphrase")
        }
        defer { tcsetattr(terminal, TCSAFLUSH, &before) }
        write(prompt, to: terminal)
        guard let line = try answer(from: terminal) else {
            // Now that the terminal is as it was, what the key is for may happen.
            tcsetattr(terminal, TCSAFLUSH, &before)
            // To the process: this thread may be one that takes no signals.
            kill(getpid(), SIGINT)
            throw CryptographyFault(.noPassphrase, "interrupted")
        }
        return line
    }

    private static func answer(from terminal: Int32) throws(CryptographyFault) -> Passphrase? {
        defer { write("\n", to: terminal) }
        return try readLine(from: terminal)
    }

    /// - Returns: nil where it was interrupted.
    private static func readLine(from terminal: Int32) throws(CryptographyFault) -> Passphrase? {
        var line: [UInt8] = []
        // Growing would leave copies behind that nobody overwrites.
        line.reserveCapacity(1024)
        defer { OPENSSL_cleanse(&line, line.count) }
        while line.count < 1024 {
            var byte: UInt8 = 0
            let count = read(terminal, &byte, 1)
            if count < 0, errno == EINTR { continue }
            switch byte {
            case _ where count <= 0, 0x0A, 0x0D: return Passphrase(line)
            case 0x03, 0x1C: return nil
            case 0x04 where line.isEmpty: throw CryptographyFault(.noPassphrase, "no passphrase was given")
            case 0x08, 0x7F: _ = line.popLast()
            default: line.append(byte)
            }
        }
        return Passphrase(line)
    }

    private static func write(_ text: String, to terminal: Int32) {
        let bytes = Array(text.utf8)
        _ = Glibc.write(terminal, bytes, bytes.count)
    }
}
