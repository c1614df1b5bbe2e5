public import Fault
import Glibc
import JSON
import Synchronization

/// What a server grants its callers. All of it is there so that no caller can use the server up.
public struct ServerLimits: Sendable, Hashable {
    /// The most bytes of a call.
    public var messageBytes = 64 << 10
    /// The most connections at once.
    public var connections = 64
    /// How many of them are kept free for root.
    public var reservedForRoot = 8
    /// The most connections of one user other than root.
    public var connectionsPerUser = 16
    /// How long a connection may stay open without a call.
    public var idle: Duration = .seconds(120)
    /// How long a call may take from its first byte to its last.
    public var completion: Duration = .seconds(10)
    /// How long a caller may leave its answer unread.
    public var patience: Duration = .seconds(10)

    /// The limits of the agent's server.
    public init() {}
}

/// Answers Varlink calls on a unix socket, each connection on a thread of its own.
public final class VarlinkServer: Sendable {
    private struct State {
        var connections: [Int: (socket: Socket, user: UInt32, isAnswering: Bool)] = [:]
        var nextNumber = 0
        var isStopped = false
    }

    private let listener: ListeningSocket
    private let service: any VarlinkService
    private let information: ServiceInformation
    private let limits: ServerLimits
    private let wakeUp: WakeUp
    private let state = Mutex(State())

    /// A server of `service` on `listener`. Nothing is answered before `run` or `start`.
    public init(
        on listener: ListeningSocket, service: any VarlinkService, information: ServiceInformation,
        limits: ServerLimits = ServerLimits()
    ) throws(ControlFault) {
        self.listener = listener
        self.service = service
        self.information = information
        self.limits = limits
        wakeUp = try WakeUp()
    }

    /// Answers on a thread of the server's own.
    public func start() throws(ControlFault) {
        try DetachedThread.start { self.run() }
    }

    /// Answers until `stop` is called.
    public func run() {
        while !state.withLock({ $0.isStopped }) {
            var entries = [
                pollfd(fd: listener.socket.descriptor, events: Int16(POLLIN), revents: 0),
                pollfd(fd: wakeUp.descriptor, events: Int16(POLLIN), revents: 0),
            ]
            guard poll(&entries, 2, -1) > 0, entries[0].revents != 0 else { continue }
            guard let socket = listener.accept() else {
                // Out of descriptors or memory: others have to give some back first.
                if errno != EINTR && errno != ECONNABORTED && errno != EAGAIN { _ = poll(&entries[1], 1, 100) }
                continue
            }
            accept(socket)
        }
    }

    /// Takes no more connections, ends those that there are, and waits a moment for their threads.
    ///
    /// - Parameter patience: how long calls that are being worked on may take to be answered. Those that take longer go on; their
    ///   answers have no reader.
    public func stop(answeringFor patience: Duration = .zero) {
        state.withLock { $0.isStopped = true }
        wakeUp.raise()
        let answered = ContinuousClock.now + patience
        while state.withLock({ $0.connections.values.contains(where: \.isAnswering) }), ContinuousClock.now < answered {
            _ = poll(nil, 0, 5)
        }
        let sockets = state.withLock { $0.connections.values.map(\.socket) }
        for socket in sockets { socket.shutDown() }
        let deadline = ContinuousClock.now + .seconds(2)
        while connectionCount > 0, ContinuousClock.now < deadline { _ = poll(nil, 0, 5) }
    }

    /// How many connections there are.
    package var connectionCount: Int { state.withLock { $0.connections.count } }

    private func accept(_ socket: Socket) {
        guard let caller = try? Caller(of: socket) else { return }
        guard let number = admit(socket, user: caller.user) else { return refuse(socket) }
        let connection = VarlinkConnection(
            socket: socket, caller: caller, service: service, information: information, limits: limits
        ) { isAnswering in
            self.state.withLock { $0.connections[number]?.isAnswering = isAnswering }
        }
        do throws(ControlFault) {
            try DetachedThread.start {
                connection.run()
                self.leave(number)
            }
        } catch {
            leave(number)
            refuse(socket)
        }
    }

    private func leave(_ number: Int) {
        _ = state.withLock { $0.connections.removeValue(forKey: number) }
    }

    private func admit(_ socket: Socket, user: UInt32) -> Int? {
        state.withLock { state in
            guard !state.isStopped, state.connections.count < limits.connections else { return nil }
            if user != 0 {
                // One user's open connections must not keep an operator out.
                guard state.connections.count < limits.connections - limits.reservedForRoot,
                    state.connections.values.count(where: { $0.user == user }) < limits.connectionsPerUser
                else { return nil }
            }
            state.nextNumber &+= 1
            state.connections[state.nextNumber] = (socket, user, false)
            return state.nextNumber
        }
    }

    private func refuse(_ socket: Socket) {
        let error = VarlinkError(
            ControlFault(.busy, "too many connections", remedy: "close some, such as 'ballastctl watch', and try again")
        )
        MessageWriter(socket).offer(VarlinkReply(error.parameters, error: error.name).json)
    }
}
