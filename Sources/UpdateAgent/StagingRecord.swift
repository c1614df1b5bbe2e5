import Cryptography
import Fault
import FileIO
import JSON
import SystemPackage

/// How far the frames of a release have been written into a slot: what a resumed update has to fetch no more. It is a hint;
/// what is in the slot is hashed again.
struct StagingRecord: Sendable, Hashable {
    /// The version.
    var version: String
    /// Which frames these are.
    var index: SHA256Digest
    /// The slot's position.
    var slot: Int
    /// How many frames are on the medium.
    var frames: Int

    /// The record in `path`, or nil where there is none that can be read.
    init?(_ path: FilePath) {
        guard let bytes = try? path.contents(limit: 1 << 16) else { return nil }
        do throws(JSONFault) {
            let cursor = try JSONCursor(parsing: bytes, source: path.string)
            guard try cursor.field("format").integer() == 1,
                let index = SHA256Digest(hexadecimal: try cursor.field("index").string())
            else { return nil }
            self.init(
                version: try cursor.field("version").string(), index: index,
                slot: try cursor.field("slot").integer(in: 0...255), frames: try cursor.field("frames").integer())
        } catch {
            return nil
        }
    }

    init(version: String, index: SHA256Digest, slot: Int, frames: Int) {
        self.version = version
        self.index = index
        self.slot = slot
        self.frames = frames
    }

    /// Keeps the record, on the medium.
    func save(to path: FilePath) throws(UpdateAgentFault) {
        let value: JSONValue = [
            "format": 1, "version": .string(version), "index": .string(index.description),
            "slot": .integer(Int64(slot)),
            "frames": .integer(Int64(frames)),
        ]
        do throws(FileIOFault) {
            try path.removingLastComponent().makeDirectories()
            try path.replaceContents(with: value.text())
        } catch {
            throw UpdateAgentFault(.state, "the update's progress cannot be kept", cause: error)
        }
    }
}
