import BootLoader
import Fault
import JSON
import Release
import Trust

// The schema of state.json. Agents of all versions read each other's files, since a host goes back to an older one and forward again:
//
// - `format` is 1. A member never changes its meaning or shape; what is new has a new name. Should that ever be impossible, `format`
//   rises, and an older agent still takes what it understands.
// - What an agent does not understand, it keeps and writes back: members, elements of arrays, states' names, kinds of events.

extension AgentState {
    private static let format = 1

    /// Reads the state, whatever agent wrote it.
    ///
    /// - Throws: where it is no JSON object with a `format`, and nothing of it can be used.
    init(parsing cursor: JSONCursor) throws(JSONFault) {
        _ = try cursor.field("format").integer(in: 1...Int.max)
        var reader = MemberReader(try cursor.members())
        phase = reader.take("state") { value throws(JSONFault) in try AgentPhase(parsing: value) } ?? .idle
        pinned = reader.take("pinned") { value throws(JSONFault) in try value.string() }
        denied = reader.takeAll("denied") { value throws(JSONFault) in try DeniedVersion(parsing: value) }
        for event in reader.takeAll("history", { value throws(JSONFault) in try HostEvent(parsing: value) }) {
            record(event)
        }
        let numbers = 0...Int(EventJournal.sequenceLimit)
        lastEvent = reader.take("last_event") { value throws(JSONFault) in Int64(try value.integer(in: numbers)) } ?? 0
        acknowledgedEvent =
            reader.take("acknowledged_event") { value throws(JSONFault) in
                Int64(try value.integer(in: numbers))
            } ?? 0
        for version in reader.takeAll("good", { value throws(JSONFault) in try value.string() }) { addGood(version) }
        failing = reader.takeAll("failing") { value throws(JSONFault) in try FailingTask(parsing: value) }
        pending = reader.take("pending") { value throws(JSONFault) in try PendingActivation(parsing: value) }
        rollback = reader.take("rollback") { value throws(JSONFault) in try PendingRollback(parsing: value) }
        failed = reader.take("failed") { value throws(JSONFault) in
            FailedVersion(version: try value.field("version").string(), cause: try value.field("cause").string())
        }
        probation = reader.take("probation") { value throws(JSONFault) in
            Probation(
                version: try value.field("version").string(), bootIdentifier: try value.field("boot_id").string(),
                boots: try value.field("boots").integer(in: 0...1000),
                seconds: Int64(try value.optional("seconds")?.integer() ?? 0))
        }
        failedBoot = reader.take("failed_boot") { value throws(JSONFault) in try value.string() }
        unproved = reader.takeAll("unproved") { value throws(JSONFault) in try value.string() }
        let pairs = reader.takeAll("revoked") { value throws(JSONFault) in
            (try value.field("version").string(), try value.field("by").string())
        }
        revoked = Dictionary(pairs, uniquingKeysWith: { $1 })
        lastCheck = reader.take("last_check") { value throws(JSONFault) in try AgentText.time(value) }
        askedReboot = reader.take("asked_reboot") { value throws(JSONFault) in
            AskedReboot(
                time: try AgentText.time(value.field("time")), bootIdentifier: try value.field("boot_id").string())
        }
        provedBoot = reader.take("proved_boot") { value throws(JSONFault) in try value.string() }
        setbacks = reader.takeAll("setbacks") { value throws(JSONFault) in try Setback(parsing: value) }
        let offers = reader.takeAll("reoffers") { value throws(JSONFault) in
            (try value.field("version").string(), try value.field("count").integer(in: 1...Int(Int32.max)))
        }
        reoffers = Dictionary(offers, uniquingKeysWith: { $1 })
        prepared = reader.takeAll("prepared") { value throws(JSONFault) in try Preparation(parsing: value) }
        outage = reader.take("outage") { value throws(JSONFault) in
            Outage(
                since: try AgentText.time(value.field("since")), bootIdentifier: try value.field("boot_id").string())
        }
        reason = reader.take("reason") { value throws(JSONFault) in try value.string() }
        lastError = reader.take("last_error") { value throws(JSONFault) in try value.string() }
        bootProblem = reader.take("boot_problem") { value throws(JSONFault) in try value.string() }
        extra = reader.rest
        extraElements = reader.restElements
        readProblem = reader.problem
    }

