import JSON

extension Manifest {
    /// The reference of all keys, as Markdown.
    public static var reference: String {
        var text = """
            <!-- Written by `ballast manifest reference`; change the schema, not this file. -->
            # Manifest reference

            A manifest is a YAML file that describes one image. Only `product` has to be given. `ballast manifest check FILE`
            validates it, `ballast manifest show FILE` prints the merged result with the origin of every value, and
            `ballast manifest schema` prints a JSON Schema for editors.

            ## Merging

            Manifests named by `include` are merged first, in their order, and the including manifest on top:

            - scalars override;
            - mappings merge key by key;
            - lists append elements that are not there yet; in lists of mappings (`files`, `users`, `groups`, `health`, `update.gates`,
              `update.drains`), an element with the same name or path takes the place of the included one;
            - `!replace` before a value takes it as it is, without the included one: `suites: !replace [trixie]`;
            - `!remove` before a list removes these elements (by name or path, where they are mappings), before one element only
              that one, and with no value the whole key: `install: !remove [nano]`, `- !remove nano`, `url: !remove`.
              Removing something that is not there is an error.

            Paths of overlays and other local files are relative to the manifest that names them. Sizes are written as `512 MiB`
            or `1 GiB`, durations as `90s`, `15m`, `1h` or `1h30m`.

            ## Files below /var

            A host's /var is its own: empty at first, and kept by every update. What packages, overlays and `files` have below
            /var, /home, /root, /srv and /mnt (the latter four are links to places in /var) goes to /usr/share/factory/var, and
            systemd-tmpfiles copies it to the host at each boot where it is missing: files, directories with mode and owner,
            symbolic links. What the host has changed stays as it is, and what it has removed comes back with the next boot. What a
            package's own tmpfiles.d makes is left to that, unless it would make an empty file. A directory of one account below
            a directory of another that is not root comes as a whole, and only where there is none or an empty one: systemd-tmpfiles goes
            into no such directory. Its owners are the numbers that they have in the image. Directories of /var/log and /var/cache come empty; of extended attributes those come whose
            names begin with `user.`;
            what only a package manager reads does not come at all.


            """
        text += "## Keys\n\n"
        Schema.manifest.describeKeys(below: "", to: &text)
        return String(text.dropLast())
    }
}

extension Schema {
    fileprivate func describeKeys(below path: String, to text: inout String) {
        guard case .mapping(let keys, _) = kind else { return }
        for key in keys {
            let name = path.isEmpty ? key.name : "\(path).\(key.name)"
            let level = path.isEmpty ? "###" : "####"
            text += "\(level) `\(name)`\n\n\(key.schema.doc)\n\n"
            if case .mapping = key.schema.kind {
                key.schema.describeKeys(below: name, to: &text)
                continue
            }
            text += "- Takes: \(key.schema.takes)\(key.isRequired ? " (required)" : "")\n"
            switch key.schema.defaultValue {
            case .none: break
            case .value(let value): text += "- Default: `\(value.compactText)`\n"
            case .derived(let how, _): text += "- Default: \(how)\n"
            }
            if let example = key.schema.example { text += "- Example: `\(key.name): \(example)`\n" }
            text += "\n"
            if case .list(let element, _) = key.schema.kind {
                element.describeKeys(below: name + "[]", to: &text)
            }
        }
    }

    private var takes: String {
        if case .list(let element, _) = kind, case .mapping(_, let alternatives) = element.kind {
            return "a list of mappings with the keys below"
                + (alternatives.isEmpty
                    ? "" : ", with exactly one of \(alternatives.map { "`\($0)`" }.joined(separator: ", "))")
        }
        return expectation
    }
}
