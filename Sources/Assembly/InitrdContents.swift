import Manifest

/// What every initrd holds: a systemd that finds the slot by its root hash, verifies it, makes and mounts /var, lays /etc over
/// it, and goes on to the host.
enum InitrdContents {
    /// Programs and data by path in the image. Libraries follow by themselves.
    static let files = [
        "usr/lib/systemd/systemd", "usr/lib/systemd/systemd-executor", "usr/lib/systemd/systemd-shutdown",
        "usr/lib/systemd/systemd-journald", "usr/lib/systemd/systemd-modules-load",
        "usr/lib/systemd/systemd-sysroot-fstab-check", "usr/lib/systemd/systemd-udevd",
        "usr/lib/systemd/systemd-veritysetup",
        "usr/lib/systemd/system-generators/systemd-fstab-generator",
        "usr/lib/systemd/system-generators/systemd-veritysetup-generator",
        "usr/bin/systemctl", "usr/bin/systemd-repart", "usr/bin/udevadm", "usr/bin/mount", "usr/bin/umount",
        "usr/bin/mkdir", "usr/bin/cp", "usr/bin/kmod", "usr/sbin/modprobe", "usr/sbin/dmsetup", "usr/sbin/mkfs.ext4",
        "usr/sbin/e2fsck",
        "etc/mke2fs.conf", "etc/passwd", "etc/group", "etc/nsswitch.conf",
        "usr/lib/udev/rules.d/50-udev-default.rules", "usr/lib/udev/rules.d/55-dm.rules",
        "usr/lib/udev/rules.d/60-block.rules", "usr/lib/udev/rules.d/60-persistent-storage.rules",
        "usr/lib/udev/rules.d/60-persistent-storage-dm.rules", "usr/lib/udev/rules.d/80-drivers.rules",
        "usr/lib/udev/rules.d/95-dm-notify.rules", "usr/lib/udev/rules.d/99-systemd.rules",
    ]

    /// Units by name; those that the image's systemd does not have are passed over, as names come and go.
    static let units = [
        "-.slice", "basic.target", "cryptsetup.target", "emergency.service", "emergency.target", "final.target",
        "initrd-cleanup.service", "initrd-fs.target", "initrd-parse-etc.service", "initrd-root-device.target",
        "initrd-root-fs.target", "initrd-switch-root.service", "initrd-switch-root.target",
        "initrd-udevadm-cleanup-db.service", "initrd-usr-fs.target", "initrd.target", "kexec.target",
        "local-fs-pre.target",
        "local-fs.target", "modprobe@.service", "paths.target", "poweroff.target", "reboot.target",
        "remote-fs-pre.target", "remote-fs.target", "remote-veritysetup.target", "shutdown.target", "slices.target",
        "sockets.target", "swap.target", "sysinit.target", "system.slice", "systemd-journald-dev-log.socket",
        "systemd-journald.service", "systemd-journald.socket", "systemd-modules-load.service",
        "systemd-poweroff.service",
        "systemd-reboot.service", "systemd-repart.service", "systemd-udev-trigger.service",
        "systemd-udevd-control.socket", "systemd-udevd-kernel.socket", "systemd-udevd.service", "time-set.target",
        "timers.target", "umount.target", "veritysetup-pre.target", "veritysetup.target",
    ]

    /// Links that bring in units which nothing else asks for.
    static let wants = [
        ("initrd-root-fs.target.wants", "systemd-repart.service"), ("sysinit.target.wants", "veritysetup.target"),
        ("sysinit.target.wants", "systemd-journald.service"), ("sysinit.target.wants", "systemd-udevd.service"),
        ("sysinit.target.wants", "systemd-udev-trigger.service"),
        ("sysinit.target.wants", "systemd-modules-load.service"),
        ("sockets.target.wants", "systemd-journald.socket"),
        ("sockets.target.wants", "systemd-journald-dev-log.socket"),
        ("sockets.target.wants", "systemd-udevd-control.socket"),
        ("sockets.target.wants", "systemd-udevd-kernel.socket"),
        ("initrd-switch-root.target.wants", "initrd-udevadm-cleanup-db.service"),
    ]

