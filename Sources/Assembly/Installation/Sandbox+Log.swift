import Command
import Fault
import FileIO
import SystemPackage

/// Programs that may run long and say much: dpkg with the maintainer scripts, and the manifest's own scripts.
extension Sandbox {
    /// With less than these bytes a file system is full.
    private static let leastRoom: Int64 = 1 << 20

    /// Runs `program` inside with its output and what it writes to descriptor 3 going to `log`. What it started ends with it.
    ///
    /// - Parameters:
    ///   - what: what it is for, for messages.
    ///   - remedy: what to do where it fails.
    ///   - grown: called each time the log has grown, with where it began to.
    func run(
        _ what: String, _ program: [String], log: InstallationLog, remedy: String,
        grown: @escaping @Sendable (_ start: InstallationLog.Position) throws(AssemblyFault) -> Void = { _ in }
    ) async throws(AssemblyFault) {
        let start = try log.position()
        let command = try command(
            program, redirections: ">>\"$first\" 2>&1 3>>\"$second\"", files: [log.text, log.status])
        let status: Int?
        do {
            status = try await withThrowingTaskGroup(of: Int?.self) { group in
                group.addTask { try await command.outcome().status }
                group.addTask {
                    try await Self.watch(log, from: start, longestSilence: surroundings.longestSilence, grown)
                    return nil
                }
                defer { group.cancelAll() }
                return try await group.next() ?? nil
            }
        } catch {
            throw .during("cannot \(what)", error)
        }
        guard status != 0 else { return }
        // Then the program's own message did not find room either.
        if let room = try? root.availableSpace(), room < Self.leastRoom {
            throw AssemblyFault(
                .inputOutput, "cannot \(what)", at: .path(root.string), remedy: RootDirectory.roomRemedy(root),
                cause: Errno.noSpace)
        }
        let name = FilePath(program.first ?? "").lastComponent?.string ?? "it"
        // dpkg makes some room again before it ends.
        let wasFull = try log.says("\(Errno.noSpace)", since: start)
        throw try log.failure(
            status.map { "cannot \(what): \(name) ended with status \($0)" }
                ?? "cannot \(what): nothing was said for \(surroundings.longestSilence) s", since: start,
            remedy: wasFull ? RootDirectory.roomRemedy(root) : remedy)
    }

    /// Returns when the log has not grown for too long.
    private static func watch(
        _ log: InstallationLog, from start: InstallationLog.Position, longestSilence: Int,
        _ grown: (InstallationLog.Position) throws(AssemblyFault) -> Void
    ) async throws {
        var last = start
        var grewAt = ContinuousClock.now
        while ContinuousClock.now - grewAt < .seconds(longestSilence) {
            try await Task.sleep(for: .milliseconds(200))
            let now = try log.position()
            if now == last { continue }
            try grown(last)
            grewAt = .now
            last = now
        }
    }
}
