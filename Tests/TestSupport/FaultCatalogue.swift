import FileIO
import Glibc
import JSON
import Synchronization
import SystemPackage

/// What Ballast says and does about each fault that the tests cause, for docs/reliability.md: `scripts/test --long` names a file for it by
/// BALLAST_FAULTS. Without that nothing is kept.
public enum FaultCatalogue {
    /// Where a fault comes from: a table each.
    public enum Part: String, Sendable {
        case network, repository, version, host
    }

    private static let order = Mutex(())

    /// Keeps that after `fault` somebody reads `message`, and that `outcome` comes of it.
    public static func note(_ part: Part, _ fault: String, says message: String, then outcome: String) throws {
        guard let path = getenv("BALLAST_FAULTS").map({ FilePath(String(cString: $0)) }) else { return }
        let value: JSONValue = [
            "part": .string(part.rawValue), "fault": .string(fault), "message": .string(message),
            "outcome": .string(outcome),
        ]
        try order.withLock { _ in
            let file = try FileDescriptor.open(
                path, .writeOnly, options: [.append, .create], permissions: [.ownerReadWrite, .groupRead, .otherRead])
            try file.closeAfter { _ = try file.writeAll((value.compactText + "\n").utf8) }
        }
    }
}
