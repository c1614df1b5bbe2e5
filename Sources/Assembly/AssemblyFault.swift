public import Fault

/// Why an image could not be built.
public enum AssemblyFaultCode: String, FaultCode {
    /// A package is damaged, dangerous or in conflict with another.
    case badPackage = "bad-package"
    /// Something the manifest asks for is not in the image.
    case missing
    /// A maintainer script or another program failed.
    case configuration
    /// A part does not fit into its partition.
    case noRoom = "no-room"
    /// The build machine could not read or write a file.
    case inputOutput = "input-output"
    /// The manifest, the lock and the request contradict each other.
    case invalidRequest = "invalid-request"
    /// The build was asked to end before its time.
    case interrupted
}

/// A failure of building an image.
public typealias AssemblyFault = Fault<AssemblyFaultCode>

extension Fault where Code == AssemblyFaultCode {
    /// Passes on the failure of a module below, said to have happened while doing `what`.
    static func during(_ what: String, at place: Place? = nil, _ cause: any Error) -> AssemblyFault {
        if cause is CancellationError {
            return AssemblyFault(.interrupted, "the build was interrupted; nothing was delivered")
        }
        if let fault = cause as? AssemblyFault { return fault }
        return AssemblyFault(.inputOutput, what, at: place, cause: cause)
    }
}

/// Runs `body` and gives any failure of the modules below the sentence `what`.
func attempt<Result>(
    _ what: @autoclosure () -> String, at place: @autoclosure () -> Place? = nil, _ body: () throws -> Result
) throws(AssemblyFault) -> Result {
    do { return try body() } catch { throw .during(what(), at: place(), error) }
}
