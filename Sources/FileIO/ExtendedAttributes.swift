import CLinux
public import Fault
import Glibc
public import SystemPackage

extension FilePath {
    /// The extended attributes of the file itself, symbolic links not followed, by name.
    public func extendedAttributes() throws(FileIOFault) -> [String: [UInt8]] {
        var names = [UInt8](repeating: 0, count: 1 << 16)
        let length = names.withUnsafeMutableBytes { ballast_list_attributes(string, $0.baseAddress, $0.count) }
        if length < 0, Glibc.errno == ENOTSUP { return [:] }
        guard length >= 0 else { throw .last("cannot list the extended attributes", at: self) }
        var attributes: [String: [UInt8]] = [:]
        for slice in names[..<length].split(separator: 0) {
            let name = String(decoding: slice, as: UTF8.self)
            var value = [UInt8](repeating: 0, count: 1 << 16)
            let count = value.withUnsafeMutableBytes { ballast_get_attribute(string, name, $0.baseAddress, $0.count) }
            guard count >= 0 else { throw .last("cannot read the extended attribute \(name)", at: self) }
            attributes[name] = Array(value[..<count])
        }
        return attributes
    }
}
