extension String {
    /// The same with each paragraph in one line, for whatever breaks lines where a terminal ends. Lines that begin with a space
    /// and those of an example stay by themselves.
    package var flowing: String {
        var lines: [String] = []
        var isParagraph = false
        for line in split(separator: "\n", omittingEmptySubsequences: false) {
            let isText = !line.isEmpty && !line.hasPrefix(" ") && !line.hasPrefix("Example:")
            if isText, isParagraph, let last = lines.popLast() {
                lines.append("\(last) \(line)")
            } else {
                lines.append(String(line))
            }
            isParagraph = isText
        }
        return lines.joined(separator: "\n")
    }
}
