import BlockDevice
import Compression
import Fault
import Release

/// Takes the bytes of the frames blob as they come, and writes each frame to its place once all of it is there and verified.
final class FrameReceiver {
    /// Frames that are written, from the first on.
    private(set) var framesDone: Int

    private let index: FrameIndex
    private let storage: any BlockStorage
    private var decoder: FrameDecoder
    private let compressed: UnsafeMutableRawBufferPointer
    private let raw: UnsafeMutableRawBufferPointer
    private var filled = 0

    /// A receiver of the frames from `first` on.
    init(_ index: FrameIndex, first: Int, storage: any BlockStorage) throws(UpdateAgentFault) {
        do throws(CompressionFault) { decoder = try FrameDecoder() } catch {
            throw UpdateAgentFault(.system, "the image cannot be decompressed", cause: error)
        }
        self.index = index
        self.storage = storage
        framesDone = first
        // Both are bounded: the index allows frames of 16 MiB at most.
        compressed = .allocate(byteCount: index.frames.reduce(1) { max($0, $1.length) }, alignment: 4096)
        raw = .allocate(byteCount: index.frameSize, alignment: 4096)
    }

    deinit {
        compressed.deallocate()
        raw.deallocate()
    }

    /// Takes the next bytes of the blob.
    ///
    /// - Parameter onFrame: called after each frame that is written.
    func take(
        _ bytes: UnsafeRawBufferPointer, onFrame: () throws(UpdateAgentFault) -> Void
    ) throws(UpdateAgentFault) {
        var rest = bytes[...]
        while !rest.isEmpty {
            guard index.frames.indices.contains(framesDone) else {
                throw UpdateAgentFault(.mismatch, "the frames blob is longer than its index says")
            }
            let frame = index.frames[framesDone]
            let count = min(frame.length - filled, rest.count)
            compressed[filled..<filled + count].copyBytes(from: rest.prefix(count))
            filled += count
            rest = rest.dropFirst(count)
            if filled == frame.length {
                try write(frame)
                filled = 0
                framesDone += 1
                try onFrame()
            }
        }
    }

    private func write(_ frame: FrameIndex.Frame) throws(UpdateAgentFault) {
        guard let range = index.imageRange(ofFrame: framesDone) else { return }
        let output = UnsafeMutableRawBufferPointer(rebasing: raw[..<frame.rawLength])
        do throws(ReleaseFault) {
            try decoder.decode(
                UnsafeRawBufferPointer(rebasing: compressed[..<frame.length]), of: frame, into: output)
        } catch {
            throw UpdateAgentFault(
                .mismatch, "frame \(framesDone) of \(index.frames.count) is damaged", remedy: error.remedy, cause: error
            )
        }
        try UpdateAgentFault.storing { () throws(BlockDeviceFault) in
            try storage.write(UnsafeRawBufferPointer(output), at: range.lowerBound)
        }
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
