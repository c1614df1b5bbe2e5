import BlockDevice
import Cryptography
import Fault
import Release

/// Takes what the frames hold as it comes, and writes each frame's part of the image to its place once all of it is there and
/// verified.
final class FrameReceiver: BlobReceiver {
    /// Frames that are written, from the first on.
    private(set) var framesDone: Int

    private let index: FrameIndex
    private let storage: any BlockStorage
    private let onFrame: (FrameReceiver) throws(UpdateAgentFault) -> Void
    private let advance: (_ done: Int64, _ fetched: Int64) -> Void
    private let raw: UnsafeMutableRawBufferPointer
    private var hasher = SHA256Hasher()
    private var filled = 0
    private var received: Int64 = 0

    /// A receiver of the frames from `first` on.
    ///
    /// - Parameters:
    ///   - advance: told how many bytes of what is stored are done, and have been fetched, beside those before.
    ///   - onFrame: called after each frame that is written.
    init(
        _ index: FrameIndex, first: Int, storage: any BlockStorage,
        advance: @escaping (_ done: Int64, _ fetched: Int64) -> Void,
        onFrame: @escaping (FrameReceiver) throws(UpdateAgentFault) -> Void
    ) {
        self.index = index
        self.storage = storage
        self.advance = advance
        self.onFrame = onFrame
        framesDone = first
        // Bounded: the index allows frames of 16 MiB at most.
        raw = .allocate(byteCount: index.frameSize, alignment: 4096)
    }

    deinit { raw.deallocate() }

    func take(_ bytes: UnsafeRawBufferPointer, received total: Int64) throws(UpdateAgentFault) {
        advance(0, total - received)
        received = total
        var rest = bytes[...]
        while !rest.isEmpty {
            guard index.frames.indices.contains(framesDone) else {
                throw UpdateAgentFault(
                    .mismatch, "the image's frames are longer than its index says",
                    remedy: "try again; if it stays, the repository or a cache on the way is damaged")
            }
            let frame = index.frames[framesDone]
            let count = min(frame.rawLength - filled, rest.count)
            raw[filled..<filled + count].copyBytes(from: rest.prefix(count))
            filled += count
            rest = rest.dropFirst(count)
            if filled == frame.rawLength { try write(frame) }
        }
    }

    func finish() throws(UpdateAgentFault) {
        guard framesDone == index.frames.count, filled == 0 else {
            throw UpdateAgentFault(
                .mismatch, "the image's frames end before the last one",
                remedy: "try again; if it stays, the repository or a cache on the way is damaged")
        }
    }

    /// The frame that was not complete comes once more.
    func resume(isDamaged: Bool) -> Int64 {
        filled = 0
        received = 0
        return index.frames.indices.contains(framesDone) ? index.frames[framesDone].offset : index.blobSize
    }

    private func write(_ frame: FrameIndex.Frame) throws(UpdateAgentFault) {
        guard let range = index.imageRange(ofFrame: framesDone) else { return }
        let content = UnsafeRawBufferPointer(rebasing: raw[..<frame.rawLength])
        filled = 0
        hasher.update(content)
        guard hasher.finish() == frame.rawDigest else {
            throw UpdateAgentFault(
                .mismatch, "frame \(framesDone) of \(index.frames.count) holds other bytes than the index names",
                at: .offset(path: "frames", UInt64(clamping: frame.offset)),
                remedy: "try again; if it stays, the repository or a cache on the way is damaged")
        }
        try UpdateAgentFault.storing { () throws(BlockDeviceFault) in
            try storage.write(content, at: range.lowerBound)
        }
        framesDone += 1
        advance(Int64(frame.length), 0)
        try onFrame(self)
    }
}

extension Fault where Code == UpdateAgentFaultCode {
    /// What `body` returns; a failure of the disk becomes one of the agent.
    static func storing<Result>(
        _ body: () throws(BlockDeviceFault) -> Result
    ) throws(UpdateAgentFault) -> Result {
        do throws(BlockDeviceFault) { return try body() } catch {
            throw UpdateAgentFault(.storage, "the slot cannot be used", cause: error)
        }
    }
}
