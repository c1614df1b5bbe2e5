import Archive
public import Fault
public import JSON

/// What one lock has that another has not.
public struct LockChanges: Sendable, Hashable {
    /// One package that differs.
    public struct Change: Sendable, Hashable {
        /// What the old lock had of it.
        public var old: LockedPackage?
        /// What the new lock has of it.
        public var new: LockedPackage?

        /// The package's name.
        public var name: String { (new ?? old)?.name ?? "" }
    }

    /// What the packages of one source changed between two versions.
    public struct SourceChange: Sendable, Hashable {
        /// The source package's name.
        public let source: String
        /// The version that the old lock had.
        public let old: String
        /// The version that the new lock has.
        public let new: String
        /// The entries of the changelog after the old version, newest first.
        package let entries: [Changelog.Entry]
        /// The vulnerabilities that these entries name.
        public let vulnerabilities: [String]
    }

    /// The changes, sorted by name.
    public let changes: [Change]
    /// What was read of the changes, sorted by source.
    public private(set) var sources: [SourceChange] = []

    /// The way from `old` to `new`; without an old lock everything is added.
    public init(from old: Lock?, to new: Lock) {
        let before = Dictionary((old?.packages ?? []).map { ($0.name, $0) }) { first, _ in first }
        let after = Dictionary(new.packages.map { ($0.name, $0) }) { first, _ in first }
        var changes: [Change] = []
        for package in new.packages {
            let previous = before[package.name]
            // The same version with other bytes is a change too.
            if previous?.version != package.version || previous?.digest != package.digest {
                changes.append(Change(old: previous, new: package))
            }
        }
        for package in old?.packages ?? [] where after[package.name] == nil {
            changes.append(Change(old: package, new: nil))
        }
        self.changes = changes.sorted { $0.name.utf8.lexicographicallyPrecedes($1.name.utf8) }
    }

    /// The packages whose changelogs say what changed: new ones too, since a kernel's name changes with its version.
    public var arrived: [LockedPackage] { changes.compactMap(\.new) }

    /// Reads the changelogs of the packages that moved. Those that arrived are in `cache`.
    public mutating func readChangelogs(in cache: PackageCache) throws(DebianArchiveFault) {
        let order = VersionOrder()
        var found: [String: SourceChange] = [:]
        var added: [String: [DebianPackageFile]] = [:]
        for change in changes {
            guard let new = change.new else { continue }
            try cache.verify(new)
            guard let old = change.old else {
                let package = try DebianPackageFile(cache.path(of: new))
                added[Self.source(of: package).name, default: []].append(package)
                continue
            }
            let package = try DebianPackageFile(cache.path(of: new))
            let (source, version) = Self.source(of: package)
            let oldVersion =
                (try? DebianPackageFile(cache.path(of: old))).map { Self.source(of: $0).version }
                ?? Self.sourceVersion(ofBinary: old.version)
            // The packages of one source have the same changelog, and some only a link to another's.
            guard found[source]?.entries.isEmpty ?? true else { continue }
            found[source] = Self.change(of: source, from: oldVersion, to: version, by: package, order)
        }
        for change in found.values where change.entries.isEmpty {
            for package in added[change.source] ?? [] where found[change.source]?.entries.isEmpty == true {
                found[change.source] = Self.change(
                    of: change.source, from: change.old, to: change.new, by: package, order)
            }
        }
        sources = found.values.sorted { $0.source < $1.source }
    }

    private static func change(
        of source: String, from old: String, to new: String, by package: DebianPackageFile, _ order: VersionOrder
    ) -> SourceChange {
        let changelog = (try? Changelog.read(package)).flatMap { $0 }
        let entries = (changelog?.entries ?? []).prefix { order.isOlder(old, $0.version) }
        return SourceChange(
            source: source, old: old, new: new, entries: Array(entries),
            vulnerabilities: Changelog.vulnerabilities(in: entries.map(\.text).joined(separator: "\n")))
    }

    /// `Source: NAME (VERSION)`, of which each part is the package's own where it is left out (policy, section 5.6.1).
    private static func source(of package: DebianPackageFile) -> (name: String, version: String) {
        let words = (package.control["Source"] ?? package.name).split { $0 == " " || $0 == "(" || $0 == ")" }
        return (
            words.first.map(String.init) ?? package.name,
            words.count > 1 ? String(words[1]) : sourceVersion(ofBinary: package.version)
        )
    }

