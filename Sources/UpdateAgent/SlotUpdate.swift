import BlockDevice
import BootControl
import BootLoader
import Cryptography
import Fault
import Fetching
import FileIO
import PartitionTable
import Release
import SystemPackage
import Verity

/// Brings one release into the slot that does not run, in an order in which a power cut at any moment leaves a host that
/// boots what ran before:
///
/// 1. drop the slot's boot entries, flush
/// 2. label the slot `_empty`, flush
/// 3. write verified frames, flush and note how far every few MiB
/// 4. read the slot back, write the hash tree, compare with the signed root hash, flush
/// 5. label and GUIDs, flush
/// 6. kernel image, first into a file of the agent and from there in one piece; flush, read it back
/// 7. an entry that starts it, with tries, flush
///
/// A cut before 7 boots the old version; after it, the new one. A second run goes on with 3, or with the kernel image, where the first one
/// ended.
struct SlotUpdate {
    /// What FAT takes beside the files themselves.
    private static let bootReserve: Int64 = 1 << 20

    /// Whoever runs an update is told how it goes, and may stop it before its version becomes bootable.
    struct Observer {
        /// The update has come to this step. What it saves is on disk before the step begins.
        var enter: (AgentPhase) throws(UpdateAgentFault) -> Void
        /// Step 1: from now on nothing but the version that runs can boot.
        var clear: () throws(UpdateAgentFault) -> Void
        /// Whether it shall be given up. Asked about once a second while something is fetched.
        var isCancelled: @Sendable () -> Bool
        /// That many bytes more are done, of which this many were fetched.
        var advance: (_ done: Int64, _ fetched: Int64) -> Void
        /// Step 7, which makes the version bootable by this kernel image; and whether anything of the image was fetched.
        var activate: (KernelName, _ hasFetched: Bool) throws(UpdateAgentFault) -> Void
    }

    let release: ReleaseDocument
    let source: any BlobSource
    let slots: any SlotStore
    let entries: BootEntries
    let running: String
    let stagingPath: FilePath
    /// What is written between two flushes.
    let checkpoint: Int64
    let observer: Observer

    private var version: String { release.version.description }
    /// Where the agent keeps its files.
    private var directory: FilePath { stagingPath.removingLastComponent() }
    private var label: String { "\(release.product)_\(version)" }

    /// Bytes of the image's frames and the kernel: what progress is counted in.
    var totalBytes: Int64 { release.image.frames.size + release.kernel.size }

    /// Runs all steps, or only the last ones where the slot holds the release already.
    func run() throws(UpdateAgentFault) {
        try observer.enter(.planning(version: version))
        let slot = try target()
        KernelReceiver.removeAll(in: directory, but: release.kernel)
        if try isComplete(slot) { return try activate(hasFetched: false) }
        let index = try fetchIndex()
        try checkSpace(slot, index)
        try observer.enter(.staging(version: version))
        try clear(slot)
        try writeImage(index, to: slot)
        try writeTree(to: slot)
        try identify(slot)
        try activate(hasFetched: true)
        try? stagingPath.removeTree()
    }

    /// The slot that does not run.
    private func target() throws(UpdateAgentFault) -> Slot {
        let all = try Self.booting { () throws(BootControlFault) in try slots.slots() }
        guard let slot = all.first(where: { !$0.isRunning }), all.contains(where: \.isRunning) else {
            throw UpdateAgentFault(.storage, "the host has no slot that does not run")
        }
        let halves = DerivedUUID.halves(of: release.verity.rootHash)
        guard !all.contains(where: { $0.isRunning && $0.rootUUID == halves.root }) else {
            throw UpdateAgentFault(.invalid, "the release has the root hash of what runs already")
        }
        return slot
    }

    /// Whether the slot claims to hold the release, and on reading it back does.
    private func isComplete(_ slot: Slot) throws(UpdateAgentFault) -> Bool {
        let halves = DerivedUUID.halves(of: release.verity.rootHash)
        guard slot.label == label, slot.rootUUID == halves.root, slot.verityUUID == halves.verity else { return false }
        let verifier = SlotVerifier(release: release)
        do throws(UpdateAgentFault) {
            let tree = try verifier.tree(of: try root(slot, writable: false))
            return try verifier.holds(tree, on: try verity(slot, writable: false))
        } catch {
            // It claims what it is not: it is written anew.
            return false
        }
    }

    private func fetchIndex() throws(UpdateAgentFault) -> FrameIndex {
        let bytes = try source.contents(of: release.image.index, isCancelled: observer.isCancelled)
        do throws(ReleaseFault) {
            let index = try FrameIndex(parsing: bytes, source: release.image.index.path)
            guard index.imageSize == release.image.size, index.blobSize == release.image.frames.size else {
                throw ReleaseFault(.mismatch, "the index is that of another image than the release names")
            }
            return index
        } catch {
            throw UpdateAgentFault(.untrusted, "the image's index cannot be used", cause: error)
        }
    }

