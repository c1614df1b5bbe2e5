import Fault
import JSON

/// Answers one connection's calls, one after the other.
struct VarlinkConnection: Sendable {
    let socket: Socket
    let caller: Caller
    let service: any VarlinkService
    let information: ServiceInformation
    let limits: ServerLimits
    /// Told when a call comes that has an answer, and when that is out.
    let note: @Sendable (_ isAnswering: Bool) -> Void

    init(
        socket: Socket, caller: Caller, service: any VarlinkService, information: ServiceInformation,
        limits: ServerLimits, note: @escaping @Sendable (Bool) -> Void = { _ in }
    ) {
        self.socket = socket
        self.caller = caller
        self.service = service
        self.information = information
        self.limits = limits
        self.note = note
    }

    /// Answers until the caller leaves, is silent for too long or breaks the protocol.
    func run() {
        var reader = MessageReader(socket, limit: limits.messageBytes)
        let writer = MessageWriter(socket)
        do throws(ControlFault) {
            while let bytes = try reader.next(idle: limits.idle, completion: limits.completion) {
                try answer(VarlinkCall(parsing: bytes), writer)
            }
        } catch {
            // There is no call that this answers; a caller that reads at all learns what it did wrong.
            guard error.code == .malformed else { return }
            let reply = VarlinkError(
                ControlFault(
                    .invalid, error.message, remedy: "send one JSON object and a NUL a call, as varlink.org says",
                    cause: error.cause))
            try? writer.send(VarlinkReply(reply.parameters, error: reply.name).json, patience: .seconds(1))
        }
    }

    private func answer(_ call: VarlinkCall, _ writer: MessageWriter) throws(ControlFault) {
        note(true)
        defer { note(false) }
        let request = VarlinkRequest(
            call, from: caller, writer: writer, socket: socket, patience: limits.patience
        ) { note(false) }
        let reply: VarlinkReply
        do throws(VarlinkError) {
            reply = VarlinkReply(try result(of: request))
        } catch {
            reply = VarlinkReply(error.parameters, error: error.name)
        }
        try request.finish(reply)
    }

    private func result(of request: VarlinkRequest) throws(VarlinkError) -> JSONValue {
        let call = request.call
        let (interface, member) = call.names
        guard !interface.isEmpty, !member.isEmpty else { throw .methodNotFound(call.method) }
        guard interface == service.interface || interface == VarlinkError.serviceInterface else {
            throw .interfaceNotFound(interface)
        }
        guard call.mode != .upgrade else { throw .methodNotImplemented(call.method) }
        if interface == service.interface { return try service.answer(request) }
        switch member {
        case "GetInfo":
            try call.refuseParameters(except: [])
            return information.json(interfaces: [service.interface, VarlinkError.serviceInterface])
        case "GetInterfaceDescription":
            try call.refuseParameters(except: ["interface"])
            guard case .string(let name)? = call.parameters["interface"] else { throw .invalidParameter("interface") }
            switch name {
            case service.interface: return ["description": .string(service.interfaceDescription)]
            case VarlinkError.serviceInterface: return ["description": .string(ServiceInformation.interfaceDescription)]
            default: throw .interfaceNotFound(name)
            }
        default: throw .methodNotFound(call.method)
        }
    }
}

extension VarlinkCall {
    /// Refuses parameters that the method does not have, so that a misspelt one is not silently without effect.
    func refuseParameters(except known: Set<String>) throws(VarlinkError) {
        guard case .object(let members) = parameters else { throw .invalidParameter("parameters") }
        if let stranger = members.keys.filter({ !known.contains($0) }).min() { throw .invalidParameter(stranger) }
    }
}

/// What a service says about itself.
public struct ServiceInformation: Sendable, Hashable {
    /// Who makes it.
    public var vendor: String
    /// What it is.
    public var product: String
    /// Its version.
    public var version: String
    /// Where to read about it.
    public var address: String

    /// A service of this name and version.
    public init(vendor: String, product: String, version: String, address: String) {
        self.vendor = vendor
        self.product = product
        self.version = version
        self.address = address
    }

    func json(interfaces: [String]) -> JSONValue {
        [
            "vendor": .string(vendor), "product": .string(product), "version": .string(version),
            "url": .string(address), "interfaces": .array(interfaces.sorted().map { .string($0) }),
        ]
    }

    static let interfaceDescription = """
        # What every Varlink service answers.
        interface org.varlink.service

        # Who this service is, and what interfaces it has.
        method GetInfo() -> (
            vendor: string,
            product: string,
            version: string,
            url: string,
            interfaces: []string
        )

        # An interface in Varlink's definition language.
        method GetInterfaceDescription(interface: string) -> (description: string)

        error InterfaceNotFound (interface: string)

        error MethodNotFound (method: string)

        error MethodNotImplemented (method: string)

        error InvalidParameter (parameter: string)

        error PermissionDenied ()

        error ExpectedMore ()

        """
}