    /// Without the mark of a binary-only rebuild, `+b1`.
    private static func sourceVersion(ofBinary version: String) -> String {
        guard let plus = version.lastIndex(of: "+") else { return version }
        let mark = version[plus...].dropFirst()
        return mark.first == "b" && mark.count > 1 && mark.dropFirst().allSatisfy(\.isNumber)
            ? String(version[..<plus]) : version
    }
}

extension LockChanges {
    /// Lines for a person: `+name version`, `-name version` and ` name old -> new`, each with its size, then what changed.
    ///
    /// - Parameter size: writes a number of bytes.
    public func lines(size: (Int64) -> String) -> [String] {
        var lines = changes.map { change in
            switch (change.old, change.new) {
            case (let old?, let new?):
                " \(change.name) \(old.version) -> \(new.version) (\(Self.difference(old, new, size)))"
            case (nil, let new?): "+\(change.name) \(new.version) (\(size(new.size)))"
            case (let old?, nil): "-\(change.name) \(old.version) (\(size(old.size)))"
            case (nil, nil): ""
            }
        }
        for source in sources where !source.entries.isEmpty {
            lines += ["", "\(source.source) \(source.old) -> \(source.new)"]
            if !source.vulnerabilities.isEmpty {
                lines.append("  closes \(source.vulnerabilities.joined(separator: ", "))")
            }
            for entry in source.entries {
                lines += ["  \(entry.version), \(entry.date)"] + entry.text.split(separator: "\n").map { "  \($0)" }
            }
        }
        return lines.map(Self.printable)
    }

    /// Nothing of a package commands a terminal.
    private static func printable(_ line: String) -> String {
        String(
            String.UnicodeScalarView(
                line.unicodeScalars.map { scalar in
                    scalar.properties.generalCategory == .control || scalar.properties.generalCategory == .format
                        ? "?" : scalar
                }))
    }

    /// The same for a pull request, in Markdown.
    public func markdown(size: (Int64) -> String) -> [String] {
        guard !changes.isEmpty else { return ["No package changed."] }
        var lines = ["| package | before | after | size |", "|---|---|---|---|"]
        for change in changes {
            let size =
                switch (change.old, change.new) {
                case (let old?, let new?): Self.difference(old, new, size)
                default: size((change.new ?? change.old)?.size ?? 0)
                }
            lines.append(
                "| \(change.name) | \(change.old?.version ?? "") | \(change.new?.version ?? "") | \(size) |")
        }
        let vulnerabilities = Set(sources.flatMap(\.vulnerabilities)).sorted()
        if !vulnerabilities.isEmpty { lines += ["", "Closes " + vulnerabilities.joined(separator: ", ") + "."] }
        for source in sources where !source.entries.isEmpty {
            let title = "\(source.source) \(source.old) → \(source.new)".replacing("<", with: "&lt;")
            lines += ["", "<details><summary>\(title)</summary>", "", "```"]
            for entry in source.entries {
                lines += ["\(entry.version), \(entry.date)"]
                // Nothing of a package ends the block.
                let text = entry.text.replacing("```", with: "'''")
                lines += text.split(separator: "\n", omittingEmptySubsequences: false).map(String.init)
            }
            lines += ["```", "", "</details>"]
        }
        return lines.map(Self.printable)
    }

    private static func difference(_ old: LockedPackage, _ new: LockedPackage, _ size: (Int64) -> String) -> String {
        new.size < old.size ? "-\(size(old.size - new.size))" : "+\(size(new.size - old.size))"
    }

    /// The changes for a program.
    public var json: JSONValue {
        func version(_ package: LockedPackage?) -> JSONValue { package.map { .string($0.version) } ?? .null }
        func size(_ package: LockedPackage?) -> JSONValue { package.map { .integer($0.size) } ?? .null }
        return .array(
            changes.map { change in
                [
                    "name": .string(change.name), "new": version(change.new), "new_bytes": size(change.new),
                    "old": version(change.old), "old_bytes": size(change.old),
                ]
            })
    }

    /// What changed in the packages that moved, for a program.
    public var sourcesJSON: JSONValue {
        .array(
            sources.map { source in
                [
                    "cves": .array(source.vulnerabilities.map { .string($0) }),
                    "entries": .array(
                        source.entries.map { entry in
                            [
                                "date": .string(entry.date), "text": .string(entry.text),
                                "version": .string(entry.version),
                            ]
                        }), "new": .string(source.new), "old": .string(source.old), "source": .string(source.source),
                ]
            })
    }
}
