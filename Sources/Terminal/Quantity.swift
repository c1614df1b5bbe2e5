/// Sizes and durations as people write them: in manifests, in options, in reports.
package enum Quantity {
    /// The bytes in `512 MiB`: a whole number and a binary unit, with or without a space between them.
    package static func bytes(_ text: String) -> Int64? {
        guard let (number, unit) = split(text[...]),
            let factor = ["KiB": 10, "MiB": 20, "GiB": 30, "TiB": 40][unit.drop { $0 == " " }]
        else { return nil }
        let (bytes, overflow) = number.multipliedReportingOverflow(by: Int64(1) << factor)
        return overflow ? nil : bytes
    }

    /// The seconds in `90s`, `15m` or `1h30m`.
    package static func seconds(_ text: String) -> Int? {
        var rest = text[...]
        var total: Int64 = 0
        var lastFactor = Int64.max
        while !rest.isEmpty {
            guard let (number, tail) = split(rest), let unit = tail.first,
                let factor: Int64 = ["s": 1, "m": 60, "h": 3600, "d": 86_400][unit], factor < lastFactor
            else { return nil }
            let (seconds, overflow) = number.multipliedReportingOverflow(by: factor)
            let (sum, sumOverflow) = total.addingReportingOverflow(seconds)
            guard !overflow, !sumOverflow else { return nil }
            total = sum
            lastFactor = factor
            rest = tail.dropFirst()
        }
        return text.isEmpty ? nil : Int(exactly: total)
    }

    /// The size that was probably meant by `text`: `2 GiB` for `2G`, `512 MiB` for `512`.
    package static func likelySize(_ text: String) -> String? {
        guard let (number, rest) = split(text[...]) else { return nil }
        let unit = rest.drop { $0 == " " }.lowercased()
        switch unit {
        case "": return "\(number) MiB"
        case "k", "kb", "kib", "m", "mb", "mib", "g", "gb", "gib", "t", "tb", "tib":
            return "\(number) \(unit.prefix(1).uppercased())iB"
        default: return nil
        }
    }

    /// The duration that was probably meant by `text`: `60s` for `60`, `5m` for `5 min`.
    package static func likelyDuration(_ text: String) -> String? {
        guard let (number, rest) = split(text[...]) else { return nil }
        switch rest.drop(while: { $0 == " " }).lowercased() {
        case "", "s", "sec", "secs", "second", "seconds": return "\(number)s"
        case "m", "min", "mins", "minute", "minutes": return "\(number)m"
        case "h", "hr", "hour", "hours": return "\(number)h"
        case "d", "day", "days": return "\(number)d"
        default: return nil
        }
    }

    /// `bytes` as a person would write it.
    package static func text(bytes: Int64) -> String {
        for (unit, shift) in [("TiB", 40), ("GiB", 30), ("MiB", 20)]
        where bytes != 0 && bytes % (Int64(1) << shift) == 0 {
            return "\(bytes >> shift) \(unit)"
        }
        return "\(bytes >> 10) KiB"
    }

    /// `seconds` as a person would write it.
    package static func text(seconds: some BinaryInteger) -> String {
        let seconds = Int64(clamping: seconds)
        for (unit, factor) in [("d", 86_400), ("h", 3600), ("m", 60)] as [(String, Int64)]
        where seconds != 0 && seconds % factor == 0 {
            return "\(seconds / factor)\(unit)"
        }
        return "\(seconds)s"
    }

    /// `1 blob`, `2 blobs`.
    package static func text(_ count: Int, of noun: String) -> String { "\(count) \(noun)\(count == 1 ? "" : "s")" }

    private static func split(_ text: Substring) -> (number: Int64, rest: Substring)? {
        let digits = text.prefix { $0.isASCII && $0.isNumber }
        guard let number = Int64(digits) else { return nil }
        return (number, text.dropFirst(digits.count))
    }
}