    private func checkSpace(_ slot: Slot, _ index: FrameIndex) throws(UpdateAgentFault) {
        func require(_ needed: Int64, of available: Int64, _ what: String) throws(UpdateAgentFault) {
            guard needed > available else { return }
            let missing = (needed - available + (1 << 20) - 1) >> 20
            throw UpdateAgentFault(
                .noSpace,
                "\(version) needs \(needed) bytes of \(what), which has \(available): \(missing) MiB are missing",
                at: .named("slot \(slot.name)"),
                remedy: "publish a smaller image, or install the host anew with larger slots")
        }
        try require(release.image.size, of: slot.rootSize, "the slot")
        try require(release.verity.hashSize, of: slot.veritySize, "the slot's verity partition")
        let space = try Self.booting { () throws(BootControlFault) in try entries.space(keeping: running) }
        try require(release.kernel.size + Self.bootReserve, of: space, "the boot partition")
    }

    // MARK: Steps 1 to 5

    private func clear(_ slot: Slot) throws(UpdateAgentFault) {
        try observer.clear()
        try Self.booting { () throws(BootControlFault) in
            try entries.removeUnused(keeping: running)
            if slot.label != Slot.emptyLabel { try slots.setIdentity(of: slot, label: Slot.emptyLabel, uuids: nil) }
        }
    }

    private func writeImage(_ index: FrameIndex, to slot: Slot) throws(UpdateAgentFault) {
        let storage = try root(slot, writable: true)
        let first = try framesPresent(index, on: storage, slot: slot)
        let begin = index.frames.indices.contains(first) ? index.frames[first].offset : index.blobSize
        observer.advance(begin, 0)
        var kept = first
        func keep(_ receiver: FrameReceiver) throws(UpdateAgentFault) {
            guard receiver.framesDone > kept else { return }
            try UpdateAgentFault.storing { () throws(BlockDeviceFault) in try storage.flush() }
            kept = receiver.framesDone
            try StagingRecord(
                version: version, index: release.image.index.digest, slot: slot.index, frames: kept
            ).save(to: stagingPath)
        }
        let receiver = FrameReceiver(index, first: first, storage: storage, advance: observer.advance) {
            receiver throws(UpdateAgentFault) in
            guard index.frames.indices.contains(receiver.framesDone), index.frames.indices.contains(kept) else {
                return
            }
            let left = index.frames[receiver.framesDone].offset - index.frames[kept].offset
            if left >= checkpoint { try keep(receiver) }
        }
        do throws(UpdateAgentFault) {
            try source.stream(
                release.image.frames, from: begin, form: .decompressed, into: receiver,
                isCancelled: observer.isCancelled)
        } catch {
            // What has come need not come again; where even that fails, the first failure is the one to tell.
            try? keep(receiver)
            throw error
        }
        try keep(receiver)
        try UpdateAgentFault.storing { () throws(BlockDeviceFault) in try storage.flush() }
    }