    /// Pins, denials and revocations, what is drained, and the numbers of events: what a host must not forget, in the same schema.
    ///
    /// - Parameter reservedEvents: stands for the number of the newest event, which is not higher.
    func decisions(reservedEvents: Int64) -> JSONValue {
        guard case .object(let all) = json else { return .null }
        let kept: Set<String> = [
            "format", "pinned", "denied", "revoked", "reoffers", "prepared", "proved_boot", "acknowledged_event",
        ]
        var members = all.filter { kept.contains($0.key) }
        if reservedEvents > 0 { members["last_event"] = .integer(reservedEvents) }
        return .object(members)
    }

    /// The state, with what other agents have added to it.
    var json: JSONValue {
        var members = extra
        if members["format"] == nil { members["format"] = .integer(Int64(Self.format)) }
        members.merge(boots) { $1 }
        members.merge(refusals) { $1 }
        func set(_ key: String, _ value: JSONValue?) { if let value { members[key] = value } }
        set("state", phase.json)
        set("last_check", lastCheck.map { .string($0.description) })
        set("reason", reason.map { .string($0) })
        set("last_error", lastError.map { .string($0) })
        set("boot_problem", bootProblem.map { .string($0) })
        set("history", elements("history", history.map(\.json)))
        if lastEvent > 0 { set("last_event", .integer(lastEvent)) }
        if acknowledgedEvent > 0 { set("acknowledged_event", .integer(acknowledgedEvent)) }
        set("outage", outage.map { ["since": .string($0.since.description), "boot_id": .string($0.bootIdentifier)] })
        set("prepared", someElements("prepared", prepared.map(\.json)))
        set("failing", someElements("failing", failing.map(\.json)))
        set(
            "asked_reboot",
            askedReboot.map { ["time": .string($0.time.description), "boot_id": .string($0.bootIdentifier)] })
        return .object(members)
    }

    /// An array of what this agent knows and what others have added to it.
    private func elements(_ key: String, _ known: [JSONValue]) -> JSONValue {
        .array((extraElements[key] ?? []) + known)
    }

    /// The same, or nothing where it would be empty and nobody has written it.
    private func someElements(_ key: String, _ known: [JSONValue]) -> JSONValue? {
        known.isEmpty && extraElements[key] == nil ? nil : elements(key, known)
    }

    /// What boots, what is tried, and what has proved itself.
    private var boots: [String: JSONValue] {
        var members = ["good": elements("good", good.map { .string($0) })]
        members["pending"] = pending?.json
        members["rollback"] = rollback?.json
        members["probation"] = probation.map {
            [
                "version": .string($0.version), "boot_id": .string($0.bootIdentifier),
                "boots": .integer(Int64($0.boots)), "seconds": .integer($0.seconds),
            ]
        }
        members["failed"] = failed.map { ["version": .string($0.version), "cause": .string($0.cause)] }
        members["failed_boot"] = failedBoot.map { .string($0) }
        members["proved_boot"] = provedBoot.map { .string($0) }
        members["unproved"] = someElements("unproved", unproved.map { .string($0) })
        return members
    }

    /// What is not taken, and why.
    private var refusals: [String: JSONValue] {
        var members = ["denied": elements("denied", denied.map(\.json))]
        members["pinned"] = pinned.map { .string($0) }
        members["setbacks"] = someElements("setbacks", setbacks.map(\.json))
        members["reoffers"] = someElements(
            "reoffers",
            reoffers.sorted { $0.key < $1.key }.map {
                ["version": .string($0.key), "count": .integer(Int64($0.value))]
            })
        members["revoked"] = someElements(
            "revoked",
            revoked.sorted { $0.key < $1.key }.map { ["version": .string($0.key), "by": .string($0.value)] })
        return members
    }
}

extension PendingActivation {
    private static let known: Set<String> = [
        "version", "sequence", "previous", "tries", "boot_id", "missed_boots", "event",
    ]

    init(parsing cursor: JSONCursor) throws(JSONFault) {
        self.init(
            version: try cursor.field("version").string(), sequence: try AgentText.sequence(cursor),
            previous: try cursor.field("previous").string(),
            tries: try cursor.field("tries").integer(in: 1...AgentSettings.triesLimit),
            bootIdentifier: try cursor.field("boot_id").string())
        missedBoots = try cursor.optional("missed_boots")?.integer(in: 0...1000) ?? 0
        event = try? cursor.optional("event").map { event throws(JSONFault) in try HostEvent(parsing: event) }
        extra = try cursor.strangers(Self.known)
    }

