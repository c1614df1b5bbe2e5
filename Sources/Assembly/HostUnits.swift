package import Manifest

/// The units that make a systemd host a Ballast host. They are part of the image, under /usr/lib/systemd.
package enum HostUnits {
    static let agentPath = "/usr/lib/ballast/ballastd"
    static let controlPath = "/usr/bin/ballastctl"
    static let generatorPath = "usr/lib/systemd/system-generators/ballast-disk-generator"

    /// Units that run on the host, whatever else the manifest enables.
    package static func enabled(for manifest: Manifest) -> [String] {
        [
            "ballastd.socket", "ballast-fetch.socket", "ballast-health.service", "ballast-good.service",
            "ballast-probation.service",
        ]
            + (manifest.boot.watchdog > 0 ? ["ballast-watchdog.service"] : [])
    }

    /// The units of the host, and what else makes systemd run them.
    package static func files(for manifest: Manifest) -> [(path: String, text: String)] {
        let longestCheck = manifest.health.map(\.timeout).max() ?? 0
        return settings(for: manifest) + RestartUnits(update: manifest.update).files + [
            ("usr/lib/systemd/system/ballastd.service", agent),
            ("usr/lib/systemd/system/ballastd.socket", controlSocket),
            ("usr/lib/systemd/system/ballast-fetch.socket", fetchSocket),
            ("usr/lib/systemd/system/ballast-fetch@.service", fetchWorker),
            ("usr/lib/systemd/system/ballast-health.service", health),
            ("usr/lib/systemd/system/ballast-good.service", good),
            ("usr/lib/systemd/system/ballast-probation.service", probation),
            ("usr/lib/systemd/system/ballast-failed.service", failed),
            ("usr/lib/systemd/system/ballast-look.service", look),
            ("usr/lib/systemd/system/ballast-leave.service", leave),
            ("usr/lib/systemd/system/ballast-watchdog.service", softwareWatchdog),
            ("usr/lib/systemd/system/boot-complete.target.d/10-ballast.conf", incomplete),
            (
                "usr/lib/systemd/system/systemd-bless-boot.service.d/10-ballast.conf",
                bless(longestCheck: longestCheck)
            ),
            ("usr/lib/systemd/system/emergency.service.d/10-ballast.conf", emergency),
            ("usr/lib/systemd/system/var.mount.d/10-ballast.conf", varMount),
            ("usr/lib/sysusers.d/ballast.conf", "g ballast - -\n"),
            (generatorPath, "#!/bin/sh\nexec \(agentPath) disk-generator \"$1\"\n"),
        ]
    }

    // Reports of failed boots and the ends of their journals are for root and the group. No StateDirectory=: where the directory is not
    // quite as systemd wants it, that gives all that is below to the service, and a host's own /etc is below.
    private static let state = """
        ReadWritePaths=/var/lib/ballast
        Group=ballast
        UMask=0027
        """

    // What runs the image's own health checks must leave them what programs commonly need: to read everything, to be another user, to
    // reach the network, to write below /var. A check that needs more gets it by a drop-in.
    static let checking = """
        \(state)
        ProtectSystem=strict
        ReadWritePaths=/var /run -/efi -/boot
        ProtectHome=read-only
        PrivateTmp=yes
        ProtectKernelTunables=yes
        ProtectKernelModules=yes
        ProtectKernelLogs=yes
        ProtectControlGroups=yes
        ProtectClock=yes
        ProtectHostname=yes
        RestrictNamespaces=yes
        RestrictRealtime=yes
        RestrictSUIDSGID=yes
        LockPersonality=yes
        NoNewPrivileges=yes
        SystemCallArchitectures=native
        SystemCallFilter=@system-service
        RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK
        CapabilityBoundingSet=CAP_DAC_OVERRIDE CAP_DAC_READ_SEARCH CAP_CHOWN CAP_FOWNER CAP_SETUID CAP_SETGID CAP_KILL CAP_NET_RAW
        """

    private static let agent = """
        [Unit]
        Description=Ballast update agent
        # Not after the network: whoever asks what runs here is answered without one.
        Requires=ballastd.socket
        Wants=network-online.target ballast-fetch.socket
        After=ballastd.socket ballast-fetch.socket
        RequiresMountsFor=/var/lib/ballast

        [Service]
        Type=notify
        ExecStart=\(agentPath) serve
        Sockets=ballastd.socket
        Restart=on-failure
        RestartSec=5s
        # It looks for what the last boots have left first, which takes its time on a slow disk.
        TimeoutStartSec=infinity
        WatchdogSec=10min
        TimeoutStopSec=30s
        \(state)
        # It writes its disk and the ESP, and it asks systemd to reboot: nothing else. What speaks to the network is another service's.
        ProtectSystem=strict
        ReadWritePaths=-/efi -/boot
        ProtectHome=yes
        PrivateTmp=yes
        ProtectKernelTunables=yes
        ProtectKernelModules=yes
        ProtectKernelLogs=yes
        ProtectControlGroups=yes
        ProtectClock=yes
        ProtectHostname=yes
        ProtectProc=invisible
        RestrictNamespaces=yes
        RestrictRealtime=yes
        RestrictSUIDSGID=yes
        LockPersonality=yes
        MemoryDenyWriteExecute=yes
        NoNewPrivileges=yes
        SystemCallArchitectures=native
        SystemCallFilter=@system-service
        RestrictAddressFamilies=AF_UNIX
        PrivateNetwork=yes
        DevicePolicy=closed
        # ballast-disk-generator names the one disk in their place.
        DeviceAllow=block-* rw
        CapabilityBoundingSet=CAP_SYS_ADMIN CAP_DAC_OVERRIDE CAP_CHOWN CAP_FOWNER

        [Install]
        WantedBy=multi-user.target

        """

    private static let controlSocket = """
        [Unit]
        Description=Control socket of the Ballast update agent

        [Socket]
        # Who may do what is decided by who calls: everybody gets an answer.
        ListenStream=/run/ballast/io.ballast.Update
        SocketMode=0666
        DirectoryMode=0755
        FileDescriptorName=varlink

        [Install]
        WantedBy=sockets.target

        """

    private static let fetchSocket = """
        [Unit]
        Description=Fetch workers of the Ballast update agent

        [Socket]
        ListenStream=/run/ballast/fetch
        SocketMode=0600
        DirectoryMode=0755
        Accept=yes
        MaxConnections=32

        [Install]
        WantedBy=sockets.target

        """

    // It reads what strangers write, TLS, HTTP and zstd, and has nothing that it could do harm with.
    private static let fetchWorker = """
        [Unit]
        Description=Fetches for the Ballast update agent
        CollectMode=inactive-or-failed

        [Service]
        ExecStart=\(agentPath) fetch
        StandardInput=socket
        StandardOutput=journal
        StandardError=journal
        DynamicUser=yes
        UMask=0077
        ProtectHome=yes
        PrivateDevices=yes
        PrivateUsers=yes
        PrivateIPC=yes
        ProtectKernelTunables=yes
        ProtectKernelModules=yes
        ProtectKernelLogs=yes
        ProtectControlGroups=yes
        ProtectClock=yes
        ProtectHostname=yes
        ProtectProc=invisible
        ProcSubset=pid
        RestrictNamespaces=yes
        RestrictRealtime=yes
        LockPersonality=yes
        MemoryDenyWriteExecute=yes
        SystemCallArchitectures=native
        SystemCallFilter=@system-service
        SystemCallFilter=~@privileged @resources @chown @keyring
        # Names are looked up by netlink and UNIX sockets too.
        RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK
        CapabilityBoundingSet=
        DevicePolicy=closed
        MemoryMax=128M
        TasksMax=32
        # A transfer goes on with the next one, and one that somebody has taken over does not stay.
        RuntimeMaxSec=1h

        """

    private static let health = """
        [Unit]
        Description=Health checks of this boot
        Before=boot-complete.target
        After=basic.target
        RequiresMountsFor=/var/lib/ballast

        [Service]
        Type=oneshot
        RemainAfterExit=yes
        ExecStart=\(agentPath) health
        # Who sits at the console sees why a boot fails.
        StandardError=journal+console
        TimeoutStartSec=infinity
        \(checking)

        [Install]
        RequiredBy=boot-complete.target

        """

    // Pulls in boot-complete.target on every boot, also where no boot counting asks for it.
    private static let good = """
        [Unit]
        Description=Record that this boot is good
        Requires=boot-complete.target
        After=boot-complete.target systemd-bless-boot.service
        RequiresMountsFor=/var/lib/ballast

        [Service]
        Type=oneshot
        RemainAfterExit=yes
        ExecStart=\(agentPath) good
        # A host that is not known to be good takes no update. What waits for this does not fail with its first attempt.
        Restart=on-failure
        RestartMode=direct
        RestartSec=30
        \(checking)

        [Install]
        WantedBy=multi-user.target

        """

    private static let probation = """
        [Unit]
        Description=Health checks of a version that is new here
        Requires=ballast-good.service
        After=ballast-good.service ballast-fetch.socket
        RequiresMountsFor=/var/lib/ballast

        [Service]
        ExecStart=\(agentPath) probation
        Restart=on-failure
        RestartSec=30
        \(checking)

        [Install]
        WantedBy=multi-user.target

        """

    // Started by the agent before a restart: how long the host does not answer is counted from here.
    private static let look = """
        [Unit]
        Description=Look whether all health checks hold before a restart
        RequiresMountsFor=/var/lib/ballast

        [Service]
        Type=oneshot
        ExecStart=\(agentPath) look
        \(checking)

        """

    // Whatever keeps the boot from being complete: health checks that fail, an agent that cannot run them, a unit of the
    // image's own that boot-complete.target requires.
    private static let incomplete = "[Unit]\nOnFailure=ballast-failed.service\n"

    private static let failed = """
        [Unit]
        Description=Leave a boot that is on trial and is not complete
        RequiresMountsFor=/var/lib/ballast
        OnFailure=ballast-leave.service

        [Service]
        Type=oneshot
        ExecStart=\(agentPath) failed
        StandardError=journal+console
        TimeoutStartSec=120
        \(checking)

        """

    // The agent itself is what does not run.
    private static let leave = """
        [Unit]
        Description=Leave a boot that the boot loader counts
        ConditionPathExists=/sys/firmware/efi/efivars/LoaderBootCountPath-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f

        [Service]
        Type=oneshot
        EnvironmentFile=/usr/lib/os-release
        # Without a word of its own, a version is tried again later.
        ExecStartPre=-/bin/sh -c 'mkdir -p /var/lib/ballast/health && : >"/var/lib/ballast/health/$IMAGE_VERSION.left" && sync'
        # logind refuses while somebody holds an inhibitor lock, and systemd does not.
        ExecStart=/bin/sh -c 'systemctl --no-block --check-inhibitors=no reboot || systemctl --no-block --job-mode=replace-irreversibly start reboot.target'

        """

    /// systemd's own settings, in the image and in its initrd: it opens the watchdog as soon as there is one.
    package static func settings(for manifest: Manifest) -> [(path: String, text: String)] {
        guard manifest.boot.watchdog > 0 else { return [] }
        let text = "[Manager]\nRuntimeWatchdogSec=\(manifest.boot.watchdog)s\n"
        return [("usr/lib/systemd/system.conf.d/10-ballast.conf", text)]
    }

    // Where udev has found none, the kernel's own ends at least a host whose systemd does nothing any more.
    private static let softwareWatchdog = """
        [Unit]
        Description=Watchdog of the kernel, where the machine has none
        DefaultDependencies=no
        After=systemd-udev-trigger.service systemd-udevd.service
        Conflicts=shutdown.target
        Before=shutdown.target

        [Service]
        Type=oneshot
        RemainAfterExit=yes
        ExecStart=-/usr/bin/udevadm settle --timeout=60
        ExecStart=/bin/sh -c 'test -e /dev/watchdog0 || exec /usr/sbin/modprobe --use-blacklist softdog'

        [Install]
        WantedBy=multi-user.target

        """

    // This service exists only while a boot is being counted: a new version that never gets as far as its health checks
    // takes one of its tries and goes on to the next. A check that is given much time has it on top. What it does otherwise,
    // ballast-good.service does: systemd-bless-boot renames the boot entry, and Linux's FAT writes the new name before it says where
    // the file is. Cut then, a host that has no other version boots nothing any more.
    private static func bless(longestCheck: Int) -> String {
        """
        [Unit]
        JobTimeoutSec=\(900 + longestCheck)s
        JobTimeoutAction=reboot

        [Service]
        ExecStart=
        ExecStart=/usr/bin/true

        """
    }

    // The journal is on it, and a persistent /etc lies over it: it can only go after all units, when systemd-shutdown takes
    // it. Tried earlier, it fails in every shutdown.
    private static let varMount = "[Unit]\nDefaultDependencies=no\n"

    // Nobody sits at the console of a host that cannot be reached: it tries again, and boot counting ends that.
    static let emergency = """
        [Service]
        ExecStartPre=
        ExecStart=
        ExecStart=/usr/bin/systemctl --force reboot
        StandardInput=null
        StandardOutput=journal+console

        """
}
