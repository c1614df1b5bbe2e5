public import Fault

/// The files from which systemd-boot makes its list: the directory `EFI/Linux` of the boot partition.
public protocol BootFiles: Sendable {
    /// The files' names.
    func names() throws(BootControlFault) -> [String]
    /// The size of a file in bytes.
    func size(of name: String) throws(BootControlFault) -> Int64
    /// Gives the content of a file to `body`, piece by piece.
    func read(_ name: String, _ body: (UnsafeRawBufferPointer) -> Void) throws(BootControlFault)
    /// Bytes that can still be written.
    func availableSpace() throws(BootControlFault) -> Int64
    /// Begins a file, replacing one of the same name.
    func create(_ name: String) throws(BootControlFault) -> any BootFileWriter
    /// Gives a file another name, replacing one that has it.
    func rename(_ name: String, to other: String) throws(BootControlFault)
    /// Removes a file. None there is no error.
    func remove(_ name: String) throws(BootControlFault)
    /// Returns when all changes of the directory are on the medium.
    func flush() throws(BootControlFault)
}

/// A file that is being written.
public protocol BootFileWriter {
    /// Writes all of `bytes` at its end.
    func append(_ bytes: UnsafeRawBufferPointer) throws(BootControlFault)
    /// Returns when its content is on the medium.
    func flush() throws(BootControlFault)
}
