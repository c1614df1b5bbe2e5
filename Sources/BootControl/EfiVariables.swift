import Fault
import FileIO
public import SystemPackage

/// What systemd-boot left in EFI variables for the system that it booted (systemd's Boot Loader Interface).
public struct EfiVariables: Sendable {
    private static let loader = "4a67b082-0a4c-41cf-b6c7-440b29bb8c4f"

    private let directory: FilePath

    /// The variables of the system whose /sys is below `prefix`.
    public init(prefix: FilePath = "/") {
        directory = prefix.appending("sys/firmware/efi/efivars")
    }

    private func path(_ name: String) -> FilePath { directory.appending("\(name)-\(Self.loader)") }

    /// Whether this boot takes one of its entry's tries: then it is not known to be good yet, and rebooting leads, in the
    /// end, to the other slot.
    public var isBootCounted: Bool { path("LoaderBootCountPath").exists }

    /// The identifier of the entry that was booted, or nil where systemd-boot says nothing.
    public var selectedEntry: String? {
        // Four bytes of attributes, then UTF-16 with a zero at its end.
        guard let bytes = try? path("LoaderEntrySelected").contents(limit: 4096), bytes.count > 4 else { return nil }
        var units: [UInt16] = []
        var index = 4
        while index + 1 < bytes.count {
            let unit = UInt16(bytes[index]) | UInt16(bytes[index + 1]) << 8
            if unit == 0 { break }
            units.append(unit)
            index += 2
        }
        return String(decoding: units, as: UTF16.self)
    }
}
