"""User-mode Linux: a real kernel with its own disks, started in a second, whose root is this machine's, read-only."""

import pathlib
import shutil
import subprocess
import sys

MODULES = [
    "fs/nls/nls_cp437", "fs/nls/nls_iso8859-1", "fs/nls/nls_utf8", "fs/nls/nls_ascii", "fs/fat/fat", "fs/fat/vfat",
    "drivers/block/loop", "drivers/block/virtio_blk"]
# What runs as PID 1. Of this machine's files it can change those in the directories only that are mounted.
INIT = """#!/bin/sh
mount -t proc proc /proc
mount -t sysfs sys /sys
for directory in /run /tmp /mnt; do mount -t tmpfs tmpfs $directory; done
for directory in {directories}; do mkdir -p $directory && mount -t hostfs -o $directory hostfs $directory || exit 1; done
ip link set lo up
modules=/usr/lib/uml/modules/$(uname -r)/kernel
for module in {modules}; do /sbin/insmod $modules/$module.ko || exit 1; done
# The device has a cache, which it does not say of itself.
[ ! -e /sys/block/vda ] || echo "write back" >/sys/block/vda/cache_type || exit 1
export PYTHONDONTWRITEBYTECODE=1 HOME=/tmp PATH=/usr/sbin:/usr/bin:/sbin:/bin
{command} </dev/null >{work}/{name}.log 2>&1
echo $? >{work}/{name}.status
/sbin/halt -fp
"""


class UserModeLinux:
    """One that runs a command and ends. A disk is the socket of a vhost-user device, which is /dev/vda there; `shared` is another
    directory that it can change."""

    def __init__(self, work, name, command, disk=None, shared=None, memory="768M"):
        self.log, self.status = work / f"{name}.log", work / f"{name}.status"
        self.status.unlink(missing_ok=True)
        init = work / f"{name}.init"
        init.write_text(INIT.format(
            directories=f"{work} {shared or ''}", work=work, name=name, modules=" ".join(MODULES), command=command))
        init.chmod(0o755)
        program = shutil.which("linux.uml")
        if not program:
            sys.exit("there is no user-mode Linux; install the package 'user-mode-linux'")
        arguments = [program, f"mem={memory}", "rootfstype=hostfs", "rootflags=/", "ro", f"init={init}", "quiet",
                     "con=null", "con0=null,fd:1", f"umid={name}-{pathlib.Path(work).name}"]
        if disk:
            # 2 is the number of block devices (Virtual I/O Device specification, 5).
            arguments.append(f"virtio_uml.device={disk}:2")
        self.console = open(work / f"{name}.console", "w")
        self.process = subprocess.Popen(arguments, stdin=subprocess.DEVNULL, stdout=self.console, stderr=self.console)

    def wait(self, seconds):
        """Returns when the command has ended well."""
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise SystemExit(f"user-mode Linux did not end in {seconds} s; see {self.log}")
        status = self.status.read_text().strip() if self.status.exists() else "none"
        if status != "0":
            raise SystemExit(f"the command in user-mode Linux ended with status {status}; {self.log} ends with:\n"
                             + "\n".join(self.log.read_text(errors="replace").splitlines()[-20:]))
