public import Fault

/// A version in the UAPI Group's Version Format Specification, and its order, which is that of
/// `systemd-analyze compare-versions`.
///
/// Two versions with the same place in the order (`1.0` and `1.00`) are equal.
public struct ImageVersion: Sendable, Hashable, Comparable, CustomStringConvertible {
    /// The most characters a version may have here: it becomes part of file names and labels.
    public static let lengthLimit = 64

    private let text: String

    /// The version that `text` spells.
    ///
    /// - Throws: `invalidVersion` unless it has 1 to 64 of the characters `a-z A-Z 0-9 . - ~ ^` and begins with a letter or
    ///   digit. `_` and `+`, which the specification merely advises against, separate the version from its neighbours in
    ///   names of files.
    public init(_ text: some StringProtocol) throws(ReleaseFault) {
        let bytes = Array(text.utf8)
        guard let first = bytes.first, bytes.count <= Self.lengthLimit, Self.isDigit(first) || Self.isLetter(first),
            bytes.allSatisfy({ Self.isMeaningful($0) })
        else {
            throw ReleaseFault(
                .invalidVersion, "'\(String(text.prefix(80)).excerpt())' is no version",
                remedy: "use 1 to \(Self.lengthLimit) letters, digits and . - ~ ^, and begin with a letter or digit")
        }
        self.text = String(text)
    }

    /// The version as it was written.
    public var description: String { text }

    /// Whether the two have the same place in the order.
    public static func == (left: ImageVersion, right: ImageVersion) -> Bool { compare(left.text, right.text) == 0 }

    /// Whether `left` is older.
    public static func < (left: ImageVersion, right: ImageVersion) -> Bool { compare(left.text, right.text) < 0 }

    /// Feeds what equal versions have in common.
    public func hash(into hasher: inout Hasher) {
        // Leading zeros of a number are what equal versions may differ in.
        var previous: UInt8 = 0
        for byte in text.utf8 {
            if byte == UInt8(ascii: "0"), !Self.isDigit(previous) { continue }
            hasher.combine(byte)
            previous = byte
        }
    }

    private static func isDigit(_ byte: UInt8) -> Bool { UInt8(ascii: "0")...UInt8(ascii: "9") ~= byte }

    private static func isLetter(_ byte: UInt8) -> Bool {
        UInt8(ascii: "a")...UInt8(ascii: "z") ~= byte || UInt8(ascii: "A")...UInt8(ascii: "Z") ~= byte
    }

    private static func isMeaningful(_ byte: UInt8) -> Bool {
        isDigit(byte) || isLetter(byte) || [0x2D, 0x2E, 0x5E, 0x7E].contains(byte)
    }

    /// Whether two spellings have the same place in the order: `2024.05.01` and `2024.5.1`.
    public static func areEqual(_ left: some StringProtocol, _ right: some StringProtocol) -> Bool {
        left == right || compare(left, right) == 0
    }

    /// Compares any two strings in the way of the specification's section "Version Comparison".
    ///
    /// - Returns: a negative number where `left` is older, a positive one where it is newer, 0 where they are equal.
    public static func compare(_ left: some StringProtocol, _ right: some StringProtocol) -> Int {
        var left = Scanner(bytes: Array(left.utf8))
        var right = Scanner(bytes: Array(right.utf8))
        while true {
            left.skip { !isMeaningful($0) }
            right.skip { !isMeaningful($0) }
            // A suffix after a tilde is older than no suffix, so this comes before the end of the strings.
            if let order = bothTake(UInt8(ascii: "~"), &left, &right) { return order }
            guard left.next != nil, right.next != nil else {
                return (left.next == nil ? 0 : 1) - (right.next == nil ? 0 : 1)
            }
            for separator in [UInt8(ascii: "-"), UInt8(ascii: "^"), UInt8(ascii: ".")] {
                if let order = bothTake(separator, &left, &right) { return order }
            }
            let order: Int
            switch (left.next.map(isDigit) == true, right.next.map(isDigit) == true) {
            // A number, also 0, is newer than none.
            case (true, false): return 1
            case (false, true): return -1
            case (true, true): order = compareNumbers(left.takeNumber(), right.takeNumber())
            case (false, false):
                order = compareWords(left.take(while: isLetter), right.take(while: isLetter))
            }
            if order != 0 { return order }
        }
    }

    /// Moves both past `separator`; a string that has it where the other does not is older.
    private static func bothTake(_ separator: UInt8, _ left: inout Scanner, _ right: inout Scanner) -> Int? {
        switch (left.next == separator, right.next == separator) {
        case (false, false): return nil
        case (true, false): return -1
        case (false, true): return 1
        case (true, true):
            left.index += 1
            right.index += 1
            return nil
        }
    }

    /// Numbers of any length, without their leading zeros.
    private static func compareNumbers(_ left: ArraySlice<UInt8>, _ right: ArraySlice<UInt8>) -> Int {
        left.count != right.count ? left.count - right.count : compareWords(left, right)
    }

    private static func compareWords(_ left: ArraySlice<UInt8>, _ right: ArraySlice<UInt8>) -> Int {
        for (one, other) in zip(left, right) where one != other { return Int(one) - Int(other) }
        return left.count - right.count
    }

    private struct Scanner {
        let bytes: [UInt8]
        var index = 0

        var next: UInt8? { index < bytes.count ? bytes[index] : nil }

        mutating func skip(while condition: (UInt8) -> Bool) {
            while let byte = next, condition(byte) { index += 1 }
        }

        mutating func take(while condition: (UInt8) -> Bool) -> ArraySlice<UInt8> {
            let start = index
            skip(while: condition)
            return bytes[start..<index]
        }

        mutating func takeNumber() -> ArraySlice<UInt8> {
            skip { $0 == UInt8(ascii: "0") }
            return take(while: ImageVersion.isDigit)
        }
    }
}
