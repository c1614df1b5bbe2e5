/// How a unified kernel image in `EFI/Linux` is called: `PRODUCT_VERSION[+LEFT[-DONE]].efi`, where the counter is that of
/// systemd's Automatic Boot Assessment.
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

    /// What it is an image of.
    public let product: String
    /// The version.
    public let version: String
    /// What its counter says.
    public let standing: Standing

    /// The name of `version` of `product`.
    public init(product: String, version: String, standing: Standing) {
        self.product = product
        self.version = version
        self.standing = standing
    }

    /// The name that a file's name spells, or nil where the file is none of ours.
    public init?(fileName: String) {
        guard fileName.hasSuffix(".efi"), !fileName.hasPrefix(".") else { return nil }
        var stem = fileName.dropLast(4)
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
        guard let underscore = stem.firstIndex(of: "_") else { return nil }
        let product = stem[..<underscore]
        let version = stem[stem.index(after: underscore)...]
        guard !product.isEmpty, !version.isEmpty, !version.contains("+") else { return nil }
        self.init(product: String(product), version: String(version), standing: standing)
    }

    private static func count(_ text: Substring) -> Int? {
        guard 1...9 ~= text.utf8.count, text.utf8.allSatisfy({ UInt8(ascii: "0")...UInt8(ascii: "9") ~= $0 }) else {
            return nil
        }
        return Int(text)
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
        return "\(product)_\(version)\(counter).efi"
    }
}
