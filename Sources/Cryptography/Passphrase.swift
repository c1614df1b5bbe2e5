import CCrypto
public import Fault
import Glibc

/// What opens a private key. Its bytes are overwritten when the last reference goes.
public final class Passphrase: Sendable {
    // Zero-terminated, for libcrypto; written only here and in `deinit`.
    private nonisolated(unsafe) let storage: UnsafeMutableBufferPointer<CChar>

    /// A passphrase of these bytes, up to the first zero.
    public init(_ bytes: some Collection<UInt8>) {
        let bytes = bytes.prefix { $0 != 0 }
        storage = .allocate(capacity: bytes.count + 1)
        storage.initialize(repeating: 0)
        for (index, byte) in bytes.enumerated() { storage[index] = CChar(bitPattern: byte) }
    }

    deinit {
        OPENSSL_cleanse(storage.baseAddress, storage.count)
        storage.deallocate()
    }

    /// Whether there is nothing in it.
    public var isEmpty: Bool { storage.count <= 1 }

    func equals(_ other: Passphrase) -> Bool { storage.elementsEqual(other.storage) }

    func withCString<Result>(_ body: (UnsafePointer<CChar>?, Int) -> Result) -> Result {
        body(storage.baseAddress.map { UnsafePointer($0) }, storage.count - 1)
    }
}

/// Where a passphrase comes from.
public enum PassphraseSource: Sendable {
    /// The first line that an open file descriptor gives.
    case descriptor(Int32)
    /// The environment: `BALLAST_PASSPHRASE` if it is set, a question on the terminal if not.
    case environmentOrPrompt

    /// The variable's name.
    public static let variable = "BALLAST_PASSPHRASE"

    /// Gets the passphrase.
    ///
    /// - Parameters:
    ///   - purpose: what it is for, as the question says it: `the key root.pem`.
    ///   - confirmed: whether a person is asked twice, as for a new key.
    /// - Throws: `noPassphrase` where it is empty, or nobody can be asked.
    public func passphrase(for purpose: String, confirmed: Bool = false) throws(CryptographyFault) -> Passphrase {
        let passphrase: Passphrase
        switch self {
        case .descriptor(let descriptor):
            passphrase = try Self.firstLine(of: descriptor)
        case .environmentOrPrompt:
            if let value = getenv(Self.variable) {
                passphrase = Passphrase(String(cString: value).utf8)
            } else {
                passphrase = try TerminalQuestion.ask("Passphrase for \(purpose): ")
                if confirmed {
                    guard try TerminalQuestion.ask("The same once more: ").equals(passphrase) else {
                        throw CryptographyFault(.wrongPassphrase, "the two passphrases differ", remedy: "try again")
                    }
                }
            }
        }
        guard !passphrase.isEmpty else {
            throw CryptographyFault(
                .noPassphrase, "the passphrase for \(purpose) is empty", remedy: "choose one; keys are always encrypted"
            )
        }
        return passphrase
    }

    private static func firstLine(of descriptor: Int32) throws(CryptographyFault) -> Passphrase {
        var line = [UInt8](repeating: 0, count: 1025)
        defer { OPENSSL_cleanse(&line, line.count) }
        var count = 0
        // Byte by byte, because what follows the line belongs to whoever reads the descriptor next.
        while count < line.count {
            let done = line.withUnsafeMutableBytes { Glibc.read(descriptor, $0.baseAddress.map { $0 + count }, 1) }
            if done < 0, errno == EINTR { continue }
            guard done >= 0 else {
                throw CryptographyFault(
                    .noPassphrase, "no passphrase can be read from file descriptor \(descriptor)",
                    remedy: "open it in the shell, as in '--passphrase-fd 3 3<FILE'")
            }
            if done == 0 || line[count] == UInt8(ascii: "\n") { break }
            count += 1
        }
        guard count < line.count else {
            throw CryptographyFault(
                .noPassphrase, "the passphrase from file descriptor \(descriptor) has more than 1024 bytes",
                remedy: "give its first line no more")
        }
        return Passphrase(line[..<count])
    }
}