    var json: JSONValue {
        var members = extra
        members["event"] = event?.json
        return .object(
            members.merging([
                "version": .string(version), "sequence": .integer(Int64(sequence)), "previous": .string(previous),
                "tries": .integer(Int64(tries)), "boot_id": .string(bootIdentifier),
                "missed_boots": .integer(Int64(missedBoots)),
            ]) { $1 })
    }
}

extension PendingRollback {
    private static let known: Set<String> = [
        "target", "from", "sequence", "deciding_boot", "boot_id", "missed_boots",
    ]

    init(parsing cursor: JSONCursor) throws(JSONFault) {
        self.init(
            target: try cursor.field("target").string(), from: try cursor.field("from").string(),
            sequence: try AgentText.sequence(cursor))
        decidingBoot = try? cursor.optional("deciding_boot")?.string()
        bootIdentifier = (try? cursor.optional("boot_id")?.string()) ?? ""
        missedBoots = try cursor.optional("missed_boots")?.integer(in: 0...1000) ?? 0
        extra = try cursor.strangers(Self.known)
    }

    var json: JSONValue {
        var members = extra
        members["target"] = .string(target)
        members["from"] = .string(from)
        members["sequence"] = .integer(Int64(sequence))
        members["deciding_boot"] = decidingBoot.map { .string($0) }
        if !bootIdentifier.isEmpty { members["boot_id"] = .string(bootIdentifier) }
        if missedBoots > 0 { members["missed_boots"] = .integer(Int64(missedBoots)) }
        return .object(members)
    }
}

extension DeniedVersion {
    private static let known: Set<String> = ["version", "cause", "time", "kind", "reoffers"]

    /// A denial counts also where nothing but its version can be read.
    init(parsing cursor: JSONCursor) throws(JSONFault) {
        self.init(
            version: try cursor.field("version").string(),
            cause: (try? cursor.optional("cause")?.string()) ?? "its cause is not known",
            time: (try? cursor.optional("time").map { value throws(JSONFault) in try AgentText.time(value) })
                ?? UTCTime(seconds: 0))
        // An older agent said no kind. What it denied was what an operator named, or what failed here.
        kind = (try? cursor.optional("kind")?.string()).map { FailureKind(rawValue: $0) } ?? .operators
        reoffers = (try? cursor.optional("reoffers")?.integer(in: 0...Int(Int32.max))) ?? 0
        extra = try cursor.strangers(Self.known)
    }
}

/// Takes the members of an object one by one, and has the rest.
struct MemberReader {
    private(set) var rest: [String: JSONValue]
    private(set) var restElements: [String: [JSONValue]] = [:]
    private var cursors: [String: JSONCursor]
    private var faults: [JSONFault] = []

    init(_ members: [(key: String, value: JSONCursor)]) {
        cursors = Dictionary(members.map { ($0.key, $0.value) }, uniquingKeysWith: { $1 })
        rest = cursors.mapValues(\.value)
    }

    /// What could not be read, in words.
    var problem: String? {
        guard let first = faults.first else { return nil }
        let more = faults.count > 1 ? ", and \(faults.count - 1) more" : ""
        return "the state has what this agent does not understand, which is kept: \(first)\(more)"
    }

    /// The member `key`, or nil where there is none or it cannot be read.
    mutating func take<Value>(_ key: String, _ body: (JSONCursor) throws(JSONFault) -> Value) -> Value? {
        guard let cursor = cursors[key], cursor.value != .null else {
            rest[key] = nil
            return nil
        }
        do throws(JSONFault) {
            let value = try body(cursor)
            rest[key] = nil
            return value
        } catch {
            faults.append(error)
            return nil
        }
    }

    /// Those elements of the array `key` that can be read.
    mutating func takeAll<Value>(_ key: String, _ body: (JSONCursor) throws(JSONFault) -> Value) -> [Value] {
        guard let elements = take(key, { value throws(JSONFault) in try value.elements(atMost: 10_000) }) else {
            return []
        }
        var values: [Value] = []
        for element in elements {
            do throws(JSONFault) { values.append(try body(element)) } catch {
                faults.append(error)
                restElements[key, default: []].append(element.value)
            }
        }
        return values
    }
}

extension JSONCursor {
    /// The members of an object that are not `known`.
    func strangers(_ known: Set<String>) throws(JSONFault) -> [String: JSONValue] {
        var strangers: [String: JSONValue] = [:]
        for (key, cursor) in try members() where !known.contains(key) { strangers[key] = cursor.value }
        return strangers
    }
}
