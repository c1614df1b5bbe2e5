import Command
import Fault
import Release
import Testing

@Suite("Image versions")
struct ImageVersionTests {
    /// A generator whose numbers are the same every time.
    struct Numbers {
        var state: UInt64
        mutating func next(below limit: Int) -> Int {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return Int((state >> 33) % UInt64(limit))
        }
    }

    /// Pairs that are often nearly equal, of few characters, so that every rule is met.
    static func pairs(_ count: Int) -> [(String, String)] {
        var numbers = Numbers(state: 7)
        let pieces = ["0", "1", "2", "00", "01", "10", "a", "b", "B", "rc", ".", "-", "~", "^", "_", "+"]
        func text() -> [String] { (0..<numbers.next(below: 7)).map { _ in pieces[numbers.next(below: pieces.count)] } }
        return (0..<count).map { _ in
            let start = text()
            return ((start + text()).joined(), (start + text()).joined())
        }
    }

    @Test("the order is that of systemd-analyze compare-versions")
    func agreesWithSystemd() async throws {
        let known = [
            ("1.0", "1.00"), ("122.1", "123~rc1-1"), ("123", "123-a"), ("123-a.1", "123.1-1"), ("1^1", "1"), ("", "~"),
            ("11a", "11α"), ("1.0~rc1", "1.0"), ("10", "9"), ("a", "1"), ("1-", "1"), ("1.", "1"), ("1a", "1.a"),
        ]
        let pairs = known + Self.pairs(400)
        // One shell for all, as a process each would take a minute. Arguments never pass through the shell's syntax.
        let script =
            #"while [ $# -gt 0 ]; do systemd-analyze compare-versions -- "$1" "$2" >/dev/null; echo $?; shift 2; done"#
        let outcome = try await Command("sh", ["-c", script, "sh"] + pairs.flatMap { [$0.0, $0.1] }).run()
        let answers = outcome.outputText.split(separator: "\n").map(String.init)
        #expect(answers.count == pairs.count)
        for ((left, right), answer) in zip(pairs, answers) {
            // 0 for equal, 11 where the first is newer, 12 where the second is.
            let order = ImageVersion.compare(left, right)
            #expect(answer == (order == 0 ? "0" : order > 0 ? "11" : "12"), "'\(left)' and '\(right)'")
        }
    }

    @Test("the order is an order: antisymmetric, transitive, and equal versions hash alike")
    func laws() throws {
        let versions = Self.pairs(300).compactMap { try? ImageVersion("1" + $0.0) }
        let sorted = versions.sorted()
        for (index, left) in sorted.enumerated() {
            for right in sorted[index...] {
                #expect(!(right < left))
                if left == right { #expect(left.hashValue == right.hashValue, "'\(left)' and '\(right)'") }
            }
        }
    }

    @Test(
        "what cannot be part of a name is no version",
        arguments: [
            "", " ", "1 0", "1_0", "1+0", "/", "..", ".1", "-1", "~1", "^1", "1/2", "1\n", "é", "1%20",
            String(repeating: "1", count: 65),
        ])
    func refused(text: String) throws {
        let fault = try #require(throws: ReleaseFault.self) { try ImageVersion(text) }
        #expect(fault.code == .invalidVersion)
    }

    @Test(
        "usual versions are accepted",
        arguments: [
            "1", "1.0.0", "13.7-2", "2.0~rc1", "1.0^git20260101", "v1", String(repeating: "1", count: 64),
        ])
    func accepted(text: String) throws {
        #expect(try ImageVersion(text).description == text)
    }
}
