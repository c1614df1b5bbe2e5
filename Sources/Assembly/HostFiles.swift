import Cryptography
package import DebianArchive
package import FileTree
import Glibc
package import Manifest

/// Files that must be another one on each host: keys, identities, databases that a package's script makes. An image that had
/// them would give all its hosts the same, and two builds of it would differ.
///
/// They are left out of the image, unless the manifest itself brings them. A unit for each kind runs at every boot before any
/// service starts, and does nothing where one of the files is there, so that what a host has made stays over updates and
/// rollbacks.
package struct HostFiles {
    /// What makes one kind of such files.
    struct Maker {
        /// Patterns of absolute paths, as fnmatch(3) has them with FNM_PATHNAME.
        let patterns: [String]
        /// The patterns for a shell, in which `*` and `?` do not match the dot of a hidden name.
        var shellPatterns: [String] {
            patterns.flatMap { pattern in
                pattern.split(separator: "/").reduce([""]) { paths, part in
                    let hidden =
                        part.hasPrefix("*") ? ".[!.]" + part : part.hasPrefix("?") ? "." + part.dropFirst() : nil
                    return paths.flatMap { path in [String(part), hidden].compactMap { $0 }.map { "\(path)/\($0)" } }
                }
            }
        }
        /// The program with its arguments; empty where the service that uses the files makes them itself.
        let run: [String]
        /// Whether each version of the image makes them anew.
        var renew = false
        /// A directory whose symbolic links to what is removed go too, since they are named after its content.
        var namedLinks: String?
        /// An instance of a template unit that what is made needs, and the unit that starts it. A generator that looks for
        /// the files comes too early at a host's first boot.
        var instance: (unit: String, template: String, startedBy: String)?
    }

    let makers: [Maker]
    let etc: Manifest.EtcMode

    private static let script = "usr/lib/ballast/first-boot"
    private static let units = "usr/lib/systemd/system"

    /// What packages of Debian 12 and 13 make when they are installed, by the package's name.
    private static let known: [String: Maker] = [
        "bind9": Maker(patterns: ["/etc/bind/rndc.key"], run: ["/usr/sbin/rndc-confgen", "-a", "-u", "bind"]),
        "mariadb-server": Maker(
            patterns: ["/var/lib/mysql/*"],
            run: [
                "/usr/bin/mariadb-install-db", "--rpm", "--cross-bootstrap", "--user=mysql", "--disable-log-bin",
                "--skip-test-db",
            ]),
        "munge": Maker(
            patterns: ["/etc/munge/munge.key"], run: ["/usr/sbin/runuser", "-u", "munge", "--", "/usr/sbin/mungekey"]),
        "nvme-cli": Maker(
            patterns: ["/etc/nvme/hostid", "/etc/nvme/hostnqn"],
            run: [
                "/bin/sh", "-c",
                "id=$(cat /proc/sys/kernel/random/uuid); echo \"$id\" >/etc/nvme/hostid; "
                    + "echo \"nqn.2014-08.org.nvmexpress:uuid:$id\" >/etc/nvme/hostnqn",
            ]),
        "open-iscsi": Maker(
            patterns: ["/etc/iscsi/initiatorname.iscsi"],
            run: [
                "/bin/sh", "-c",
                "umask 077; echo \"InitiatorName=$(/usr/sbin/iscsi-iname)\" >/etc/iscsi/initiatorname.iscsi",
            ]),
        "openssh-server": Maker(patterns: ["/etc/ssh/ssh_host_*"], run: ["/usr/bin/ssh-keygen", "-A"]),
        "pacemaker-common": Maker(
            patterns: ["/etc/pacemaker/authkey"],
            run: [
                "/bin/sh", "-c",
                "umask 037; head -c 4096 /dev/urandom >/etc/pacemaker/authkey; chgrp haclient /etc/pacemaker/authkey",
            ]),
        // The database has the time at which it was made. As in the package's own script, mail without aliases is no failure.
        "postfix": Maker(
            patterns: ["/etc/aliases.db"],
            run: [
                "/bin/sh", "-c", "/usr/bin/newaliases || echo 'newaliases has failed: mail goes on without aliases'",
            ],
            renew: true),
        "rabbitmq-server": Maker(patterns: ["/var/lib/rabbitmq/.erlang.cookie"], run: []),
        "ssl-cert": Maker(
            patterns: ["/etc/ssl/private/ssl-cert-snakeoil.key", "/etc/ssl/certs/ssl-cert-snakeoil.pem"],
            run: ["/usr/sbin/make-ssl-cert", "generate-default-snakeoil"], namedLinks: "/etc/ssl/certs"),
        // A line of its tmpfiles.d makes it at each boot that finds none.
        "varnish": Maker(patterns: ["/etc/varnish/secret"], run: []),
    ]

    /// For an image of `packages`.
    package init(manifest: Manifest, packages: [LockedPackage]) {
        var makers: [Maker] = []
        for package in packages {
            if let maker = Self.known[package.name] { makers.append(maker) }
            // A database cluster of this major version, with its own identifier.
            if package.name.hasPrefix("postgresql-"), let version = Int(package.name.dropFirst("postgresql-".count)) {
                makers.append(
                    Maker(
                        patterns: ["/etc/postgresql/\(version)/main", "/var/lib/postgresql/\(version)/main"],
                        run: ["/usr/bin/pg_createcluster", "\(version)", "main"],
                        instance: ("postgresql@\(version)-main.service", "postgresql@.service", "postgresql.service")))
            }
        }
        makers += manifest.firstBoot.map { Maker(patterns: [$0.remove], run: $0.run, renew: $0.renew) }
        self.makers = makers
        etc = manifest.etc
    }

    /// Takes the files out of `tree`, and puts the units in that have a host make them.
    ///
    /// - Parameter brought: the paths that the manifest's files and overlays bring, which stay.
    package func apply(to tree: inout FileTree, keeping brought: Set<String>, epoch: Int64) throws(FileTreeFault) {
        let active = makers.filter { !$0.run.isEmpty }
        for maker in makers { remove(maker, from: &tree, keeping: brought) }
        for maker in active {
            let name = Self.name(of: maker)
            try insert(unit(for: maker, name), at: "\(Self.units)/\(name).service", 0o644, in: &tree, epoch)
            for target in ["basic.target.wants", "boot-complete.target.requires"] {
                try link("\(Self.units)/\(target)/\(name).service", to: "../\(name).service", in: &tree, epoch)
            }
            guard let (unit, template, startedBy) = maker.instance, tree["\(Self.units)/\(template)"] != nil else {
                continue
            }
            try link("\(Self.units)/\(startedBy).wants/\(unit)", to: "../\(template)", in: &tree, epoch)
        }
        if !active.isEmpty { try insert(Self.maker, at: Self.script, 0o755, in: &tree, epoch) }
    }

    /// The name of the unit, and of what a host keeps: the same in each version of an image, whatever else is in it.
    private static func name(of maker: Maker) -> String {
        let pattern = maker.patterns.first ?? ""
        let words = pattern.split { !($0.isASCII && ($0.isLetter || $0.isNumber || $0 == "_")) }.joined(separator: "-")
        return "ballast-first-boot-\(words)-\(SHA256Digest(of: pattern.utf8).description.prefix(8))"
    }

    private func link(
        _ path: String, to target: String, in tree: inout FileTree, _ epoch: Int64
    ) throws(FileTreeFault) {
        try tree.insert(FileInode(.symbolicLink(target: target), permissions: 0o777, modified: epoch), at: path)
    }

    private func insert(
        _ text: String, at path: String, _ permissions: UInt16, in tree: inout FileTree, _ epoch: Int64
    ) throws(FileTreeFault) {
        try tree.insert(
            FileInode(.regular(.bytes(Array(text.utf8))), permissions: permissions, modified: epoch), at: path)
    }

    private func remove(_ maker: Maker, from tree: inout FileTree, keeping brought: Set<String>) {
        let candidates = tree.descendants(of: "etc") + tree.descendants(of: "var")
        let patterns = maker.shellPatterns.flatMap { [$0, Self.resolved($0, in: tree)] }
        let removed = candidates.filter { path in
            patterns.contains { fnmatch($0, "/" + path, FNM_PATHNAME | FNM_PERIOD) == 0 }
        }
        if let directory = maker.namedLinks {
            for path in tree.descendants(of: String(directory.dropFirst())) where !removed.contains(path) {
                guard case .symbolicLink? = tree[path]?.kind, let target = tree.resolve(path) else { continue }
                if removed.contains(target), !brought.contains(target) { tree.remove(path) }
            }
        }
        for path in removed {
            let below = [path] + tree.descendants(of: path)
            if brought.isDisjoint(with: below) {
                tree.remove(path)
            } else {
                for file in below where !brought.contains(file) {
                    if case .directory? = tree[file]?.kind { continue }
                    tree.remove(file)
                }
            }
        }
    }

    /// The pattern with symbolic links resolved in the directories before its first wildcard.
    private static func resolved(_ pattern: String, in tree: FileTree) -> String {
        let parts = pattern.split(separator: "/")
        let plain = parts.dropLast().prefix { !$0.contains(where: "*?[\\".contains) }
        guard let directory = tree.resolve(plain.joined(separator: "/")) else { return pattern }
        return "/" + ([directory] + parts.dropFirst(plain.count).map(String.init)).joined(separator: "/")
    }

    private func unit(for maker: Maker, _ name: String) -> String {
        let patterns = maker.patterns.joined(separator: " ")
        // What /etc forgets with every boot is kept beside it.
        let isKept = etc == .ephemeral && maker.patterns.contains { $0.hasPrefix("/etc/") }
        let words =
            ["/" + Self.script, name, isKept ? "keep" : "leave", maker.renew ? "renew" : "once"]
            + maker.shellPatterns + ["--"] + maker.run
        return """
            [Unit]
            Description=Make this host's own \(Self.specifier(patterns))
            DefaultDependencies=no
            RequiresMountsFor=/etc /var
            After=sysinit.target
            Before=basic.target shutdown.target
            Conflicts=shutdown.target

            [Service]
            Type=oneshot
            RemainAfterExit=yes
            ExecStart=\(words.map(Self.word).joined(separator: " "))
            StandardError=journal+console

            """
    }

    /// Makes the files, unless they are there or were kept. What an attempt that was interrupted has left goes first, and where
    /// they are to be renewed what another version has left.
    private static let maker = """
        #!/bin/sh
        # first-boot NAME keep|leave renew|once PATTERN ... -- COMMAND [ARGUMENT ...]
        set -eu
        state=/var/lib/ballast/first-boot
        begun=$state/$1.begun kept=$state/$1 made=$state/$1.version keep=$2 renew=$3
        shift 3
        version=$(. /usr/lib/os-release; echo "$IMAGE_VERSION")
        patterns=
        while [ "$1" != -- ]; do
          patterns="$patterns $1"
          shift
        done
        shift
        mkdir -p -m 0700 "$state"
        if [ "$renew" = renew ] && [ "$(cat "$made" 2>/dev/null)" != "$version" ]; then
          # From here on what is there counts for nothing, whatever becomes of this boot.
          : >"$begun"
          sync -f "$state"
        fi
        if [ -e "$begun" ]; then
          rm -rf -- $patterns
        else
          for file in $patterns; do
            [ ! -e "$file" ] || exit 0
          done
          if [ -d "$kept" ]; then
            for pattern in $patterns; do
              for file in "$kept"$pattern; do
                [ ! -e "$file" ] || cp -a -T "$file" "${file#"$kept"}"
              done
            done
            exit 0
          fi
        fi
        : >"$begun"
        sync -f "$state"
        "$@"
        if [ "$keep" = keep ]; then
          rm -rf "$kept" "$kept.new"
          mkdir -m 0700 "$kept.new"
          for file in $patterns; do
            [ -e "$file" ] || continue
            mkdir -p "$kept.new${file%/*}"
            cp -a -T "$file" "$kept.new$file"
          done
          sync -f "$state"
          # Where the command has made nothing, the next boot tries again.
          rmdir "$kept.new" 2>/dev/null || mv "$kept.new" "$kept"
        fi
        echo "$version" >"$made"
        sync -f /etc
        sync -f "$state"
        rm "$begun"
        sync -f "$state"

        """

    /// A word of a unit's command line (systemd.syntax(7), systemd.service(5)).
    private static func word(_ text: String) -> String {
        let escaped = specifier(text).replacing("\\", with: "\\\\").replacing("\"", with: "\\\"").replacing(
            "$", with: "$$")
        return "\"\(escaped)\""
    }

    private static func specifier(_ text: String) -> String { text.replacing("%", with: "%%") }
}
