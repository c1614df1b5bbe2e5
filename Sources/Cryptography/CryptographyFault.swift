import CCrypto
public import Fault

/// Why a key could not be made, kept or used.
public enum CryptographyFaultCode: String, FaultCode {
    /// The file is no encrypted private key of the kind that is used here.
    case notAKey = "not-a-key"
    /// The passphrase does not open the key.
    case wrongPassphrase = "wrong-passphrase"
    /// No passphrase was given and nobody can be asked.
    case noPassphrase = "no-passphrase"
    /// There is a key of that name already.
    case exists
    /// The file could not be read or written.
    case file
    /// libcrypto refused; the message has its words.
    case library
}

/// A failure of making, keeping or using keys.
public typealias CryptographyFault = Fault<CryptographyFaultCode>

extension Fault where Code == CryptographyFaultCode {
    /// What libcrypto put last in this thread's queue of errors, which is empty afterwards.
    static func last(_ what: String, at place: Place? = nil) -> CryptographyFault {
        var text = [CChar](repeating: 0, count: 256)
        ERR_error_string_n(ERR_peek_last_error(), &text, text.count)
        ERR_clear_error()
        let words = String(decoding: text.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
        return CryptographyFault(.library, "\(what): \(words)", at: place)
    }
}
