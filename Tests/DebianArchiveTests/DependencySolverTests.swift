import Cryptography
import DebianArchive
import Fault
import Testing

@Suite("Choosing packages")
struct DependencySolverTests {
    /// `name version field=value;field=value`, a line each.
    private func index(_ lines: String, suite: String = "trixie", priority: Int = 500) throws -> PackageIndex {
        var text = ""
        for line in lines.split(separator: "\n") {
            let words = line.split(separator: " ", maxSplits: 2)
            text += "Package: \(words[0])\nVersion: \(words[1])\nArchitecture: amd64\n"
            for field in words.dropFirst(2).first?.split(separator: ";") ?? [] {
                text += field.replacing("=", with: ": ", maxReplacements: 1) + "\n"
            }
            text += "Filename: pool/\(words[0])_\(words[1])_amd64.deb\nSize: 1\n"
            text += "SHA256: \(String(repeating: "0", count: 64))\n\n"
        }
        return PackageIndex(text: Array(text.utf8), suite: suite, priority: priority, source: "test")
    }

    private func solve(
        _ indices: [PackageIndex], _ install: [String], without refuse: [String] = [], recommends: Bool = false,
        held: [String: String] = [:]
    ) throws -> [String] {
        let digest = try #require(SHA256Digest(hexadecimal: String(repeating: "0", count: 64)))
        let kept = Dictionary(
            uniqueKeysWithValues: held.map { name, version in
                (
                    name,
                    LockedPackage(
                        name: name, version: version, architecture: "amd64", path: "", size: 1, digest: digest,
                        suite: "trixie")
                )
            })
        return try DependencySolver(indices, architecture: "amd64", held: kept)
            .solve(.init(install: install, refuse: refuse, installsRecommends: recommends))
            .map { "\($0.name)=\($0.version)" }
    }

    private func message(_ indices: [PackageIndex], _ install: [String], without refuse: [String] = []) throws -> String
    {
        let fault = try #require(throws: DebianArchiveFault.self) { try solve(indices, install, without: refuse) }
        return "\(fault.code.rawValue): \(fault.message)"
    }

    @Test("essential and required packages are in every image, recommended ones only when asked for")
    func base() throws {
        let index = try index(
            """
            dpkg 1 Essential=yes
            base 1 Priority=required;Depends=lib
            lib 1
            apt 1 Priority=important
            a 1 Recommends=b;Depends=lib
            b 1
            """)
        #expect(try solve([index], ["a"]) == ["a=1", "base=1", "dpkg=1", "lib=1"])
        #expect(try solve([index], ["a"], recommends: true) == ["a=1", "b=1", "base=1", "dpkg=1", "lib=1"])
    }

    @Test("what is recommended and left out is named with who recommends it, unless it is refused or met by another")
    func recommendations() throws {
        let index = try index(
            """
            a 1 Recommends=b, none | c, d | e, v, gone, w;Depends=lib
            b 1
            c 1
            d 1
            e 1
            f 1 Provides=v
            g 1 Provides=w
            lib 1 Recommends=b
            """)
        let solver = try DependencySolver([index], architecture: "amd64")
        let packages = try solver.solve(.init(install: ["a", "e", "g"], refuse: [], installsRecommends: false))
        let found = solver.recommendations(of: packages, without: ["c"])
        #expect(found.map { "\($0.name): \($0.recommenders)" } == [#"b: ["a", "lib"]"#, #"f: ["a"]"#])
    }

    @Test(
        "of alternatives the first that can be installed is taken, as apt does",
        arguments: [
            ("a 1 Depends=x | y\nx 1\ny 1", ["a=1", "x=1"]), ("a 1 Depends=y | x\nx 1\ny 1", ["a=1", "y=1"]),
            ("a 1 Depends=none | y\ny 1", ["a=1", "y=1"]), ("a 1 Depends=x (>= 2) | y\nx 1\ny 1", ["a=1", "y=1"]),
            // Another dependency brings y anyway, so that x is not needed.
            ("a 1 Depends=x | y, y\nx 1\ny 1", ["a=1", "y=1"]),
            // A package of the name comes before one that provides it.
            ("a 1 Depends=v\nb 1 Provides=v\nv 1", ["a=1", "v=1"]),
            // Among providers the one of the more important priority.
            ("a 1 Depends=v\nb 1 Provides=v;Priority=optional\nc 1 Provides=v;Priority=standard", ["a=1", "c=1"]),
            // The preferred one conflicts.
            ("a 1 Depends=x | y;Conflicts=x\nx 1\ny 1", ["a=1", "y=1"]),
            ("a 1 Depends=x:any (>= 1)\nx 1", ["a=1", "x=1"]),
        ])
    func alternatives(packages: String, expected: [String]) throws {
        if packages.contains("x:any") {
            #expect(try solve([index(packages.replacing("x 1", with: "x 1 Multi-Arch=allowed"))], ["a"]) == expected)
        } else {
            #expect(try solve([index(packages)], ["a"]) == expected)
        }
    }

