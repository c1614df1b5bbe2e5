"""Cuts the power of a host with a real image, and boots it in QEMU after each cut."""

import contextlib
import importlib.machinery
import importlib.util
import json
import multiprocessing
import os
import pathlib
import shutil
import sys

from powercuts import blocklog, check, loader

REPOSITORY = pathlib.Path(__file__).resolve().parent.parent.parent
# The disk of the host, which has room for two slots and /var.
DISK_GIBIBYTES = 6


def demo():
    """scripts/demo as a module: a host in QEMU with a shell, and what may happen to it."""
    source = importlib.machinery.SourceFileLoader("demo", str(REPOSITORY / "scripts/demo"))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("demo", source))
    source.exec_module(module)
    return module


def build(work):
    """Builds the images. Returns the story in which they are."""
    work.mkdir(parents=True, exist_ok=True)
    scene = demo()
    story = scene.Story(work, scene.Timeline(), "base", tries=3, etc="persistent")
    for version in ("1.0.0", "1.1.0"):
        story.build(version, scene.RELEASED)
    return story


def take_boot_loader(work, destination):
    """The boot loader of the image, for disks of which no kernel is started."""
    image = next((work / "out-1.0.0").glob("*.raw"))
    with open(image, "rb") as file:
        front = file.read(1 << 20)
    partition = next(p for p in loader.table(front, 1) if p.type == loader.ESP)
    demo().run("mcopy", "-n", "-i", f"{image}@@{partition.offset}", "::/EFI/BOOT/BOOTX64.EFI", destination,
               env=dict(os.environ, MTOOLS_SKIP_CHECK="1"))


def record(work, story, recorder_type):
    """The life of a host: its first boot, decisions, an update, a rollback."""
    scene = demo()
    image = next((work / "out-1.0.0").glob("*.raw"))
    base, disk = work / "base.raw", work / "disk.raw"
    shutil.copyfile(image, base)
    with open(base, "r+b") as file:
        file.truncate(DISK_GIBIBYTES << 30)
    copy_sparse(base, disk)
    recorder = recorder_type(work, disk)
    marks = []

    def mark(what, **promise):
        marks.append({"log": recorder.log.stat().st_size, "what": what, **promise})
    try:
        story.publish("1.0.0")
        story.serve()
        story.host = scene.Host(recorder.path, work, DISK_GIBIBYTES)
        story.expect_boot("1.0.0", "first boot")
        mark("the first boot")
        story.host.shell("ballastctl deny 9.9")
        mark("deny 9.9", denied=["9.9"])
        story.publish("1.1.0")
        story.expect_boot("1.1.0", "the host updated itself")
        story.host.shell("for i in $(seq 600); do systemctl -q is-active ballast-good && exit; sleep 1; done; exit 1")
        mark("the update", runs="1.1.0")
        story.host.shell("ballastctl rollback --busy-timeout 600")
        mark("the rollback was answered", denied=["9.9", "1.1.0"], runs=None)
        story.host.last_words("ballastctl reboot --busy-timeout 600")
        story.expect_boot("1.0.0", "an operator rolled back")
        story.host.shell("for i in $(seq 600); do systemctl -q is-active ballast-good && exit; sleep 1; done; exit 1")
        mark("the rollback", runs="1.0.0")
        for version in ("8.7", "8.8", "8.9"):
            story.host.shell(f"ballastctl deny {version} && sync && sleep 10")
        mark("some time", denied=["9.9", "1.1.0", "8.7", "8.8", "8.9"])
    finally:
        story.end()
        recorder.end()
    (work / "marks.json").write_text(json.dumps(marks))


def copy_sparse(source, destination):
    """A copy with the holes of its source."""
    destination.unlink(missing_ok=True)
    scene = demo()
    scene.run("cp", "--sparse=always", source, destination)


