import Fault
import JSON
import SystemPackage

/// When a host may restart, and what is asked and done before: the member `restart` of `agent.json`.
public struct RestartSettings: Sendable, Hashable {
    /// When a restart may begin; at any time where there is none.
    public var windows: [RestartWindow] = []
    /// The time zone of the windows, as zoneinfo names it.
    public var timeZone = "UTC"
    /// What is asked first, in this order.
    public var gates: [RestartGate] = []
    /// What of the operator's restart settings cannot be used: until it is corrected, the host does not restart by itself.
    public var problem: String?
    /// Whether that is nothing but members that this agent does not know: a newer one may, so that an update is fetched all the same.
    public var isProblemForeign = false
    /// What is done before, in this order, and undone in the other when the host is back.
    public var drains: [Drain] = []

    static let known: Set<String> = ["windows", "time_zone", "gates", "drains"]

    init() {}

    init(parsing cursor: JSONCursor) throws(JSONFault) {
        try cursor.refuseMembers(except: Self.known)
        for window in try cursor.optional("windows")?.elements(atMost: 64) ?? [] {
            windows.append(try RestartWindow(parsing: window))
        }
        if let zone = try cursor.optional("time_zone") {
            timeZone = try zone.string()
            guard RestartCalendar.isKnown(timeZone) else {
                throw zone.unexpected(
                    "there is no time zone '\(timeZone.excerpt())' in /usr/share/zoneinfo, so this host does not know it"
                )
            }
        }
        for gate in try cursor.optional("gates")?.elements(atMost: 64) ?? [] {
            gates.append(try RestartGate(parsing: gate))
        }
        for drain in try cursor.optional("drains")?.elements(atMost: 64) ?? [] {
            drains.append(try Drain(parsing: drain))
        }
    }

    static func command(_ cursor: JSONCursor) throws(JSONFault) -> [String] {
        var words: [String] = []
        for word in try cursor.elements(atMost: 1000) { words.append(try word.string()) }
        guard words.first?.hasPrefix("/") == true else { throw cursor.unexpected("expected a program by its path") }
        return words
    }

    static func unit(_ cursor: JSONCursor) throws(JSONFault) -> String {
        let unit = try cursor.string()
        let isPlain = unit.utf8.allSatisfy { 0x21...0x7E ~= $0 && $0 != UInt8(ascii: "/") }
        // systemctl takes some for patterns.
        let isPattern = unit.utf8.contains { "*?[]".utf8.contains($0) }
        guard isPlain, !isPattern, unit.utf8.count <= 255, !unit.hasPrefix("-"), unit.contains(".") else {
            throw cursor.unexpected("'\(unit.excerpt())' is not the name of a unit, such as 'drain.service'")
        }
        return unit
    }
}

/// A time of the week in which a restart may begin.
public struct RestartWindow: Sendable, Hashable {
    static let dayNames = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"]
    private static let longest = 7 * 86400

    /// The days on which it begins, 0 for Sunday.
    public var days: Set<Int>
    /// Minutes after midnight, as a clock on the wall shows them.
    public var start: Int
    /// How long it is in seconds.
    public var length: Int64

    init(parsing cursor: JSONCursor) throws(JSONFault) {
        try cursor.refuseMembers(except: ["days", "start", "length_seconds"])
        days = []
        for day in try cursor.field("days").elements(atMost: 7) {
            let name = try day.string()
            guard let number = Self.dayNames.firstIndex(of: name) else {
                throw day.unexpected("expected a day: \(Self.dayNames.joined(separator: ", "))")
            }
            days.insert(number)
        }
        let start = try cursor.field("start")
        guard let minutes = Self.minutes(try start.string()) else {
            throw start.unexpected("expected a time of the day, such as '02:30'")
        }
        self.start = minutes
        length = Int64(try cursor.field("length_seconds").integer(in: 60...Self.longest))
    }

    /// `HH:MM` as minutes.
    static func minutes(_ text: String) -> Int? {
        let parts = text.split(separator: ":", omittingEmptySubsequences: false)
        guard parts.count == 2, parts.allSatisfy({ $0.utf8.count == 2 }), let hours = Int(parts[0]),
            let minutes = Int(parts[1]), 0..<24 ~= hours, 0..<60 ~= minutes
        else { return nil }
        return hours * 60 + minutes
    }
}

/// Something that is asked before a restart.
public struct RestartGate: Sendable, Hashable {
    /// What is asked.
    public enum Question: Sendable, Hashable {
        /// The unit, a oneshot service, succeeds.
        case unit(String)
        /// There is no such file.
        case file(String)
        /// A GET of the address is answered with a status from 200 to 299.
        case http(String)
    }

    /// Its name.
    public var name: String
    /// How long it may take, in seconds.
    public var timeout: Int
    /// What is asked.
    public var question: Question

    /// What PrivateTmp= and ProtectHome= of ballastd.service hide.
    private static let hidden = ["/tmp", "/var/tmp", "/home", "/root", "/run/user"]

    init(parsing cursor: JSONCursor) throws(JSONFault) {
        name = try cursor.field("name").string()
        timeout = try cursor.field("timeout_seconds").integer(in: 1...3600)
        try cursor.refuseMembers(except: ["name", "timeout_seconds", "unit", "file", "http"])
        let unit = try cursor.optional("unit")
        let file = try cursor.optional("file")
        let http = try cursor.optional("http")
        switch (unit, file, http) {
        case (let unit?, nil, nil): question = .unit(try RestartSettings.unit(unit))
        case (nil, let file?, nil):
            let path = try AgentSettings.path(file).string
            if let hidden = Self.hidden.first(where: { path == $0 || path.hasPrefix($0 + "/") }) {
                throw file.unexpected(
                    "the agent does not see the host's \(hidden): expected another place, such as /run")
            }
            question = .file(path)
        case (nil, nil, let http?): question = .http(try http.string())
        default: throw cursor.unexpected("expected exactly one of unit, file, http")
        }
    }
}

/// Something that is done before a restart, and undone after it.
public struct Drain: Sendable, Hashable {
    /// Its name.
    public var name: String
    /// How long each of the units may take, in seconds.
    public var timeout: Int
    /// The oneshot service that does it.
    public var unit: String
    /// The one that undoes it.
    public var undo: String?
    /// What that one runs, for an image that does not have it.
    public var undoCommand: [String]?

    init(parsing cursor: JSONCursor) throws(JSONFault) {
        try cursor.refuseMembers(except: ["name", "timeout_seconds", "unit", "undo", "undo_command"])
        name = try cursor.field("name").string()
        timeout = try cursor.field("timeout_seconds").integer(in: 1...86400)
        unit = try RestartSettings.unit(cursor.field("unit"))
        undo = try cursor.optional("undo").map { unit throws(JSONFault) in try RestartSettings.unit(unit) }
        undoCommand = try cursor.optional("undo_command").map { words throws(JSONFault) in
            try RestartSettings.command(words)
        }
    }
}
