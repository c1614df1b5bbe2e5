/// What went wrong, as one sentence a person can act on, with the typed code a program can branch on.
///
/// Every module names its own codes and gives its error a name: `public typealias ErofsFault = Fault<ErofsFaultCode>`.
/// A new code never breaks a caller that treats the unknown ones alike.
public struct Fault<Code: FaultCode>: Error {
    /// The module's own name for this kind of failure.
    public let code: Code
    /// What was being done and what was found instead of what was expected, without the place.
    public let message: String
    /// Where: a file, a position in it, an offset, an address.
    public let place: Place?
    /// What the person can do, as an imperative clause.
    public let remedy: String?
    /// The failure below this one.
    public let cause: (any Error)?

    /// A failure of kind `code`, seen at `place`.
    public init(
        _ code: Code, _ message: String, at place: Place? = nil, remedy: String? = nil, cause: (any Error)? = nil
    ) {
        self.code = code
        self.message = message
        self.place = place
        self.remedy = remedy
        self.cause = cause
    }
}

/// The codes of one module's failures. The raw value is the name that logs, JSON output and exit codes use.
public protocol FaultCode: RawRepresentable<String>, Sendable, Hashable {}

/// A fault of any module, for those who only report it.
public protocol AnyFault: Error, CustomStringConvertible {
    /// The code's raw value, such as `expired`.
    var codeName: String { get }
    /// The sentence without its place.
    var message: String { get }
    /// Where it happened.
    var place: Place? { get }
    /// What the person can do.
    var remedy: String? { get }
    /// The failure below.
    var cause: (any Error)? { get }
}

extension Fault: AnyFault {
    /// The code's raw value.
    public var codeName: String { code.rawValue }

    /// `place: message: cause; remedy`, on one line.
    public var description: String {
        var text = place.map { "\($0): " } ?? ""
        text += message
        if let cause { text += ": \(cause)" }
        // A cause that is passed on may have said it already.
        if let remedy, !text.hasSuffix(remedy) { text += "; \(remedy)" }
        return text
    }
}

extension AnyFault {
    /// The sentence and, one indented line each, the chain of causes: what `--verbose` prints.
    public var explanation: String {
        var lines = [description, "  code: \(codeName)"]
        var next = cause
        while let fault = next {
            lines.append("  because: \(fault)")
            next = (fault as? any AnyFault)?.cause
        }
        return lines.joined(separator: "\n")
    }
}