class FileDisk:
    """The disk at any operation of the log, going forward, as files: it is too large for memory."""

    def __init__(self, base, log, work):
        self.log, self.file, self.position, self.pending = log, work / "durable.raw", 0, []
        copy_sparse(base, self.file)

    def write(self, path, pieces):
        with open(path, "r+b") as disk:
            for index, part in pieces:
                write = self.log.operations[index]
                data = self.log.bytes(write)
                begin, end = check.torn_range(len(data), part)
                disk.seek(write.offset + begin)
                disk.write(data[begin:end])

    def after(self, cut, path):
        """Makes `path` the disk after `cut`."""
        pieces = []
        while self.position < cut.position:
            operation = self.log.operations[self.position]
            if isinstance(operation, blocklog.Flush):
                pieces += [(index, None) for index in self.pending]
                self.pending = []
            elif operation.durable:
                pieces.append((self.position, None))
            else:
                self.pending.append(self.position)
            self.position += 1
        self.write(self.file, pieces)
        copy_sparse(self.file, path)
        self.write(path, [(index, None) for index in cut.kept] + list(cut.torn))


def slots(base):
    """Where the disk has its slots, in bytes."""
    with open(base, "rb") as file:
        front = file.read(1 << 20)
    return [(p.offset, p.size) for p in loader.table(front, 1) if p.type in (loader.ROOT, loader.VERITY)]


def expectations(marks, log, position):
    """What the host must still know after a cut at `position`, and until when it was on its way."""
    ends = [(log.position(mark["log"]), mark) for mark in marks]
    denied, runs = [], None
    for end, mark in ends:
        if end <= position:
            denied, runs = mark.get("denied", denied), mark.get("runs", runs)
        elif "runs" in mark and mark["runs"] != runs:
            # It is on its way to another one.
            runs = None
    return denied, runs, next((mark["what"] for end, mark in ends if position <= end), "the end")


def boot(scene, disk, work, denied, runs):
    """Boots the disk until a version is healthy: `runs`, where that is known. Returns that version."""
    with contextlib.redirect_stdout(sys.stderr):
        host = scene.Host(disk, work, DISK_GIBIBYTES)
        try:
            verdict = host.verdict()
            if not verdict.startswith("boot-complete base "):
                raise check.Lost(f"the host reports: {verdict}")
            version = verdict.split(" ")[2]
            if runs not in (None, version):
                raise check.Lost(f"{version} boots, expected {runs}")
            status = host.json("ballastctl status")
            missing = set(denied) - {item["version"] for item in status["denied"]}
            if missing:
                raise check.Lost(f"{missing} is not denied any more")
            # The repository is not there.
            problems = [f"{item['name']}: {item['detail']}" for item in host.findings()
                        if item["verdict"] == "problem" and item["name"] != "repository"]
            if problems:
                raise check.Lost(f"the agent finds {problems}")
            return version
        finally:
            host.end()


def worker(work, number, workers, count):
    scene = demo()
    directory = work / f"worker-{number}"
    directory.mkdir(exist_ok=True)
    log = blocklog.Log(work / "log")
    marks = json.loads((work / "marks.json").read_text())
    todo = check.sample(list(enumerate(check.cuts(log, 64, slots(work / "base.raw")))), count)
    disk = FileDisk(work / "base.raw", log, directory)
    with open(work / f"results-{number}.jsonl", "w") as results:
        for position, (identity, cut) in enumerate(todo):
            if position % workers != number:
                continue
            denied, runs, until = expectations(marks, log, cut.position)
            result = {"number": identity, "position": cut.position, "kind": cut.kind, "until": until}
            image = directory / "cut.raw"
            disk.after(cut, image)
            (directory / "firmware-variables.fd").unlink(missing_ok=True)
            try:
                result["booted"] = boot(scene, image, directory, denied, runs)
            except (check.Lost, scene.Failure) as error:
                result["lost"] = str(error)
                # For whoever looks into it.
                shutil.move(image, work / f"lost-{identity}.raw")
            print(json.dumps(result), file=results, flush=True)


def boot_cuts(work, count, workers):
    """Boots the host after `count` cuts of what was recorded. Returns what came of each."""
    processes = [multiprocessing.Process(target=worker, args=(work, number, workers, count)) for number in range(workers)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        if process.exitcode:
            sys.exit(f"a worker ended with status {process.exitcode}")
    results = [json.loads(line) for number in range(workers)
               for line in (work / f"results-{number}.jsonl").read_text().splitlines()]
    results.sort(key=lambda result: result["number"])
    for result in results:
        if "lost" in result:
            print(f"cut {result['number']} ({result['kind']}, until {result['until']}): {result['lost']}")
    print(f"{len(results)} cuts of a real image booted, {sum('lost' in result for result in results)} hosts lost", flush=True)
    return results