    @Test("versions compare as Debian policy 5.6.12 says, across suites")
    func versions() throws {
        let old = try index("a 1:1.0~rc1-1\nb 9\nc 1.0+b1", suite: "trixie")
        let new = try index("a 1:1.0-1\nb 10\nc 1.0", suite: "trixie-security")
        #expect(try solve([old, new], ["a", "b", "c"]) == ["a=1:1.0-1", "b=10", "c=1.0+b1"])
        #expect(try solve([new, old], ["a", "b", "c"]) == ["a=1:1.0-1", "b=10", "c=1.0+b1"])
    }

    @Test("a suite of lower rank is only used for what no other has")
    func priority() throws {
        let stable = try index("a 1")
        let backports = try index("a 2\nb 2", suite: "trixie-backports", priority: 100)
        #expect(try solve([stable, backports], ["a", "b"]) == ["a=1", "b=2"])
    }

    @Test("a held version stays, and is named where it is in the way")
    func held() throws {
        let old = try index("a 1 Depends=lib\nlib 1", suite: "trixie")
        let new = try index("a 2 Depends=lib\nlib 2", suite: "trixie-security")
        #expect(try solve([old, new], ["a"], held: ["lib": "1"]) == ["a=2", "lib=1"])
        let newer = try index("a 2 Depends=lib (>= 2)\nlib 2", suite: "trixie-security")
        let stuck = try #require(throws: DebianArchiveFault.self) {
            try solve([old, newer], ["a"], held: ["lib": "1"])
        }
        #expect(
            stuck.message
                == "the packages cannot be installed together: a 2 -> lib >= 2, which the lock does not let move: "
                + "it holds lib 1")
        #expect(stuck.remedy == "move what is in the way too, with --update, or lock everything anew")
    }

    @Test("an unknown package is named with the likely one")
    func unknown() throws {
        #expect(
            try message([index("containerd 1\nrunc 1")], ["containerdd", "crunc", "zzz"])
                == "unknown-package: 3 packages are unknown:\nthe suites have no package 'containerdd'; did you mean "
                + "'containerd'?\nthe suites have no package 'crunc'; did you mean 'runc'?\nthe suites have no package "
                + "'zzz'; correct it, or 'distribution.suites' and 'distribution.components'")
        let solver = try DependencySolver([index("runc 1")], architecture: "amd64", held: [:])
        let fault = #expect(throws: DebianArchiveFault.self) {
            try solver.solve(
                .init(install: ["crunc"], refuse: [], installsRecommends: false) {
                    .position(path: "m.yaml", line: $0.utf8.count, column: 3)
                })
        }
        #expect(fault?.description == "m.yaml:5:3: the suites have no package 'crunc'; did you mean 'runc'?")
    }

    @Test("what cannot be installed is explained by the chain to what is missing")
    func missing() throws {
        #expect(
            try message([index("a 1 Depends=b (>= 1)\nb 2 Depends=c (>= 3)\nc 2.5")], ["a"])
                == "unsatisfiable: the packages cannot be installed together: a 1 -> b 2 -> c >= 3, which no suite has: there "
                + "is c 2.5")
        #expect(
            try message([index("a 1 Depends=b\nb 2 Depends=nothing")], ["a"])
                == "unsatisfiable: the packages cannot be installed together: a 1 -> b 2 -> nothing, which no suite has"
        )
    }

    @Test("a conflict is explained by both ways that lead to it")
    func conflict() throws {
        let text = try message([index("a 1 Depends=x\nb 1 Depends=y\nx 1 Conflicts=y\ny 1")], ["a", "b"])
        #expect(
            text == "unsatisfiable: the packages cannot be installed together: a 1 -> x 1 conflicts with y: b 1 -> y 1")
    }

    @Test("what packages.remove forbids is not chosen, and is named where it is needed")
    func removed() throws {
        #expect(try solve([index("a 1 Depends=x | y\nx 1\ny 1")], ["a"], without: ["x"]) == ["a=1", "y=1"])
        #expect(
            try message([index("a 1 Depends=b\nb 1 Depends=x\nx 1")], ["a"], without: ["x"])
                == "unsatisfiable: the packages cannot be installed together: a 1 -> b 1 -> x, which packages.remove forbids"
        )
        #expect(
            try message([index("a 1")], ["a"], without: ["a"])
                == "unsatisfiable: 'a' is in packages.remove, and asked for")
    }

    @Test("a path that leaves the mirror costs the package that has it")
    func paths() throws {
        let text =
            "Package: a\nVersion: 1\nArchitecture: all\nFilename: ../../etc/a.deb\nSize: 1\nSHA256: "
            + String(repeating: "0", count: 64) + "\n"
        let index = PackageIndex(text: Array(text.utf8), suite: "s", priority: 500, source: "p")
        #expect(index.entries == [])
        #expect(index.odd["a"]?.code == .malformed)
    }
}
