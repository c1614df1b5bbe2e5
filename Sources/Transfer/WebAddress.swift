/// Addresses of web servers as text.
public enum WebAddress {
    /// The address of the file at `path` below `base`. What RFC 3986, section 2.3, does not leave as it is becomes %XX, so that
    /// no server or proxy on the way reads it otherwise.
    public static func join(_ base: String, _ path: String) -> String {
        var result = base
        if !result.hasSuffix("/") { result += "/" }
        let digits = Array("0123456789ABCDEF")
        for byte in path.utf8 {
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: "_"),
                UInt8(ascii: "~"), UInt8(ascii: "/"):
                result.unicodeScalars.append(Unicode.Scalar(byte))
            default:
                result.append("%")
                result.append(digits[Int(byte >> 4)])
                result.append(digits[Int(byte & 15)])
            }
        }
        return result
    }

    /// The address without a user and password, as messages show it.
    public static func redacted(_ url: String) -> String {
        // Not by a search for "://": that links the string processing library into the agent.
        guard let colon = url.firstIndex(of: ":"), url[colon...].hasPrefix("://") else { return url }
        let authority = url.index(colon, offsetBy: 3)
        guard let at = url[authority...].prefix(while: { $0 != "/" }).lastIndex(of: "@") else { return url }
        return String(url[..<authority] + url[url.index(after: at)...])
    }
}
