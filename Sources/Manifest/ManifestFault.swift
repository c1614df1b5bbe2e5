public import Fault
import FileIO
import SystemPackage

/// Why a manifest is refused.
public enum ManifestFaultCode: String, FaultCode {
    /// The file is not YAML.
    case syntax
    /// A key that no manifest has.
    case unknownKey = "unknown-key"
    /// A value of another type than its key takes.
    case wrongType = "wrong-type"
    /// A value of the right type that breaks its key's rule.
    case badValue = "bad-value"
    /// A key that must be there is not.
    case missingKey = "missing-key"
    /// Manifests that include one another.
    case includeCycle = "include-cycle"
    /// An included manifest, or an overlay, that is not there.
    case notFound = "not-found"
    /// A file, a nesting or a number of includes beyond its limit.
    case limit
    /// Something to remove that no included manifest has.
    case nothingToRemove = "nothing-to-remove"
    /// More than one of the above: the message has a line for each.
    case several
}

/// A failure of reading a manifest.
public typealias ManifestFault = Fault<ManifestFaultCode>

extension Fault where Code == ManifestFaultCode {
    /// The manifest that was asked for is not there.
    static func missing(_ path: FilePath) -> ManifestFault {
        let directory = path.removingLastComponent()
        let others = ((try? (directory.isEmpty ? "." : directory).directoryEntries()) ?? []).sorted().filter {
            $0.hasSuffix(".yaml") || $0.hasSuffix(".yml")
        }
        let found = others.prefix(5).joined(separator: ", ")
        return ManifestFault(
            .notFound, "there is no such manifest", at: .path(path.string),
            remedy: "name a file that is there"
                + (others.isEmpty ? "; its directory has no '.yaml'" : ": its directory has \(found)"))
    }
}