    /// How many frames an interrupted run left in the slot. They are hashed: the record might be older than the slot.
    private func framesPresent(
        _ index: FrameIndex, on storage: any BlockStorage, slot: Slot
    ) throws(UpdateAgentFault) -> Int {
        guard let record = StagingRecord(stagingPath), record.version == version,
            record.index == release.image.index.digest, record.slot == slot.index
        else { return 0 }
        try UpdateAgentFault.storing { () throws(BlockDeviceFault) in try storage.dropCache() }
        let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: index.frameSize, alignment: 4096)
        defer { buffer.deallocate() }
        var hasher = SHA256Hasher()
        for position in 0..<min(record.frames, index.frames.count) {
            guard let range = index.imageRange(ofFrame: position) else { return position }
            let piece = UnsafeMutableRawBufferPointer(rebasing: buffer[..<range.count])
            // Blocks that cannot be read any more are written again.
            do throws(BlockDeviceFault) { try storage.read(into: piece, at: range.lowerBound) } catch {
                return position
            }
            hasher.update(UnsafeRawBufferPointer(piece))
            guard hasher.finish() == index.frames[position].rawDigest else { return position }
        }
        return min(record.frames, index.frames.count)
    }

    private func writeTree(to slot: Slot) throws(UpdateAgentFault) {
        let verifier = SlotVerifier(release: release)
        let tree = try verifier.tree(of: try root(slot, writable: false))
        let storage = try verity(slot, writable: true)
        try verifier.write(tree, to: storage)
        guard try verifier.holds(tree, on: storage) else {
            throw UpdateAgentFault(
                .mismatch, "the hash tree does not read back as it was written", at: .named("slot \(slot.name)"),
                remedy: "check the disk")
        }
    }

    private func identify(_ slot: Slot) throws(UpdateAgentFault) {
        try Self.booting { () throws(BootControlFault) in
            try slots.setIdentity(of: slot, label: label, uuids: DerivedUUID.halves(of: release.verity.rootHash))
        }
    }

    // MARK: Steps 6 and 7

    private func activate(hasFetched: Bool) throws(UpdateAgentFault) {
        try observer.enter(.staged(version: version))
        let kernel = KernelName(product: release.product, version: version, digest: release.kernel.digest)
        if try digest(of: kernel) != release.kernel.digest {
            let image =
                KernelReceiver.hasRoom(for: release.kernel, in: directory) ? try fetchKernel() : nil
            do throws(UpdateAgentFault) {
                try Self.booting { () throws(BootControlFault) in try entries.removeUnused(keeping: running) }
                if let image { try write(kernel, from: image) } else { try fetchStraight(kernel) }
            } catch {
                // Half of one would only take the room of the next attempt.
                try? entries.remove(kernel)
                throw error
            }
            guard try digest(of: kernel) == release.kernel.digest else {
                throw UpdateAgentFault(
                    .mismatch, "the kernel image does not read back as it was written", at: .named(kernel.description),
                    remedy: "check the disk")
            }
        }
        KernelReceiver.removeAll(in: directory)
        try observer.activate(kernel, hasFetched)
    }

    private func digest(of kernel: KernelName) throws(UpdateAgentFault) -> SHA256Digest? {
        try Self.booting { () throws(BootControlFault) in try entries.digest(of: kernel) }
    }

    private func fetchKernel() throws(UpdateAgentFault) -> KernelReceiver {
        let receiver = try KernelReceiver(
            release.kernel, in: directory, checkpoint: checkpoint, advance: observer.advance)
        if receiver.size == release.kernel.size {
            // It was on its way to the boot partition.
            do throws(UpdateAgentFault) {
                try receiver.finish()
                return receiver
            } catch {
                _ = try receiver.resume(isDamaged: true)
            }
        }
        func fetch() throws(UpdateAgentFault) {
            try source.stream(
                release.kernel, from: receiver.size, form: .stored, into: receiver, isCancelled: observer.isCancelled)
        }
        do throws(UpdateAgentFault) { try fetch() } catch {
            guard error.code == .state, receiver.isTakenUp else { throw error }
            _ = try receiver.resume(isDamaged: true)
            try fetch()
        }
        return receiver
    }

    private func fetchStraight(_ kernel: KernelName) throws(UpdateAgentFault) {
        let receiver = try StraightKernelReceiver(release.kernel, advance: { observer.advance($0, max($0, 0)) }) {
            () throws(UpdateAgentFault) in
            try Self.booting { () throws(BootControlFault) in try entries.create(kernel) }
        }
        try source.stream(
            release.kernel, from: 0, form: .stored, into: receiver, isCancelled: observer.isCancelled)
        try Self.booting { () throws(BootControlFault) in try entries.flush() }
    }

    private func write(_ kernel: KernelName, from image: KernelReceiver) throws(UpdateAgentFault) {
        let writer = try Self.booting { () throws(BootControlFault) in try entries.create(kernel) }
        try image.read { piece throws(UpdateAgentFault) in
            try Self.booting { () throws(BootControlFault) in try writer.append(piece) }
        }
        try Self.booting { () throws(BootControlFault) in
            try writer.flush()
            try entries.flush()
        }
    }

    private func root(_ slot: Slot, writable: Bool) throws(UpdateAgentFault) -> any BlockStorage {
        try Self.booting { () throws(BootControlFault) in try slots.root(of: slot, writable: writable) }
    }

    private func verity(_ slot: Slot, writable: Bool) throws(UpdateAgentFault) -> any BlockStorage {
        try Self.booting { () throws(BootControlFault) in try slots.verity(of: slot, writable: writable) }
    }

    private static func booting<Result>(
        _ body: () throws(BootControlFault) -> Result
    ) throws(UpdateAgentFault) -> Result {
        try UpdateAgentFault.booting(body)
    }
}

extension Fault where Code == UpdateAgentFaultCode {
    /// What `body` returns; a failure of disk or boot entries becomes one of the agent.
    static func booting<Result>(
        _ body: () throws(BootControlFault) -> Result
    ) throws(UpdateAgentFault) -> Result {
        do throws(BootControlFault) { return try body() } catch {
            let code: UpdateAgentFaultCode =
                switch error.code {
                case .noSpace: .noSpace
                case .notFound: .notFound
                case .notOurs, .inputOutput: .storage
                }
            throw UpdateAgentFault(code, "the host's slots or boot entries cannot be used", cause: error)
        }
    }
}
