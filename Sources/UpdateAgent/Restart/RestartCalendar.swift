import Command
import Fault
import FileIO
import SystemPackage
import Trust

/// When windows are open. The C library's time zones are used, by `date`: the daemon's own zone is that of the whole process, and a
/// clock on the wall shows some times twice a year and others never.
struct RestartCalendar: Sendable {
    private static let patience = 20
    private static let day: Int64 = 86400
    /// For so many seconds periods that have been reckoned are right.
    static let validity: Int64 = 43200
    /// The longest window begins this many days before it ends.
    private static let daysBefore: Int64 = 8
    /// In so many days each window begins at least once.
    private static let daysAfter: Int64 = 9

    let windows: [RestartWindow]
    let timeZone: String

    /// Whether the C library knows the zone.
    static func isKnown(_ zone: String) -> Bool {
        guard zone != "UTC" else { return true }
        let isPlain = zone.utf8.allSatisfy {
            switch $0 {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "_"), UInt8(ascii: "+"), UInt8(ascii: "-"),
                UInt8(ascii: "/"):
                true
            default: false
            }
        }
        return isPlain && !zone.isEmpty && !zone.hasPrefix("/")
            && (try? FileStatus(of: FilePath("/usr/share/zoneinfo").appending(zone).resolved()))?.kind == .regular
    }

    /// The times around `now` at which a restart may begin, in order; what touches is one.
    ///
    /// - Throws: `system` where `date` does not run.
    func periods(around now: UTCTime) throws(UpdateAgentFault) -> [Range<UTCTime>] {
        var begins: [(lines: [String], length: Int64)] = []
        let today = now.seconds / Self.day
        for window in windows {
            for day in today - Self.daysBefore...today + Self.daysAfter where window.days.contains(Self.weekday(day)) {
                let date = String(UTCTime(seconds: day * Self.day).description.prefix(10))
                // A time that the clock on the wall leaves out in spring begins an hour later.
                let times = [window.start, window.start + 60].filter { $0 < 1440 }
                begins.append((times.map { "\(date) \(Self.clock($0))" }, window.length))
            }
        }
        let seconds = try seconds(of: begins.map(\.lines))
        let periods = zip(seconds, begins).compactMap { begin, window in
            begin.map { UTCTime(seconds: $0)..<UTCTime(seconds: $0 + window.length) }
        }
        return periods.sorted { $0.lowerBound < $1.lowerBound }.reduce(into: []) { merged, period in
            guard let last = merged.last, last.upperBound >= period.lowerBound else { return merged.append(period) }
            merged[merged.count - 1] = last.lowerBound..<max(last.upperBound, period.upperBound)
        }
    }

    /// 1970-01-01 was a Thursday.
    private static func weekday(_ day: Int64) -> Int { Int(((day + 4) % 7 + 7) % 7) }

    private static func clock(_ minutes: Int) -> String {
        func padded(_ number: Int) -> String { number < 10 ? "0\(number)" : "\(number)" }
        return "\(padded(minutes / 60)):\(padded(minutes % 60))"
    }

    /// For each list of local times, seconds since 1970 of the first that the zone has, or nil.
    private func seconds(of times: [[String]]) throws(UpdateAgentFault) -> [Int64?] {
        guard !times.isEmpty else { return [] }
        // date(1) says nothing on standard output for a time that is not one. The lines before say whose the others are.
        let lines = times.enumerated().flatMap { ["@\($0.offset)"] + $0.element }
        let command = Command(
            "sh", ["-c", "printf '%s\\n' \"$@\" | date -f - +%s", "sh"] + lines,
            environment: ["TZ": timeZone, "LC_ALL": "C", "PATH": "/usr/bin:/bin"])
        let output: String
        do throws(CommandFault) {
            guard let outcome = try command.outcome(withinSeconds: Self.patience) else {
                throw CommandFault(.failed, "'date' did not end within \(Self.patience) s")
            }
            output = outcome.outputText
        } catch {
            throw UpdateAgentFault(.system, "the restart windows cannot be reckoned", cause: error)
        }
        var results = [Int64?](repeating: nil, count: times.count)
        var position = -1
        for number in output.split(separator: "\n").compactMap({ Int64($0) }) {
            if number == Int64(position + 1), position + 1 < times.count {
                position += 1
            } else if results.indices.contains(position), results[position] == nil {
                results[position] = number
            }
        }
        guard position == times.count - 1 else {
            throw UpdateAgentFault(.system, "the restart windows cannot be reckoned: 'date' gave \(output.excerpt())")
        }
        return results
    }
}
