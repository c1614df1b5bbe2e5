import FileIO
import SystemPackage
import Testing

@Suite("The page on security")
struct SecurityPageTests {
    private static let repository = FilePath(#filePath).removingLastComponent().removingLastComponent()
        .removingLastComponent()

    /// The display names of all tests, as their files have them.
    private static func testNames() throws -> Set<String> {
        var names: Set<String> = []
        let tests = repository.appending("Tests")
        for module in try tests.directoryEntries() {
            let directory = tests.appending(module)
            guard let files = try? directory.directoryEntries() else { continue }
            for file in files where file.hasSuffix(".swift") {
                // The name comes first, on the same line or the next.
                for part in try directory.appending(file).text().components(after: "@Test(") {
                    let text = part.drop { $0 == "\n" || $0 == " " }
                    guard text.first == "\"" else { continue }
                    names.insert(String(text.dropFirst().prefix { $0 != "\"" }))
                }
            }
        }
        return names
    }

    @Test("each claim of docs/security.md names tests, and each name is that of a test")
    func claims() throws {
        let names = try Self.testNames()
        #expect(names.count > 200)
        let text = try Self.repository.appending("docs/security.md").text()
        let claims = text.split(separator: "\n").filter { $0.hasPrefix("- ") }
        #expect(claims.count > 20)
        for claim in claims {
            let tests = claim.split(separator: "*", omittingEmptySubsequences: false).enumerated()
                .filter { $0.offset % 2 == 1 }.map(\.element)
            #expect(!tests.isEmpty, "no test for: \(claim)")
            for test in tests { #expect(names.contains(String(test)), "there is no test '\(test)'") }
        }
    }
}

extension String {
    /// The texts after each `separator`, up to the next one.
    fileprivate func components(after separator: String) -> [Substring] {
        var parts: [Substring] = []
        var rest = self[...]
        while let range = rest.firstRange(of: separator) {
            rest = rest[range.upperBound...]
            parts.append(rest.prefix(400))
        }
        return parts
    }
}
