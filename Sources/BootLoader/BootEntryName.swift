/// How a boot entry's file in `loader/entries` is called: `PRODUCT_SEQUENCE_VERSION[+LEFT[-DONE]].conf`, where the counter is that
/// of systemd's Automatic Boot Assessment.
///
/// systemd-boot sorts entries that have no try left last, and all others, which have the same `sort-key`, by their names: the one
/// with the highest sequence first. So what was activated last is what boots.
public struct BootEntryName: Sendable, Hashable, CustomStringConvertible {
    /// What the counter says.
    public enum Standing: Sendable, Hashable {
        /// No counter: it has proved itself, or is not to be counted.
        case good
        /// It may be tried `left` times, of which none may be 0; it was tried `done` times.
        case trying(left: Int, done: Int)
        /// No try is left. systemd-boot takes it only when there is nothing else.
        case bad(done: Int)
    }

    /// The directory of all boot entries, from the root of the EFI system partition.
    public static let directory = "loader/entries"
    /// Sequences are below this.
    public static let sequenceLimit = 1_000_000_000

    /// What it is an image of.
    public let product: String
    /// Which activation it is of, from 1 on. An activation has one entry, whose counter changes.
    public let sequence: Int
    /// The version.
    public let version: String
    /// What its counter says.
    public let standing: Standing

    /// The name of the activation `sequence` of `version` of `product`.
    public init(product: String, sequence: Int, version: String, standing: Standing) {
        self.product = product
        self.sequence = sequence
        self.version = version
        self.standing = standing
    }

    /// The name that a file's name spells, or nil where the file is none of ours.
    public init?(fileName: String) {
        guard fileName.hasSuffix(".conf"), !fileName.hasPrefix(".") else { return nil }
        var stem = fileName.dropLast(5)
        var standing = Standing.good
        if let plus = stem.lastIndex(of: "+") {
            let counter = stem[stem.index(after: plus)...].split(
                separator: "-", maxSplits: 1, omittingEmptySubsequences: false)
            guard let left = counter.first.flatMap(Self.count) else { return nil }
            var done = 0
            if counter.count == 2 {
                guard let count = Self.count(counter[1]) else { return nil }
                done = count
            }
            standing = left == 0 ? .bad(done: done) : .trying(left: left, done: done)
            stem = stem[..<plus]
        }
        let parts = stem.split(separator: "_", maxSplits: 2, omittingEmptySubsequences: false)
        guard parts.count == 3, !parts[0].isEmpty, let sequence = Self.count(parts[1]), sequence > 0,
            !parts[2].isEmpty, !parts[2].contains("+")
        else { return nil }
        self.init(
            product: String(parts[0]), sequence: sequence, version: String(parts[2]), standing: standing)
    }

    private static func count(_ text: Substring) -> Int? {
        guard 1...9 ~= text.utf8.count, text.utf8.allSatisfy({ UInt8(ascii: "0")...UInt8(ascii: "9") ~= $0 }) else {
            return nil
        }
        return Int(text)
    }

    /// The same activation with another counter.
    public func with(_ standing: Standing) -> BootEntryName {
        BootEntryName(product: product, sequence: sequence, version: version, standing: standing)
    }

    /// The file's name.
    public var description: String {
        let counter =
            switch standing {
            case .good: ""
            case .trying(let left, 0): "+\(left)"
            case .trying(let left, let done): "+\(left)-\(done)"
            case .bad(0): "+0"
            case .bad(let done): "+0-\(done)"
            }
        return "\(product)_\(sequence)_\(version)\(counter).conf"
    }
}
