import Fault
import JSON
import Testing

@Suite("JSON")
struct JSONTests {
    @Test(
        "text that breaks the grammar is refused, with its position",
        arguments: [
            ("", 1), ("{", 2), ("[1,]", 4), ("{\"a\":1,\"a\":2}", 13), ("01", 3), ("1.", 3), ("\"\u{1}\"", 3),
            ("tru", 1),
            ("\"\\ud800\"", 8), ("[1] x", 5), ("99999999999999999999", 21), ("1e999", 6),
        ])
    func malformed(text: String, column: Int) throws {
        let fault = try #require(throws: JSONFault.self) { try JSONValue(parsing: text, source: "doc") }
        #expect(fault.code == .malformed)
        #expect(fault.place == .position(path: "doc", line: 1, column: column))
    }

    @Test("nesting is bounded, so that a hostile document cannot exhaust the stack")
    func depth() throws {
        let deep = String(repeating: "[", count: 100_000)
        #expect(throws: JSONFault.self) { try JSONValue(parsing: deep, source: "doc") }
    }

    @Test("canonical form sorts keys by code point and escapes only quotes and backslashes")
    func canonical() throws {
        let value = try JSONValue(
            parsing: "{\"b\": \"x\\n\\\"\\\\\", \"\\uD83D\\uDE00\":1, \"\\uFFFD\": [true,null], \"a\": -3}",
            source: "doc")
        let bytes = try value.canonicalBytes()
        #expect(
            String(decoding: bytes, as: UTF8.self)
                == "{\"a\":-3,\"b\":\"x\n\\\"\\\\\",\"\u{FFFD}\":[true,null],\"😀\":1}")
        #expect(throws: JSONFault.self) { try JSONValue.double(1.5).canonicalBytes() }
    }

    @Test("every writer's text reads back as the same value")
    func roundTrip() throws {
        let value: JSONValue = [
            "text": "tab\t, quote\", control\u{1}, é😀", "list": [1, -2, true, .null, .double(0.5)], "empty": [:],
            "none": [],
        ]
        for text in [value.compactText, value.text(), value.text(inlineDepth: 1), value.text(inlineDepth: 0)] {
            #expect(try JSONValue(parsing: text, source: "doc") == value)
        }
    }

    @Test("the text form keeps one row of a table on one line")
    func rows() {
        let value: JSONValue = ["packages": [["name": "a", "size": 1], ["name": "b", "size": 2]]]
        #expect(
            value.text(inlineDepth: 2)
                == "{\n  \"packages\": [\n    {\"name\": \"a\", \"size\": 1},\n    {\"name\": \"b\", \"size\": 2}\n  ]\n}\n"
        )
    }

    @Test("a key as long as a document makes no error and no way to a member as long")
    func longKeys() throws {
        let key = String(repeating: "k", count: 400_000) + "\u{7}"
        let quoted = String(repeating: "k", count: 80) + "…"
        let missing = #expect(throws: JSONFault.self) {
            try JSONValue(parsing: "{\"\(key.dropLast())\" 1}", source: "doc")
        }
        #expect(missing?.message == "not valid JSON: ':' is expected after the key '\(quoted)'")
        let number = #expect(throws: JSONFault.self) {
            try JSONValue(parsing: String(repeating: "9", count: 400_000), source: "doc")
        }
        #expect(number?.message.hasSuffix("9… is out of range") == true)
        #expect(number?.message.utf8.count ?? 0 < 200)
        // 100,000 members of an object below such a key: each of them would have it in its way.
        let members = Dictionary(uniqueKeysWithValues: (0..<100_000).map { ("\($0)", JSONValue.integer(1)) })
        let cursor = JSONCursor([key: .object(members)], source: "doc")
        let all = try cursor.field(key).members()
        #expect(all.count == 100_000)
        #expect(all[0].value.path == "\(quoted).0")
        let fault = #expect(throws: JSONFault.self) { try cursor.refuseMembers(except: []) }
        #expect(fault?.message == "unknown member '\(quoted)'")
        var deep: JSONValue = 1
        for _ in 0..<60 { deep = [key: deep] }
        var way = JSONCursor(deep, source: "doc")
        for _ in 0..<60 { way = try way.field(key) }
        #expect(way.path.utf8.count < 1200)
    }
}
