public import Fault
import Subprocess
public import SystemPackage

#if canImport(Glibc)
    import Glibc
#endif

/// Why another program did not do what it was started for.
public enum CommandFaultCode: String, FaultCode {
    /// The program is not there or may not be run.
    case notStarted = "not-started"
    /// It ended with a status other than 0, or by a signal.
    case failed
}

/// A failure of running another program.
public typealias CommandFault = Fault<CommandFaultCode>

/// Another program with its arguments, started without a shell.
public struct Command: Sendable, CustomStringConvertible {
    /// The program's name, looked up in PATH, or its path.
    public var program: String
    /// Its arguments, without the program's own name.
    public var arguments: [String]
    /// Its whole environment, or nil for this process's own.
    public var environment: [String: String]?
    /// Where it runs, or nil for this process's own directory.
    public var directory: FilePath?

    /// `program` with `arguments`.
    public init(
        _ program: String, _ arguments: [String], environment: [String: String]? = nil, directory: FilePath? = nil
    ) {
        self.program = program
        self.arguments = arguments
        self.environment = environment
        self.directory = directory
    }

    /// The command line as a person would type it, cut where it is long.
    public var description: String {
        let line = ([program] + arguments).joined(separator: " ")
        return line.count <= 160 ? line : line.prefix(160) + "…"
    }

    /// What a finished program left.
    public struct Outcome: Sendable {
        /// The exit status; for a program that a signal ended, 128 and the signal's number.
        public let status: Int
        /// Its standard output.
        public let output: [UInt8]
        /// Its standard error as text.
        public let errorText: String

        /// Its standard output as text.
        public var outputText: String { String(decoding: output, as: UTF8.self) }
    }

    /// Runs the program to its end with `input` on its standard input, and returns what it left, whatever its status.
    ///
    /// - Parameter outputLimit: the most bytes either stream may give; a program that writes more has failed.
    public func outcome(input: [UInt8] = [], outputLimit: Int = 64 << 20) async throws(CommandFault) -> Outcome {
        var variables: Environment = .inherit
        if let environment {
            variables = .custom(
                Dictionary(uniqueKeysWithValues: environment.map { (Environment.Key(stringLiteral: $0.key), $0.value) })
            )
        }
        do {
            let result = try await Subprocess.run(
                program.contains("/") ? .path(FilePath(program)) : .name(program),
                arguments: Arguments(arguments), environment: variables, workingDirectory: directory,
                input: .array(input), output: .bytes(limit: outputLimit), error: .bytes(limit: outputLimit))
            let status =
                switch result.terminationStatus {
                case .exited(let code): Int(code)
                case .signaled(let signal): 128 + Int(signal)
                }
            return Outcome(
                status: status, output: result.standardOutput,
                errorText: String(decoding: result.standardError, as: UTF8.self))
        } catch {
            throw CommandFault(
                .notStarted, "cannot run '\(program)'", remedy: "install the package that has it", cause: error)
        }
    }

    /// Runs the program to its end and returns what it left.
    ///
    /// - Throws: `failed`, with the last lines of its standard error, when its status is not 0.
    @discardableResult
    public func run(input: [UInt8] = [], outputLimit: Int = 64 << 20) async throws(CommandFault) -> Outcome {
        let outcome = try await outcome(input: input, outputLimit: outputLimit)
        guard outcome.status == 0 else {
            let text = outcome.errorText.isEmpty ? outcome.outputText : outcome.errorText
            let tail = text.split(separator: "\n").suffix(12).joined(separator: "\n  ")
            throw CommandFault(
                .failed, "'\(self)' ended with status \(outcome.status)" + (tail.isEmpty ? "" : ":\n  \(tail)"))
        }
        return outcome
    }
}
