public import Fault

/// The files of the EFI system partition. Paths are relative to its root, with `/` between their parts.
///
/// Nothing renames: on FAT that is two changes, and between them a file has two names that share its clusters, or none.
public protocol BootFiles: Sendable {
    /// The names in a directory; the root is "".
    func names(in directory: String) throws(BootControlFault) -> [String]
    /// The size of a file in bytes.
    func size(of path: String) throws(BootControlFault) -> Int64
    /// Gives the content of a file to `body`, piece by piece, as it is on the medium.
    func read(_ path: String, _ body: (UnsafeRawBufferPointer) -> Void) throws(BootControlFault)
    /// Bytes that can still be written.
    func availableSpace() throws(BootControlFault) -> Int64
    /// Begins a file, replacing one of the same name.
    func create(_ path: String) throws(BootControlFault) -> any BootFileWriter
    /// Removes a file. None there is no error.
    func remove(_ path: String) throws(BootControlFault)
    /// Returns when all changes are on the medium.
    func flush() throws(BootControlFault)
}

/// A file that is being written.
public protocol BootFileWriter {
    /// Writes all of `bytes` at its end.
    func append(_ bytes: UnsafeRawBufferPointer) throws(BootControlFault)
    /// Returns when its content is on the medium.
    func flush() throws(BootControlFault)
}
