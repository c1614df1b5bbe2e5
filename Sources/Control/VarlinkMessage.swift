public import Fault
public import JSON

/// A method call as it travels (<https://varlink.org/Method-Call>).
public struct VarlinkCall: Sendable, Hashable {
    /// How many answers the caller wants.
    public enum Mode: String, Sendable, Hashable {
        /// One.
        case single
        /// Any number; all but the last say that more follow.
        case more
        /// None, not even an error.
        case oneway
        /// One, and then the connection speaks another protocol.
        case upgrade
    }

    /// The interface, a dot and the method's name.
    public var method: String
    /// An object.
    public var parameters: JSONValue
    /// How many answers the caller wants.
    public var mode: Mode

    /// A call of `method`.
    public init(_ method: String, _ parameters: JSONValue = [:], mode: Mode = .single) {
        self.method = method
        self.parameters = parameters
        self.mode = mode
    }

    /// Reads the message `bytes`, without its NUL.
    ///
    /// - Throws: `malformed` where it is no call. Members that no reader knows are passed over, as Varlink demands.
    package init(parsing bytes: [UInt8]) throws(ControlFault) {
        do throws(JSONFault) {
            let root = try JSONCursor(parsing: bytes, source: "call")
            method = try root.field("method").string()
            let parameters = try root.optional("parameters")
            _ = try parameters?.members()
            self.parameters = parameters?.value ?? [:]
            var modes: [Mode] = []
            for mode in [Mode.more, .oneway, .upgrade] where try root.optional(mode.rawValue)?.bool() ?? false {
                modes.append(mode)
            }
            guard modes.count < 2 else { throw root.unexpected("'more', 'oneway' and 'upgrade' exclude one another") }
            mode = modes.first ?? .single
        } catch { throw ControlFault(.malformed, "no Varlink message", cause: error) }
    }

    /// The message, without its NUL.
    package var json: JSONValue {
        var members: [String: JSONValue] = ["method": .string(method), "parameters": parameters]
        if mode != .single { members[mode.rawValue] = true }
        return .object(members)
    }

    /// The interface, and the method's name in it. An interface is empty where there is no dot.
    package var names: (interface: String, member: String) {
        guard let dot = method.lastIndex(of: ".") else { return ("", method) }
        return (String(method[..<dot]), String(method[method.index(after: dot)...]))
    }
}

/// An answer as it travels.
package struct VarlinkReply: Sendable, Hashable {
    /// What comes back, or what is known about the error: an object.
    package var parameters: JSONValue
    /// The error's full name.
    package var error: String?
    /// Whether more answers follow.
    package var continues: Bool

    package init(_ parameters: JSONValue, error: String? = nil, continues: Bool = false) {
        self.parameters = parameters
        self.error = error
        self.continues = continues
    }

    package init(parsing bytes: [UInt8]) throws(ControlFault) {
        do throws(JSONFault) {
            let root = try JSONCursor(parsing: bytes, source: "reply")
            let parameters = try root.optional("parameters")
            _ = try parameters?.members()
            self.parameters = parameters?.value ?? [:]
            error = try root.optional("error")?.string()
            continues = try root.optional("continues")?.bool() ?? false
        } catch { throw ControlFault(.malformed, "no Varlink message", cause: error) }
    }

    package var json: JSONValue {
        var members: [String: JSONValue] = ["parameters": parameters]
        if let error { members["error"] = .string(error) }
        if continues { members["continues"] = true }
        return .object(members)
    }
}

/// An error as a method answers it.
public struct VarlinkError: Error, Sendable, Hashable {
    /// The interface that every service has.
    static let serviceInterface = "org.varlink.service"

    /// The error's full name.
    public var name: String
    /// What is known about it: an object.
    public var parameters: JSONValue

    /// The error `name`.
    public init(_ name: String, _ parameters: JSONValue = [:]) {
        self.name = name
        self.parameters = parameters
    }

    /// `org.varlink.service.MethodNotFound`.
    public static func methodNotFound(_ method: String) -> VarlinkError {
        VarlinkError("\(serviceInterface).MethodNotFound", ["method": .string(method)])
    }

    /// `org.varlink.service.MethodNotImplemented`.
    public static func methodNotImplemented(_ method: String) -> VarlinkError {
        VarlinkError("\(serviceInterface).MethodNotImplemented", ["method": .string(method)])
    }

    /// `org.varlink.service.InterfaceNotFound`.
    public static func interfaceNotFound(_ interface: String) -> VarlinkError {
        VarlinkError("\(serviceInterface).InterfaceNotFound", ["interface": .string(interface)])
    }

    /// `org.varlink.service.InvalidParameter`.
    public static func invalidParameter(_ parameter: String) -> VarlinkError {
        VarlinkError("\(serviceInterface).InvalidParameter", ["parameter": .string(parameter)])
    }

    /// `org.varlink.service.ExpectedMore`.
    public static let expectedMore = VarlinkError("\(serviceInterface).ExpectedMore")

    /// The error of `io.ballast.Update` that `fault` is.
    public init(_ fault: ControlFault) {
        let member = fault.code.memberName ?? "Failed"
        var message = fault.message
        if let cause = fault.cause { message += ": \(cause)" }
        self.init(
            "\(UpdateInterface.name).\(member)",
            ["message": .string(message), "remedy": fault.remedy.map { .string($0) } ?? .null])
    }
}
