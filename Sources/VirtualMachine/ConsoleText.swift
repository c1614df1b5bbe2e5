/// What a serial console printed, as lines for a person.
package enum ConsoleText {
    /// The last `count` lines of `bytes` that have something in them, without control sequences (ECMA-48). A line that was
    /// drawn over counts as what it was last.
    package static func tail(of bytes: [UInt8], lines count: Int) -> [String] {
        // A console prints some hundred bytes a line; systemd draws its waiting anew twice a second.
        let text = String(decoding: bytes.suffix(1 << 18), as: UTF8.self)
        var lines: [String] = []
        for line in text.split(whereSeparator: { $0 == "\n" || $0 == "\r\n" }) {
            let drawn = plain(line).split(separator: "\r").last { !$0.allSatisfy(\.isWhitespace) }
            guard let drawn else { continue }
            // What waits is told with the time it has waited.
            if isWaiting(drawn), lines.last.map({ isWaiting($0) }) == true { lines.removeLast() }
            lines.append(String(drawn))
        }
        return lines.suffix(count)
    }

    private static func isWaiting(_ line: some StringProtocol) -> Bool {
        line.contains("A start job is running") || line.contains("/start running")
    }

    /// `line` without escape sequences and control characters, carriage returns excepted.
    private static func plain(_ line: Substring) -> String {
        var result = ""
        var scalars = line.unicodeScalars[...]
        while let scalar = scalars.popFirst() {
            if scalar == "\u{1B}" {
                guard let kind = scalars.popFirst() else { break }
                if kind == "[" {
                    while let next = scalars.popFirst(), !("\u{40}"..."\u{7E}").contains(next) {}
                } else if kind == "]" || kind == "P" {
                    while let next = scalars.popFirst(), next != "\u{07}", next != "\u{1B}" {}
                    if scalars.first == "\\" { scalars.removeFirst() }
                }
            } else if scalar == "\r" || scalar == "\t" || scalar.properties.generalCategory != .control {
                result.unicodeScalars.append(scalar)
            }
        }
        return result
    }
}
