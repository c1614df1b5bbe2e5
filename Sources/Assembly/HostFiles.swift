package import DebianArchive
package import FileTree
import Glibc
package import Manifest

/// Files that must be another one on each host: keys, identities, databases that a package's script makes. An image that had
/// them would give all its hosts the same, and two builds of it would differ.
///
/// They are left out of the image. A unit for each pattern runs at every boot before any service starts, and does nothing
/// where a file of that pattern is there, so that what a host has made stays over updates and rollbacks.
package struct HostFiles {
    /// What makes one kind of such files.
    struct Maker: Hashable {
        /// Patterns of absolute paths, as fnmatch(3) has them with FNM_PATHNAME. The first says whether a host has them.
        let patterns: [String]
        /// The program with its arguments; empty where the service that uses the files makes them itself.
        let run: [String]
        /// A directory whose symbolic links to what is removed go too, since they are named after its content.
        var namedLinks: String?
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
        "rabbitmq-server": Maker(patterns: ["/var/lib/rabbitmq/.erlang.cookie"], run: []),
        "ssl-cert": Maker(
            patterns: ["/etc/ssl/private/ssl-cert-snakeoil.key", "/etc/ssl/certs/ssl-cert-snakeoil.pem"],
            run: ["/usr/sbin/make-ssl-cert", "generate-default-snakeoil"], namedLinks: "/etc/ssl/certs"),
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
                        run: ["/usr/bin/pg_createcluster", "\(version)", "main"]))
            }
        }
        makers += manifest.firstBoot.map { Maker(patterns: [$0.remove], run: $0.run) }
        self.makers = makers
        etc = manifest.etc
    }

    /// Takes the files out of `tree`, and puts the units in that have a host make them.
    package func apply(to tree: inout FileTree, epoch: Int64) throws(FileTreeFault) {
        var needsScript = false
        for (index, maker) in makers.enumerated() {
            remove(maker, from: &tree)
            guard !maker.run.isEmpty, let pattern = maker.patterns.first else { continue }
            let name = "ballast-first-boot-\(index + 1).service"
            // What /etc forgets with every boot is kept beside it.
            let isKept = etc == .ephemeral && maker.patterns.contains { $0.hasPrefix("/etc/") }
            needsScript = needsScript || isKept
            try insert(unit(for: maker, pattern, isKept: isKept), at: "\(Self.units)/\(name)", 0o644, in: &tree, epoch)
            for target in ["basic.target.wants", "boot-complete.target.requires"] {
                try tree.insert(
                    FileInode(.symbolicLink(target: "../\(name)"), permissions: 0o777, modified: epoch),
                    at: "\(Self.units)/\(target)/\(name)")
            }
        }
        if needsScript { try insert(Self.keeper, at: Self.script, 0o755, in: &tree, epoch) }
    }

    private func insert(
        _ text: String, at path: String, _ permissions: UInt16, in tree: inout FileTree, _ epoch: Int64
    ) throws(FileTreeFault) {
        try tree.insert(
            FileInode(.regular(.bytes(Array(text.utf8))), permissions: permissions, modified: epoch), at: path)
    }

    private func remove(_ maker: Maker, from tree: inout FileTree) {
        let candidates = tree.descendants(of: "etc") + tree.descendants(of: "var")
        let removed = candidates.filter { path in
            maker.patterns.contains { fnmatch($0, "/" + path, FNM_PATHNAME) == 0 }
        }
        if let directory = maker.namedLinks {
            for path in tree.descendants(of: String(directory.dropFirst())) where !removed.contains(path) {
                guard case .symbolicLink? = tree[path]?.kind, let target = tree.resolve(path) else { continue }
                if removed.contains(target) { tree.remove(path) }
            }
        }
        for path in removed { tree.remove(path) }
    }

    private func unit(for maker: Maker, _ pattern: String, isKept: Bool) -> String {
        let command = ((isKept ? ["/" + Self.script, pattern] : []) + maker.run).map(Self.word).joined(separator: " ")
        return """
            [Unit]
            Description=Make this host's own \(Self.specifier(pattern))
            DefaultDependencies=no
            ConditionPathExistsGlob=!\(Self.specifier(pattern))
            RequiresMountsFor=/etc /var
            After=sysinit.target
            Before=basic.target shutdown.target
            Conflicts=shutdown.target

            [Service]
            Type=oneshot
            RemainAfterExit=yes
            ExecStart=\(command)
            StandardError=journal+console

            """
    }

    /// Brings back what an earlier boot has made, or has it made and keeps it.
    private static let keeper = """
        #!/bin/sh
        # first-boot PATTERN COMMAND [ARGUMENT ...]
        set -eu
        kept=/var/lib/ballast/first-boot
        pattern=$1
        shift
        mkdir -p -m 0700 "$kept"
        for file in "$kept"$pattern; do
          [ -e "$file" ] || break
          cp -a --no-clobber "$file" "${file#"$kept"}"
          found=yes
        done
        [ -z "${found:-}" ] || exit 0
        "$@"
        cp -a --parents $pattern "$kept"
        sync -f "$kept"

        """

    /// A word of a unit's command line (systemd.syntax(7), systemd.service(5)).
    private static func word(_ text: String) -> String {
        let escaped = specifier(text).replacing("\\", with: "\\\\").replacing("\"", with: "\\\"").replacing(
            "$", with: "$$")
        return "\"\(escaped)\""
    }

    private static func specifier(_ text: String) -> String { text.replacing("%", with: "%%") }
}
