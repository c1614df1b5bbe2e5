public import Fault
package import JSON

/// Why a call to the agent was not answered as asked. The agent's own kinds come first; the raw value is what
/// `ballastctl --format json` prints.
public enum ControlFaultCode: String, FaultCode, CaseIterable {
    /// Another job runs.
    case busy
    /// The version is denied on this host, or the host is pinned to another one.
    case denied
    /// A restart is held back by a window, an inhibitor, a gate or a drain.
    case held
    /// There is no such version.
    case notFound = "not-found"
    /// The other slot holds nothing that was good here.
    case nothingGood = "nothing-good"
    /// The repository's signatures, digests or order of versions do not hold.
    case untrusted
    /// The repository's metadata has expired.
    case expired
    /// Something could not be fetched.
    case transfer
    /// The image does not fit, or the disk is full.
    case noSpace = "no-space"
    /// The caller may not do this.
    case notPermitted = "not-permitted"
    /// A parameter or a setting of the host is not valid.
    case invalid
    /// Anything else that went wrong in the agent.
    case failed

    /// The agent does not know the method: it is older than its caller.
    case unsupported
    /// Nobody listens at the socket.
    case notRunning = "not-running"
    /// The other side went away before its answer was complete, or let it wait for too long.
    case disconnected
    /// What the other side sent is no Varlink.
    case malformed
    /// The socket could not be made.
    case socket

    /// The error's name in `io.ballast.Update`, or nil for what only one side of a connection can see.
    var memberName: String? {
        switch self {
        case .busy: "Busy"
        case .denied: "Denied"
        case .held: "Held"
        case .notFound: "NotFound"
        case .nothingGood: "NothingGood"
        case .untrusted: "Untrusted"
        case .expired: "Expired"
        case .transfer: "Transfer"
        case .noSpace: "NoSpace"
        case .notPermitted: "NotPermitted"
        case .invalid: "Invalid"
        case .failed: "Failed"
        case .unsupported, .notRunning, .disconnected, .malformed, .socket: nil
        }
    }
}

/// A failure of the control protocol, or of the agent as its caller sees it.
public typealias ControlFault = Fault<ControlFaultCode>

extension Fault where Code == ControlFaultCode {
    /// The agent's `fault` as its callers get it: one of the protocol's kinds, the whole sentence, and the remedy.
    ///
    /// Kinds of a fault that the protocol does not tell apart become the nearest one, unknown ones `failed`.
    public init(answering fault: any AnyFault) {
        let code: ControlFaultCode =
            switch fault.codeName {
            case "pinned": .denied
            case "rolled-back", "mismatch": .untrusted
            case "unconfigured": .invalid
            case let name:
                ControlFaultCode(rawValue: name).flatMap { $0.memberName == nil ? nil : $0 } ?? .failed
            }
        var message = fault.place.map { "\($0): " } ?? ""
        message += fault.message
        if let cause = fault.cause { message += ": \(cause)" }
        self.init(code, message, remedy: fault.remedy)
    }

    /// What the error reply `name` with `parameters` means.
    package init(error name: String, parameters: JSONValue) {
        func text(_ key: String) -> String? { if case .string(let text)? = parameters[key] { text } else { nil } }
        let parts = name.split(separator: ".")
        let member = parts.last.map(String.init) ?? name
        let interface = parts.dropLast().joined(separator: ".")
        if interface == UpdateInterface.name,
            let code = ControlFaultCode.allCases.first(where: { $0.memberName == member })
        {
            self.init(code, text("message") ?? member, remedy: text("remedy"))
            return
        }
        switch (interface, member) {
        case (VarlinkError.serviceInterface, "MethodNotFound"), (VarlinkError.serviceInterface, "MethodNotImplemented"),
            (VarlinkError.serviceInterface, "InterfaceNotFound"):
            let what = text("method") ?? text("interface") ?? "the method"
            self.init(
                .unsupported, "the agent does not know '\(what)'",
                remedy: "use the ballastctl that came with the running image")
        case (VarlinkError.serviceInterface, "InvalidParameter"):
            self.init(.invalid, "the agent does not take the parameter '\(text("parameter") ?? "")'")
        case (VarlinkError.serviceInterface, "PermissionDenied"):
            self.init(.notPermitted, "the agent refuses the caller")
        default: self.init(.failed, text("message") ?? "the agent answered '\(name)'", remedy: text("remedy"))
        }
    }
}
