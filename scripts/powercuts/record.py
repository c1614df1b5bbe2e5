"""What a host goes through while its disk is recorded. Runs inside user-mode Linux, one boot after another; between two boots the
firmware and systemd-boot have the disk, in QEMU."""

import json
import pathlib
import sys

from powercuts.host import Host, events

DISK = "/dev/vda"
PARTITIONS = {"efi": "/dev/vda1", "var": "/dev/vda6"}


def new(host, mark):
    """The first boot of a new host, and an update that is killed in the middle."""
    host.start_agent()
    host.control("deny", "9.9", "--reason", "it is bad")
    mark("deny 9.9", denied=["9.9"])
    host.control("pin", "1.1")
    mark("pin 1.1", pinned="1.1")
    host.stop_agent()
    host.update_and_kill()
    mark("an update was killed")
    host.daemon("update")
    mark("an update is ready")
    host.start_agent()
    host.control("deny", "1.1")
    mark("deny 1.1", denied=["9.9", "1.1"])
    host.control("allow", "1.1")
    mark("allow 1.1", denied=["9.9"])
    host.daemon("update")
    mark("the update is ready again")


def updated(host, mark):
    """1.1 has proved itself."""
    host.start_agent()
    host.control("unpin")
    mark("unpin", pinned=None)
    host.control("rollback")
    mark("rollback", denied=["9.9", "1.1"])


def back(host, mark):
    """1.0 has proved itself again."""
    host.start_agent()
    host.control("allow", "1.1")
    mark("allow 1.1 again", denied=["9.9"])
    host.daemon("update")
    mark("the third update is ready")


def sick(host, mark):
    """1.1 fails its health checks; the host reboots."""
    host.daemon("failed", check=False)
    mark("1.1 has failed", may_deny="1.1")


def returned(host, mark):
    """The loader has come back to 1.0."""
    host.start_agent()
    host.status()
    mark("the host is back", denied=["9.9", "1.1"])


# Which version runs, whether it proves itself, and what happens then.
BOOTS = [("1.0", True, new), ("1.1", True, updated), ("1.0", True, back), ("1.1", False, sick), ("1.1", False, sick),
         ("1.1", False, sick), ("1.0", None, returned)]


def main():
    work, number, counted = pathlib.Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    scene = json.loads((work / "scene.json").read_text())
    version, proves, story = BOOTS[number]
    host = Host(scene["binaries"], scene["releases"], scene["trusted_root"], scene["port"])
    host.is_old = scene["is_old"]
    marks = open(work / "marks.jsonl", "a")

    def mark(what, **promise):
        # Everything up to here is answered, and is in the log as far as it was flushed.
        known = {"log": (work / "log").stat().st_size, "what": what, "events": len(events()) if host.is_mounted else 0}
        print(json.dumps(known | promise), file=marks, flush=True)
    received = open(work / "received.jsonl", "a")
    host.on_fetch = lambda total: print(
        json.dumps({"boot": number, "log": (work / "log").stat().st_size, "bytes": total}), file=received, flush=True)
    host.serve(str(work / "repo"))
    mark(f"boot {number}: {version}")
    host.boot(DISK, PARTITIONS, version, counted if counted != "-" else None)
    if proves and counted != "-":
        host.bless(counted)
        mark(f"{version} is good")
    story(host, mark)
    host.halt()
    mark("shut down")


if __name__ == "__main__":
    main()
