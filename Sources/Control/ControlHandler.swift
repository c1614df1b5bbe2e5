public import Fault
public import JSON

/// The agent behind the control socket.
public protocol ControlHandler: Sendable {
    /// Does what `method` asks and returns the answer's document: an object, and for `history` and `doctor` an array, oldest first.
    /// Whether the caller may ask this has been decided. Runs on the connection's thread and may block; callers that leave
    /// do not end it.
    ///
    /// - Parameters:
    ///   - hasLeft: whether the caller has left, so that nobody waits for the answer.
    ///   - progress: takes documents that say how far an update is; never blocks, from any thread. The first one
    ///     should come as soon as the job has begun, since callers that do not wait for the end wait for it.
    /// - Throws: a `Fault` of any module. What its code means to callers is `ControlFault.init(answering:)`'s to say.
    func call(
        _ method: UpdateMethod, caller: Caller, hasLeft: @escaping @Sendable () -> Bool,
        progress: @escaping @Sendable (JSONValue) -> Void
    ) throws -> JSONValue

    /// Calls `observer`, from any thread, with the current status and with each that follows.
    ///
    /// - Returns: what ends it; called once.
    func watch(_ observer: @escaping @Sendable (JSONValue) -> Void) -> @Sendable () -> Void
}

/// `io.ballast.Update`: decides who may ask what, reads parameters, and wraps the handler's answers.
public struct ControlService: VarlinkService {
    /// Where the agent listens.
    public static let defaultPath = "/run/ballast/io.ballast.Update"
    /// The group whose members may change the host.
    public static let defaultGroup = "ballast"

    /// The interface's name.
    public var interface: String { UpdateInterface.name }
    /// The interface's definition.
    public var interfaceDescription: String { UpdateInterface.description }

    private let handler: any ControlHandler
    private let group: String
    private let definition: InterfaceDefinition

    /// The interface in front of `handler`; members of `group` may change what root may.
    public init(
        _ handler: any ControlHandler, group: String = ControlService.defaultGroup
    ) throws(ControlFault) {
        self.handler = handler
        self.group = group
        definition = try InterfaceDefinition(parsing: UpdateInterface.description)
    }

    /// Answers one call.
    public func answer(_ request: VarlinkRequest) throws(VarlinkError) -> JSONValue {
        let name = request.call.names.member
        guard let known = definition.methods[name] else { throw .methodNotFound(request.call.method) }
        // A misspelt parameter must not be silently without effect.
        if let wrong = definition.wrongParameter(request.call.parameters, of: known.parameters) {
            throw .invalidParameter(wrong)
        }
        if name == "Watch" { return try watch(request) }
        let method = try UpdateMethod(name, request.call)
        if method.isPrivileged, !request.caller.isRoot(orIn: group) {
            throw VarlinkError(
                ControlFault(
                    .notPermitted,
                    "user \(request.caller.user) may not do this: only root and members of the group '\(group)' may",
                    remedy: "run it as root, or add the user to the group '\(group)' and log in again"))
        }
        do {
            let answer = try handler.call(method, caller: request.caller, hasLeft: { request.hasCallerLeft }) {
                request.offer(["progress": $0])
            }
            switch method {
            case .status: return ["status": answer]
            case .update: return ["result": answer]
            case .history(let limit, _): return ["events": .array(Self.newest(of: answer, limit: limit))]
            case .events: return Self.oldest(of: answer)
            case .doctor: return ["findings": answer]
            case .check, .reboot, .rollback, .pin, .unpin, .deny, .allow, .logs, .acknowledgeEvents: return answer
            }
        } catch let fault as any AnyFault {
            throw VarlinkError(ControlFault(answering: fault))
        } catch {
            throw VarlinkError(ControlFault(.failed, "\(error)"))
        }
    }

    /// Never ends by itself: the answer that closes the stream has nobody to read it.
    private func watch(_ request: VarlinkRequest) throws(VarlinkError) -> JSONValue {
        guard request.call.mode == .more else { throw .expectedMore }
        let queue: NewsQueue
        do throws(ControlFault) { queue = try NewsQueue() } catch { throw VarlinkError(error) }
        let end = handler.watch { queue.add(["status": $0]) }
        defer { end() }
        request.forward(queue)
        return [:]
    }

    /// The page with no more than an answer of less than 1 MiB holds: whoever wants the rest asks again.
    private static func oldest(of page: JSONValue) -> JSONValue {
        guard case .object(var members) = page, case .array(let events)? = members["events"] else { return page }
        var room = answerBytes
        members["events"] = .array(
            Array(
                events.prefix {
                    room -= $0.compactText.utf8.count + 1
                    return room >= 0
                }))
        return .object(members)
    }

    private static let answerBytes = 1_000_000

    /// The last `limit` events, and no more than an answer of less than 1 MiB holds.
    private static func newest(of answer: JSONValue, limit: Int?) -> [JSONValue] {
        guard case .array(let events) = answer else { return [] }
        var room = answerBytes
        var kept: [JSONValue] = []
        for event in events.suffix(limit ?? events.count).reversed() {
            room -= event.compactText.utf8.count + 1
            if room < 0 { break }
            kept.append(event)
        }
        return kept.reversed()
    }
}

extension VarlinkServer {
    /// The agent's server: on the socket that systemd passed, or else on a new one at `path`.
    public convenience init(
        _ handler: any ControlHandler, at path: String = ControlService.defaultPath,
        group: String = ControlService.defaultGroup, version: String, limits: ServerLimits = ServerLimits()
    ) throws(ControlFault) {
        let listener: ListeningSocket
        if let activated = try ListeningSocket.activated() {
            listener = activated
        } else {
            listener = try ListeningSocket(path: path)
        }
        try self.init(
            on: listener, service: try ControlService(handler, group: group),
            information: ServiceInformation(
                vendor: "Ballast", product: "ballastd", version: version, address: UpdateInterface.address),
            limits: limits)
    }
}
