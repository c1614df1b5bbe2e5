extension StringProtocol {
    /// The text as an error quotes what came from elsewhere, which may be as long as a whole document and mean something to a
    /// terminal: at most `limit` code points on one line, and no control characters.
    public func excerpt(limit: Int = 80) -> String {
        // Whatever is this short needs no copy, nor does most of what there is.
        if utf8.count <= limit, !unicodeScalars.contains(where: Self.isControl) { return String(self) }
        var text = String.UnicodeScalarView()
        for scalar in unicodeScalars.prefix(limit) {
            text.append(!Self.isControl(scalar) ? scalar : scalar.properties.isWhitespace ? " " : "\u{FFFD}")
        }
        let isCut = unicodeScalars.dropFirst(limit).first != nil
        return String(text) + (isCut ? "…" : "")
    }

    private static func isControl(_ scalar: Unicode.Scalar) -> Bool {
        scalar.value < 0x20 || 0x7F...0x9F ~= scalar.value
    }
}