    /// Modules of what a host's disks hang on, of what is on them, and of watchdogs. A kernel that has one built in, or not
    /// at all, is no error.
    static let modules = [
        "dm_mod", "dm_verity", "erofs", "overlay", "ext4", "virtio_pci", "virtio_mmio", "virtio_blk", "virtio_scsi",
        "nvme",
        "ahci", "sd_mod", "xen_blkfront", "hv_vmbus", "hv_storvsc", "vmw_pvscsi", "loop", "autofs4", "crc32c_generic",
        // The devices of iTCO_wdt are made by the two after it.
        "i6300esb", "iTCO_wdt", "lpc_ich", "i2c_i801", "sp5100_tco", "wdat_wdt",
    ]

    /// Modules that are loaded before anything asks for them.
    static let loadedFirst = ["dm_mod", "dm_verity", "erofs", "overlay", "ext4"]

    /// Features of dlopen notes whose libraries belong to what an initrd does.
    static let features: Set<String> = ["cryptsetup", "kmod", "mount", "blkid", "fdisk"]

    /// The definitions are in the root file system, so that it must be there first.
    static let repartAfterRoot = """
        [Unit]
        Requires=sysroot.mount
        After=sysroot.mount
        ConditionDirectoryNotEmpty=
        ConditionDirectoryNotEmpty=/sysroot/usr/lib/repart.d

        """

    static let varCheckName = "ballast-var-check.service"

    /// The journal brings the file system back after a power cut, but for a superblock of which only one sector was written: then one
    /// of its copies has to be taken, which the kernel and a cautious `e2fsck -p` do not. Nobody is there to be asked; where nothing
    /// helps, the mount says so.
    static func varCheck(partition: String) -> String {
        let partition = partition.lowercased()
        let device = "dev-disk-by\\x2dpartuuid-\(partition.split(separator: "-").joined(separator: "\\x2d")).device"
        return """
            [Unit]
            Description=Check the file system of everything that changes
            DefaultDependencies=no
            Requires=\(device)
            After=systemd-repart.service \(device)

            [Service]
            Type=oneshot
            RemainAfterExit=yes
            ExecStart=-/usr/sbin/e2fsck -y /dev/disk/by-partuuid/\(partition)
            StandardOutput=journal+console
            TimeoutStartSec=infinity

            """
    }

    static func varMount(partition: String) -> String {
        """
        [Unit]
        Description=Everything that changes
        DefaultDependencies=no
        Wants=\(varCheckName)
        After=systemd-repart.service \(varCheckName)
        Before=initrd-fs.target
        Conflicts=umount.target
        Before=umount.target

        [Mount]
        What=/dev/disk/by-partuuid/\(partition.lowercased())
        Where=/sysroot/var
        Type=ext4
        Options=rw,nodev,nosuid

        """
    }

    /// Lays a writable layer over the image's /etc. The layers below may change with every update, so that nothing may be
    /// remembered about them: no index, no redirects, no metadata-only copies.
    static func etcService(_ mode: Manifest.EtcMode) -> String {
        let base = mode == .persistent ? "/sysroot/var/lib/ballast/etc" : "/run/ballast/etc"
        let machineID =
            mode == .persistent
            ? "" : "ExecStart=-/usr/bin/cp /sysroot/var/lib/ballast/machine-id \(base)/upper/machine-id\n"
        return """
            [Unit]
            Description=The writable layer of /etc
            DefaultDependencies=no
            Requires=sysroot-var.mount
            After=sysroot-var.mount
            Before=initrd-fs.target initrd-parse-etc.service

            [Service]
            Type=oneshot
            RemainAfterExit=yes
            ExecStart=/usr/bin/mkdir -p \(base)/upper \(base)/work
            \(machineID)ExecStart=/usr/bin/mount -t overlay ballast-etc /sysroot/etc -o lowerdir=/sysroot/etc,upperdir=\(base)/upper,workdir=\(base)/work,index=off,redirect_dir=off,metacopy=off

            """
    }
}
