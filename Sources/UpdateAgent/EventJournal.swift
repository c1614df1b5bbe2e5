import FileIO
import JSON
import SystemPackage

/// All that happened on a host, as far back as there is room: JSON Lines in `events.jsonl`, to which events are only added, and in
/// `events.old.jsonl`, which it becomes when it is full.
///
/// The state has the newest events too, and is written first: what a power cut keeps from this journal is added the next time. Whoever
/// adds to it holds the lock of the state.
struct EventJournal: Sendable {
    /// Bytes of one file. An event has a few hundred.
    private static let byteLimit = 512 << 10
    /// No event is longer.
    private static let lineLimit = 16 << 10
    /// More than a host can ever come to.
    static let sequenceLimit: Int64 = 1 << 53

    private let directory: FilePath

    init(directory: FilePath) { self.directory = directory }

    private var path: FilePath { directory.appending("events.jsonl") }
    private var oldPath: FilePath { directory.appending("events.old.jsonl") }

    /// What is there, oldest first. Lines that are no events, as after a power cut, are passed over.
    func events() throws(FileIOFault) -> [HostEvent] {
        var events: [Int64: HostEvent] = [:]
        // In this order: where the one becomes the other meanwhile, it is read twice, and not passed over.
        for path in [path, oldPath] {
            for event in Self.events(in: try Self.contents(of: path)) { events[event.sequence] = event }
        }
        return events.values.sorted { $0.sequence < $1.sequence }
    }

    /// The number of the newest event, or 0.
    func lastSequence() throws(FileIOFault) -> Int64 {
        for path in [path, oldPath] {
            if let last = Self.events(in: try Self.tail(of: path)).last { return last.sequence }
        }
        return 0
    }

    /// Adds those of `events` that are newer than what is there.
    ///
    /// - Parameter events: numbered, oldest first.
    func append(_ events: [HostEvent]) throws(FileIOFault) {
        let last = try lastSequence()
        let lines = events.filter { $0.sequence > last }.map { Array($0.json.compactText.utf8) + [UInt8(ascii: "\n")] }
        guard !lines.isEmpty else { return }
        var bytes = lines.flatMap { $0 }
        if try Self.size(of: path) + bytes.count > Self.byteLimit, path.exists { try path.rename(to: oldPath) }
        // What a power cut has left of a line must not spoil the next one.
        if let end = try Self.tail(of: path).last, end != UInt8(ascii: "\n") { bytes.insert(UInt8(ascii: "\n"), at: 0) }
        let isNew = !path.exists
        let file = try OpenFile(
            path, .writeOnly, options: [.append, .create], permissions: [.ownerReadWrite, .groupRead])
        try file.append(bytes)
        try file.flush()
        if isNew { try OpenFile(reading: directory).flush() }
    }

    private static func events(in bytes: [UInt8]) -> [HostEvent] {
        bytes.split(separator: UInt8(ascii: "\n")).compactMap { line in
            guard line.count <= lineLimit, let cursor = try? JSONCursor(parsing: Array(line), source: "events.jsonl"),
                let event = try? HostEvent(parsing: cursor), event.sequence > 0
            else { return nil }
            return event
        }
    }

    private static func size(of path: FilePath) throws(FileIOFault) -> Int {
        guard path.exists else { return 0 }
        return Int(try OpenFile(reading: path).status().size)
    }

    private static func contents(of path: FilePath) throws(FileIOFault) -> [UInt8] {
        guard path.exists else { return [] }
        // Something else than this journal may have been put there; its end counts.
        let file = try OpenFile(reading: path)
        let size = try file.status().size
        let count = min(size, Int64(2 * byteLimit))
        return try file.bytes(at: size - count, count: Int(count))
    }

    /// The end of the file, with several events.
    private static func tail(of path: FilePath) throws(FileIOFault) -> [UInt8] {
        guard path.exists else { return [] }
        let file = try OpenFile(reading: path)
        let size = try file.status().size
        let count = min(size, Int64(4 * lineLimit))
        return try file.bytes(at: size - count, count: Int(count))
    }
}
