import BlockDevice
import BootControl
import BootLoader
import Cryptography
import Fault
import Synchronization
import Verity

/// Slots and boot files in memory, which lose at a power cut what was not flushed.
final class SimulatedMachine: TestMachine {
    /// Everything that a power cut can find on the media.
    struct Media: Equatable {
        var slots: [Slot]
        var roots: [[UInt8]]
        var verities: [[UInt8]]
        var files: [String: [UInt8]]

        /// What the loader finds, in its order: it reads an entry and passes over one whose kernel image is not there.
        var bootOrder: [BootEntry] {
            files.compactMap { path, bytes -> BootEntry? in
                guard path.hasPrefix(BootEntryName.directory + "/"),
                    let name = BootEntryName(fileName: String(path.dropFirst(BootEntryName.directory.utf8.count + 1))),
                    let line = String(decoding: bytes, as: UTF8.self).split(separator: "\n")
                        .first(where: { $0.hasPrefix("efi /") }),
                    files[String(line.dropFirst(5))] != nil
                else { return nil }
                let file = line.split(separator: "/").last.map { String($0) } ?? ""
                return BootEntry(
                    name: name, fileName: name.description, kernel: KernelName(product: "box", fileName: file))
            }.sorted { $0.comesBefore($1) }
        }
    }

    /// What becomes of writes that were not flushed.
    enum Loss: CaseIterable {
        case all, none, some
    }

    private struct State {
        var durable: Media
        var current: Media
        var pending: [Change] = []
        var count = 0
        var cutAt: Int?
        var isCut = false
        var running = 0
        var onStep: (@Sendable (Int) -> Void)?
    }

    private struct Change {
        /// What a flush has to be of to make it durable.
        let medium: Medium
        let apply: @Sendable (inout Media) -> Void
    }

    private enum Medium: Equatable {
        case disk
        case files
        case content(String)
    }

    private let state: Mutex<State>

    init(running image: TestImage, slotSize: Int, veritySize: Int) {
        func slot(_ index: Int, _ label: String) -> Slot {
            Slot(
                index: index, label: label, rootSize: Int64(slotSize), veritySize: Int64(veritySize), rootUUID: "",
                verityUUID: "", isRunning: false)
        }
        func filled(_ bytes: [UInt8], _ size: Int) -> [UInt8] {
            bytes + [UInt8](repeating: 0xEE, count: size - bytes.count)
        }
        var media = Media(
            slots: [slot(0, "box_\(image.version)"), slot(1, Slot.emptyLabel)],
            roots: [filled(image.bytes, slotSize), filled([], slotSize)],
            verities: [filled(image.tree.hashDevice(), veritySize), filled([], veritySize)],
            files: [image.entry.path: image.entry.bytes, image.kernelName.description: image.kernel])
        let halves = DerivedHalves(image.tree.rootHash)
        media.slots[0].rootUUID = halves.root
        media.slots[0].verityUUID = halves.verity
        state = Mutex(State(durable: media, current: media))
    }

    /// How many writes and flushes there were.
    var count: Int { state.withLock { $0.count } }
    /// What is on the media now.
    var media: Media { state.withLock { $0.durable } }

    /// From the write or flush number `position` on, nothing happens any more.
    func cut(at position: Int?) {
        state.withLock { state in
            state.cutAt = position
            state.count = 0
        }
    }

    /// After each write or flush `body` is called with its number.
    func observe(_ body: (@Sendable (Int) -> Void)?) {
        state.withLock { state in
            state.onStep = body
            state.count = 0
        }
    }

    /// What the media hold when power comes back: of the writes that were not flushed, those that `loss` leaves, as `seed`
    /// has it. Nothing is changed by asking.
    func mediaAfterCut(_ loss: Loss, seed: UInt64) -> Media {
        state.withLock { state in
            var media = state.durable
            for change in Self.survivors(of: state.pending, loss, seed: seed) { change.apply(&media) }
            return media
        }
    }

    /// What the loader finds then, in its order.
    func bootOrderAfterCut(_ loss: Loss, seed: UInt64) -> [BootEntry] {
        state.withLock { state in
            // The slots, which are large, stay out of it.
            var media = Media(slots: [], roots: [], verities: [], files: state.durable.files)
            for change in Self.survivors(of: state.pending, loss, seed: seed) where change.medium != .disk {
                change.apply(&media)
            }
            return media.bootOrder
        }
    }

    private static func survivors(of changes: [Change], _ loss: Loss, seed: UInt64) -> [Change] {
        var random = seed
        return changes.filter { _ in
            random = random &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return switch loss {
            case .all: false
            case .none: true
            case .some: random >> 40 & 1 == 1
            }
        }
    }

    /// Power comes back.
    func powerCycle(_ loss: Loss, seed: UInt64) {
        let media = mediaAfterCut(loss, seed: seed)
        state.withLock { state in
            state.durable = media
            state.current = media
            state.pending = []
            state.isCut = false
            state.cutAt = nil
        }
    }

    /// - Returns: false when power is gone.
    private func step(_ body: (inout State) -> Void) -> Bool {
        let (isDone, number, observer) = state.withLock { state -> (Bool, Int, (@Sendable (Int) -> Void)?) in
            if let cutAt = state.cutAt, state.count >= cutAt { state.isCut = true }
            guard !state.isCut else { return (false, state.count, nil) }
            state.count += 1
            body(&state)
            return (true, state.count, state.onStep)
        }
        observer?(number)
        return isDone
    }

    private func write(_ medium: Medium, _ apply: @escaping @Sendable (inout Media) -> Void) -> Bool {
        step { state in
            apply(&state.current)
            state.pending.append(Change(medium: medium, apply: apply))
        }
    }

