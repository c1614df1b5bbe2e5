"""Boots hosts from disks that a power cut has left, one job after another. Runs inside user-mode Linux."""

import json
import os
import pathlib
import sys
import time

from powercuts.host import ROOT, Host, events, run


def decisions():
    """What the agent keeps of what was decided."""
    path = ROOT / "var/lib/ballast/state.json"
    state = json.loads(path.read_text()) if path.exists() else {}
    return {
        "denied": [item["version"] for item in state.get("denied", [])], "pinned": state.get("pinned"),
        # The way back from a rollback that waits: denied, and still better than nothing.
        "left": state.get("rollback", {}).get("from")}


def boot(host, job):
    """One boot of a version that is healthy, and what its agent does in it. `entry` is what the loader has taken, and `counted` how
    it has called it then, if it counts it."""
    device = run("losetup", "--find", "--show", "--partscan", job["disk"]).stdout.strip()
    try:
        partitions = {"efi": f"{device}p1", "var": f"{device}p6"}
        host.boot(device, partitions, job["version"], job["counted"])
        if job["counted"]:
            entry = ROOT / "efi" / job["entry"]
            # Where the check of the file system has taken it away, there is nothing to take a counter off.
            if entry.exists():
                entry.rename(ROOT / "efi" / job["counted"])
                host.bless(job["counted"])
            else:
                host.daemon("good")
        before = host.fetched
        update = host.daemon("update", check=False)
        known = decisions() | {
            "update": update.stdout + update.stderr, "events": events(), "fetched": host.fetched - before}
        host.halt()
        return known
    except RuntimeError as error:
        os.system(f"umount {ROOT}/efi {ROOT}/var 2>/dev/null")
        return {"error": str(error)}
    finally:
        run("losetup", "--detach", device)


def main():
    work, directory = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
    scene = json.loads((work / "scene.json").read_text())
    host = Host(scene["binaries"], scene["releases"], scene["trusted_root"], scene["port"])
    host.is_old = scene["is_old"]
    host.serve(str(work / "repo"))
    number = 0
    while True:
        number += 1
        path = directory / f"job-{number}"
        while not path.exists():
            time.sleep(0.01)
        job = json.loads(path.read_text())
        path.unlink()
        if job is None:
            return
        answer = directory / "answer.new"
        answer.write_text(json.dumps(boot(host, job)))
        answer.rename(directory / f"answer-{number}")


if __name__ == "__main__":
    main()
