import Synchronization

/// Names in the order in which they came, each once where it came several times in a row.
final class Seen: Sendable {
    private let list = Mutex<[String]>([])

    var names: [String] { list.withLock { $0 } }

    func add(_ name: String) { list.withLock { if $0.last != name { $0.append(name) } } }
}
