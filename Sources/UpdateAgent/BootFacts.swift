package import BootControl
package import BootLoader
import Fault

/// What decides which version boots, as it is on the disk at one moment.
package struct BootFacts: Sendable, Hashable {
    /// What the slot that does not run holds, by its label.
    package enum Other: Sendable, Hashable {
        /// The disk could not be read.
        case unknown
        /// Nothing, or nothing that is still worth booting.
        case empty
        /// A version.
        case version(String)
    }

    /// The version that runs.
    package var running: String
    /// Another one after each boot.
    package var bootIdentifier: String
    /// The entry of this boot where it is counted.
    package var counted: CountedEntry?
    /// How many tries a version gets.
    package var tries: Int
    /// The entries in the order in which the loader tries them.
    package var entries: [BootEntry]
    /// The kernel images on the boot partition.
    package var kernels: [KernelName]
    /// The other slot.
    package var other: Other

    /// Facts, all of them given.
    package init(
        running: String, bootIdentifier: String, counted: CountedEntry?, tries: Int, entries: [BootEntry],
        kernels: [KernelName], other: Other
    ) {
        self.running = running
        self.bootIdentifier = bootIdentifier
        self.counted = counted
        self.tries = tries
        self.entries = entries
        self.kernels = kernels
        self.other = other
    }

    /// The entries of `version` in the loader's order.
    func entries(of version: String) -> [BootEntry] { entries.filter { $0.name.version == version } }

    /// The kernel image of `version`, by its entries or by its name, or nil where that is not certain.
    func kernel(of version: String) -> KernelName? {
        if let entry = entries(of: version).first { return entry.kernel }
        let named = kernels.filter { $0.isOf(version) }
        return named.count == 1 ? named.first : nil
    }

    /// The entry of an activation: where a rename was torn there are two, and the loader's first one counts.
    func entry(_ sequence: Int) -> BootEntry? { entries.first { $0.name.sequence == sequence } }

    /// What the entry of this boot says now.
    var current: BootEntryName.Standing? {
        if let sequence = counted?.sequence { return entry(sequence)?.name.standing }
        return entries(of: running).first?.name.standing
    }
}
