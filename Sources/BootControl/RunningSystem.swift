public import Cryptography
public import Fault
public import FileIO
import Glibc
public import SystemPackage

/// What the kernel says of the system that runs: the root hash it was booted with and the disk it runs from.
public struct RunningSystem: Sendable {
    /// Before /proc, /sys and /dev; `/` except in tests.
    private let prefix: FilePath

    /// The system whose /proc, /sys and /dev are below `prefix`.
    public init(prefix: FilePath = "/") {
        self.prefix = prefix
    }

    /// The root hash on the kernel's command line, by which the running slot is known.
    public func rootHash() throws(BootControlFault) -> SHA256Digest {
        let path = prefix.appending("proc/cmdline")
        let text = try attempt("cannot read the kernel's command line") { () throws(FileIOFault) in try path.text() }
        let words = text.split { $0 == " " || $0 == "\n" }
        // The last one counts, as for the kernel and systemd.
        guard let word = words.last(where: { $0.hasPrefix("roothash=") }),
            let hash = SHA256Digest(hexadecimal: word.dropFirst("roothash=".count))
        else {
            throw BootControlFault(
                .notOurs, "the kernel's command line has no roothash", at: .path(path.string),
                remedy: "boot the host from a Ballast image")
        }
        return hash
    }

    /// A value that is another one after each boot.
    public func bootIdentifier() throws(BootControlFault) -> String {
        let path = prefix.appending("proc/sys/kernel/random/boot_id")
        let text = try attempt("cannot read the boot's identifier") { () throws(FileIOFault) in try path.text() }
        return String(text.prefix { $0 != "\n" })
    }

    /// The whole disk below the root file system: through dm-verity to its partitions, and from one of them to the disk.
    ///
    /// - Parameter device: the device of the root file system, where it is not the one that `/` has.
    public func disk(device: DeviceNumber? = nil) throws(BootControlFault) -> FilePath {
        let own = try attempt("cannot read the root file system's device") { () throws(FileIOFault) in
            DeviceNumber(try FileStatus(following: prefix).device)
        }
        let device = device ?? own
        let start = prefix.appending("sys/dev/block/\(device.major):\(device.minor)")
        let name = try diskName(at: start, depth: 0)
        return prefix.appending("dev").appending(name)
    }

    private func diskName(at path: FilePath, depth: Int) throws(BootControlFault) -> String {
        guard depth < 8, let directory = Self.resolved(path) else {
            throw BootControlFault(
                .notOurs, "the root file system is on no disk that the kernel names", at: .path(path.string),
                remedy: "boot the host from a Ballast image")
        }
        let slaves = directory.appending("slaves")
        if let first = (try? slaves.directoryEntries())?.first, let component = FilePath.Component(first) {
            return try diskName(at: slaves.appending(component), depth: depth + 1)
        }
        let isPartition = directory.appending("partition").exists
        let disk = isPartition ? directory.removingLastComponent() : directory
        let properties = try attempt("cannot read the disk's name") { () throws(FileIOFault) in
            try disk.appending("uevent").text()
        }
        guard let line = properties.split(separator: "\n").first(where: { $0.hasPrefix("DEVNAME=") }) else {
            throw BootControlFault(.notOurs, "the kernel does not name the disk's device", at: .path(disk.string))
        }
        return String(line.dropFirst("DEVNAME=".count))
    }

    private static func resolved(_ path: FilePath) -> FilePath? {
        guard let text = realpath(path.string, nil) else { return nil }
        defer { free(text) }
        return FilePath(String(cString: text))
    }

    private func attempt<Result>(
        _ what: String, _ body: () throws(FileIOFault) -> Result
    ) throws(BootControlFault) -> Result {
        do throws(FileIOFault) { return try body() } catch {
            throw BootControlFault(.inputOutput, what, cause: error)
        }
    }
}
