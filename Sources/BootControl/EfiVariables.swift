public import BootLoader
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

    /// The entry of this boot as it was called when the loader had taken one try from it; nil where the boot is not counted. A boot
    /// that is counted is not known to be good, and rebooting leads to the other slot in the end, if there is anything in it.
    public var countedEntry: CountedEntry? {
        guard path("LoaderBootCountPath").exists else { return nil }
        let name = text("LoaderBootCountPath")?.split { $0 == "\\" || $0 == "/" }.last
        return CountedEntry(name: name.flatMap { BootEntryName(fileName: String($0)) })
    }

    /// The identifier of the entry that was booted, or nil where systemd-boot says nothing.
    public var selectedEntry: String? { text("LoaderEntrySelected") }

    private func text(_ name: String) -> String? {
        // Four bytes of attributes, then UTF-16 with a zero at its end.
        guard let bytes = try? path(name).contents(limit: 4096), bytes.count > 4 else { return nil }
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

/// The entry of a boot that is being counted.
public struct CountedEntry: Sendable, Hashable {
    /// Its activation; nil where the loader's word cannot be understood.
    public let sequence: Int?
    /// What its counter said when the loader had taken one try from it. What cannot be understood is taken for the last try.
    public let standing: BootEntryName.Standing

    /// The entry `name`.
    public init(name: BootEntryName?) {
        guard let name, name.standing != .good else {
            sequence = name?.sequence
            standing = .bad(done: 0)
            return
        }
        sequence = name.sequence
        standing = name.standing
    }
}