    private func flush(_ isFlushed: @escaping (Medium) -> Bool) -> Bool {
        step { state in
            for change in state.pending where isFlushed(change.medium) { change.apply(&state.durable) }
            state.pending.removeAll { isFlushed($0.medium) }
        }
    }

    // MARK: Slots

    func slots(running: SHA256Digest) throws(BootControlFault) -> any SlotStore {
        Slots(machine: self, running: DerivedHalves(running).root)
    }

    var bootFiles: any BootFiles { Files(machine: self) }

    private struct Slots: SlotStore {
        let machine: SimulatedMachine
        let running: String

        func slots() throws(BootControlFault) -> [Slot] {
            machine.state.withLock { state in
                state.current.slots.map { slot in
                    var slot = slot
                    slot.isRunning = slot.rootUUID == running
                    return slot
                }
            }
        }

        func root(of slot: Slot, writable: Bool) throws(BootControlFault) -> any BlockStorage {
            try storage(slot, writable, \.roots)
        }

        func verity(of slot: Slot, writable: Bool) throws(BootControlFault) -> any BlockStorage {
            try storage(slot, writable, \.verities)
        }

        private func storage(
            _ slot: Slot, _ writable: Bool, _ path: any WritableKeyPath<Media, [[UInt8]]> & Sendable
        ) throws(BootControlFault) -> any BlockStorage {
            let isRunning = try slots()[slot.index].isRunning
            guard !writable || !isRunning else { throw BootControlFault(.notOurs, "it runs") }
            return Storage(machine: machine, index: slot.index, path: path)
        }

        func setIdentity(
            of slot: Slot, label: String, uuids: (root: String, verity: String)?
        ) throws(BootControlFault) {
            guard !(try slots()[slot.index].isRunning) else { throw BootControlFault(.notOurs, "it runs") }
            let index = slot.index
            let done = machine.write(.disk) { media in
                media.slots[index].label = label
                if let uuids { (media.slots[index].rootUUID, media.slots[index].verityUUID) = uuids }
            }
            guard done, machine.flush({ $0 == .disk }) else { throw BootControlFault(.inputOutput, "power cut") }
        }
    }

    private struct Storage: BlockStorage {
        let machine: SimulatedMachine
        let index: Int
        let path: any WritableKeyPath<Media, [[UInt8]]> & Sendable

        var size: Int64 { Int64(machine.state.withLock { $0.current[keyPath: path][index].count }) }

        func read(into buffer: UnsafeMutableRawBufferPointer, at offset: Int64) throws(BlockDeviceFault) {
            let bytes = machine.state.withLock { $0.current[keyPath: path][index] }
            buffer.copyBytes(from: bytes[Int(offset)..<Int(offset) + buffer.count])
        }

        func write(_ bytes: UnsafeRawBufferPointer, at offset: Int64) throws(BlockDeviceFault) {
            let copy = Array(bytes)
            let done = machine.write(.disk) { [path, index] media in
                media[keyPath: path][index].replaceSubrange(Int(offset)..<Int(offset) + copy.count, with: copy)
            }
            guard done else { throw BlockDeviceFault(.inputOutput, "power cut") }
        }

        func flush() throws(BlockDeviceFault) {
            guard machine.flush({ $0 == .disk }) else { throw BlockDeviceFault(.inputOutput, "power cut") }
        }

        func dropCache() throws(BlockDeviceFault) { try flush() }
    }

    // MARK: Boot files

    private struct Files: BootFiles {
        let machine: SimulatedMachine

        private func write(
            _ medium: Medium, _ apply: @escaping @Sendable (inout Media) -> Void
        ) throws(BootControlFault) {
            guard machine.write(medium, apply) else { throw BootControlFault(.inputOutput, "power cut") }
        }

        func names(in directory: String) throws(BootControlFault) -> [String] {
            machine.state.withLock { state in
                guard !directory.isEmpty else { return state.current.files.keys.filter { !$0.contains("/") } }
                return state.current.files.keys.filter { $0.hasPrefix(directory + "/") }
                    .map { String($0.dropFirst(directory.utf8.count + 1)) }
            }
        }

        func size(of name: String) throws(BootControlFault) -> Int64 {
            Int64(machine.state.withLock { $0.current.files[name]?.count ?? 0 })
        }

        func read(_ name: String, _ body: (UnsafeRawBufferPointer) -> Void) throws(BootControlFault) {
            let bytes = machine.state.withLock { $0.current.files[name] ?? [] }
            bytes.withUnsafeBytes(body)
        }

        func availableSpace() throws(BootControlFault) -> Int64 { 64 << 20 }

        func create(_ name: String) throws(BootControlFault) -> any BootFileWriter {
            try write(.files) { $0.files[name] = [] }
            return Writer(machine: machine, name: name)
        }

        func remove(_ name: String) throws(BootControlFault) {
            try write(.files) { $0.files[name] = nil }
        }

        func flush() throws(BootControlFault) {
            guard machine.flush({ $0 != .disk }) else { throw BootControlFault(.inputOutput, "power cut") }
        }
    }

    private struct Writer: BootFileWriter {
        let machine: SimulatedMachine
        let name: String

        func append(_ bytes: UnsafeRawBufferPointer) throws(BootControlFault) {
            let copy = Array(bytes)
            guard machine.write(.content(name), { [name] in $0.files[name]?.append(contentsOf: copy) }) else {
                throw BootControlFault(.inputOutput, "power cut")
            }
        }

        func flush() throws(BootControlFault) {
            // fsync(2) of a file brings its own data, and on FAT its directory entry too.
            guard machine.flush({ [name] in $0 == .content(name) || $0 == .files }) else {
                throw BootControlFault(.inputOutput, "power cut")
            }
        }
    }
}
