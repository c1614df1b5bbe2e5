"""Makes the disk as each cut leaves it, and lets the host come up from there."""

import dataclasses
import hashlib
import json
import pathlib
import random
import tempfile
import time

from powercuts import blocklog, fat, loader, prepare
from powercuts.uml import UserModeLinux

REPOSITORY = pathlib.Path(__file__).resolve().parent.parent.parent
# The most seconds that one boot may take, on the slowest machine that is worth it.
JOB_LIMIT = 600

# Until nothing changes any more, a host may boot this often: an update, or three tries of a version and the way back.
BOOT_LIMIT = 8


@dataclasses.dataclass(frozen=True)
class Cut:
    """After how many operations, and which of the writes that no flush has followed are on the medium: indices, and those of which
    only the first or the last sectors are."""
    position: int
    kept: tuple
    torn: tuple
    kind: str


def small_slots():
    """Where the small disk has its slots: offsets and sizes in bytes."""
    names = ("root-a", "verity-a", "root-b", "verity-b")
    return [(prepare.LAYOUT[name][0] << 20, prepare.LAYOUT[name][1] << 20) for name in names]


def cuts(log, sampled, slots, seed=0):
    """All cuts: after each write; at each flush with each pending write lost alone, all lost, each kept alone; and torn ones.

    Of a run of writes into a slot, which differ in nothing that matters, every `sampled`th is taken.
    """
    def is_slot(write):
        return any(offset <= write.offset < offset + size for offset, size in slots)
    taken = random.Random(seed)
    pending, found = [], []

    def take(index):
        return not is_slot(log.operations[index]) or taken.randrange(sampled) == 0
    for index, operation in enumerate(log.operations):
        if isinstance(operation, blocklog.Flush):
            everything = tuple(pending)
            if len(pending) > 1:
                found.append(Cut(index, (), (), "all lost"))
                for one in pending:
                    if take(one):
                        found.append(Cut(index, tuple(i for i in everything if i != one), (), "one lost"))
                        found.append(Cut(index, (one,), (), "one kept"))
            for one in pending:
                sectors = log.operations[one].length // blocklog.SECTOR
                if sectors > 1 and take(one):
                    for part in ("first", "last"):
                        found.append(Cut(index, tuple(i for i in everything if i < one), ((one, part),), "torn"))
            pending = []
            continue
        if operation.durable:
            # It is on the medium as soon as it is done, which says nothing of those before it.
            found.append(Cut(index + 1, (), (), "all lost"))
        else:
            pending.append(index)
        if take(index):
            found.append(Cut(index + 1, tuple(pending), (), "after a write"))
    return found


def sample(todo, count, seed=1):
    """At most `count` of them, in their order."""
    return todo if len(todo) <= count else sorted(random.Random(seed).sample(todo, count), key=lambda item: item[0])


def torn_range(length, part):
    """Which bytes of a write of `length` are on the medium where only the `part` of its sectors is: first, last, or None for all."""
    half = length // blocklog.SECTOR // 2 * blocklog.SECTOR
    odd = (length // blocklog.SECTOR + 1) // 2 * blocklog.SECTOR
    return {None: (0, length), "first": (0, odd), "last": (half, length)}[part]


class Disk:
    """The disk at any operation of the log, going forward."""

    PIECE = 1 << 20

    def __init__(self, base, log):
        self.log, self.durable, self.position = log, bytearray(base), 0
        self.pending = []
        # Of each piece that is on the medium, where it is known.
        self.digests = [None] * (len(base) // self.PIECE)

    def pieces(self, index):
        """Which pieces of the disk a write touches."""
        write = self.log.operations[index]
        return range(write.offset // self.PIECE, (write.offset + write.length - 1) // self.PIECE + 1)

    def advance(self, position):
        while self.position < position:
            operation = self.log.operations[self.position]
            if isinstance(operation, blocklog.Flush):
                for index in self.pending:
                    self.settle(index)
                self.pending = []
            elif operation.durable:
                self.settle(self.position)
            else:
                self.pending.append(self.position)
            self.position += 1

    def apply(self, disk, index, part=None):
        write = self.log.operations[index]
        data = self.log.bytes(write)
        begin, end = torn_range(len(data), part)
        disk[write.offset + begin:write.offset + end] = data[begin:end]

    def settle(self, index):
        """A write is on the medium."""
        self.apply(self.durable, index)
        for piece in self.pieces(index):
            self.digests[piece] = None

    def after(self, cut):
        """The disk after `cut`, and which of its pieces are others than the medium has without what is lost."""
        self.advance(cut.position)
        disk, changed = bytearray(self.durable), set()
        for index, part in [(index, None) for index in cut.kept] + list(cut.torn):
            self.apply(disk, index, part)
            changed.update(self.pieces(index))
        return disk, changed

    def repaired(self, cut):
        """The disk after `cut`, as the firmware leaves its partition tables, and what tells it from all others."""
        disk, changed = self.after(cut)
        loader.repair(disk)
        # The tables are in the first piece and in the last.
        changed |= {0, len(self.digests) - 1}

        def digest(content, piece):
            return hashlib.sha256(memoryview(content)[piece * self.PIECE:(piece + 1) * self.PIECE]).digest()
        for piece, known in enumerate(self.digests):
            if known is None:
                self.digests[piece] = digest(self.durable, piece)
        return disk, b"".join(
            digest(disk, piece) if piece in changed else known for piece, known in enumerate(self.digests))


class Lost(Exception):
    """A host that nobody can reach would be lost."""


class Machine:
    """User-mode Linux that boots disks, one job after another: see boots.py."""

    def __init__(self, work, number):
        # In memory: each boot has a whole disk written and read.
        self.memory, self.jobs = tempfile.TemporaryDirectory(dir="/dev/shm"), 0
        self.directory = pathlib.Path(self.memory.name)
        self.process = UserModeLinux(
            work, f"machine-{number}",
            f"env PYTHONPATH={REPOSITORY}/scripts python3 -m powercuts.boots {work} {self.directory}", shared=self.directory)

    def boot(self, disk, **job):
        """Boots `disk`, and has it changed as the host changes it. Returns the disk and what the job says."""
        self.jobs += 1
        # A name that was never seen there: its kernel keeps what it has read of a file.
        file = self.directory / f"disk-{self.jobs}"
        file.write_bytes(disk)
        new = self.directory / "job.new"
        new.write_text(json.dumps(job | {"disk": str(file)}))
        new.rename(self.directory / f"job-{self.jobs}")
        answer, deadline = self.directory / f"answer-{self.jobs}", time.monotonic() + JOB_LIMIT
        while not answer.exists():
            if self.process.process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"user-mode Linux does not answer; see {self.process.log}")
            time.sleep(0.005)
        disk = bytearray(file.read_bytes())
        result = json.loads(answer.read_text())
        for path in (file, answer):
            path.unlink()
        if "error" in result:
            raise Lost(f"a program failed: {result['error']}")
        return disk, result

    def end(self):
        (self.directory / f"job-{self.jobs + 1}").write_text("null")
        self.process.wait(JOB_LIMIT)
        self.memory.cleanup()


class Checker:
    def __init__(self, work, number):
        self.scene = json.loads((work / "scene.json").read_text())
        self.log = blocklog.Log(work / "log")
        self.marks = [json.loads(line) for line in (work / "marks.jsonl").read_text().splitlines()]
        for mark in self.marks:
            mark["position"] = self.log.position(mark["log"])
        self.releases = self.scene["releases"]
        self.kernels = {release["kernel"]: version for version, release in self.releases.items()}
        self.slots = {}
        for version, release in self.releases.items():
            directory = pathlib.Path(release["directory"])
            self.slots[version] = ((directory / "image").read_bytes(), (directory / "hashes").read_bytes())
        self.machine = Machine(work, number)
        # By the disk's digest, what came of it: cuts that leave the same to the last byte are tried once.
        self.outcomes = {}

    def promises(self, position):
        """What the operator was told last before, and what comes next: the host may be in between."""
        def promise(marks):
            known = {"denied": [], "pinned": None, "events": 0}
            for mark in marks:
                known |= {key: mark[key] for key in known if mark.get(key, 0) != 0}
            return known
        count = sum(mark["position"] <= position for mark in self.marks)
        may_deny = {mark["may_deny"] for mark in self.marks[:count + 1] if "may_deny" in mark}
        return promise(self.marks[:count]), promise(self.marks[:count + 1]), may_deny

    def chosen(self, disk):
        """What boots: its entry and version. It is whole, or the host is lost."""
        table = loader.partitions(disk)
        if not table:
            raise Lost("neither partition table is whole")
        by_type = {}
        for partition in table:
            by_type.setdefault(partition.type, []).append(partition)
        try:
            entries = loader.entries(fat.Fat(disk, by_type[loader.ESP][0].offset))
        except (KeyError, ValueError) as error:
            raise Lost(f"the boot partition cannot be read: {error}")
        if not entries:
            raise Lost("there is no boot entry")
        entry = entries[0]
        kernel = fat.Fat(disk, by_type[loader.ESP][0].offset).read(entry.kernel)
        version = self.kernels.get(hashlib.sha256(kernel or b"").hexdigest())
        if not version:
            raise Lost(f"the kernel image of {entry.path} is not whole")
        for wanted, kind, content in zip(prepare.halves(self.releases[version]["root_hash"]),
                                         (loader.ROOT, loader.VERITY), self.slots[version]):
            slot = [p for p in by_type.get(kind, []) if p.uuid == wanted]
            if len(slot) != 1:
                raise Lost(f"{len(slot)} partitions have the root hash of {version}, which {entry.path} boots")
            if disk[slot[0].offset:slot[0].offset + len(content)] != content:
                raise Lost(f"the slot of {version}, which {entry.path} boots, is not whole")
        return entry, version

    @staticmethod
    def check_decisions(known, before, after, may_deny):
        if known["events"] != list(range(1, len(known["events"]) + 1)):
            raise Lost(f"events are missing: {known['events']}")
        if len(known["events"]) < before["events"]:
            raise Lost(f"there are {len(known['events'])} events, and an operator has seen {before['events']}")
        for key in ("pinned", "denied"):
            if known[key] in (before[key], after[key]):
                continue
            if key == "denied" and set(known[key]) - may_deny in (set(before[key]) - may_deny, set(after[key]) - may_deny):
                continue
            raise Lost(f"'{key}' is {known[key]}, expected {before[key]} or {after[key]}")

    def check(self, disk, digest, cut):
        """What the host does after `cut`, which leaves `disk`. Returns the versions that it booted, and how many bytes it fetched."""
        if digest not in self.outcomes:
            try:
                self.outcomes[digest] = self.come_up(disk)
            except Lost as error:
                self.outcomes[digest] = error
        outcome = self.outcomes[digest]
        if isinstance(outcome, Lost):
            raise outcome
        booted, first, fetched = outcome
        self.check_decisions(first, *self.promises(cut.position))
        return booted, fetched

    def come_up(self, disk):
        """Lets the host come up until nothing changes any more. Returns the versions that it booted, what its agent knew first, and how
        many bytes it fetched in all."""
        entry, version = self.chosen(disk)
        booted, first, fetched = [], None, 0
        for _ in range(BOOT_LIMIT):
            counted = entry.counted()
            booted.append(version)
            disk, known = self.machine.boot(
                disk, version=version, entry=entry.path, counted=f"{entry.directory}/{counted}" if counted else None)
            first = first or known
            fetched += known["fetched"]
            if version in known["denied"] and known["left"] != version:
                raise Lost(f"it boots {version}, which is denied")
            last = version
            entry, version = self.chosen(disk)
            if version == last and entry.left is None:
                break
        else:
            raise Lost(f"it does not come to rest: {booted}")
        wanted = "1.0" if "1.1" in known["denied"] or known["pinned"] not in (None, "1.1") else "1.1"
        if version != wanted:
            raise Lost(f"it ends with {version}, expected {wanted}, after {booted}; decided: {known}")
        return booted, first, fetched


def worker(work, number, workers, sampled, limit):
    """Tries every `workers`th cut, and writes what came of each."""
    checker = Checker(work, number)
    disk = Disk((work / "base").read_bytes(), checker.log)
    todo = list(enumerate(cuts(checker.log, sampled, small_slots())))
    if limit:
        todo = sample(todo, limit)
    with open(work / f"results-{number}.jsonl", "w") as results:
        for position, (identity, cut) in enumerate(todo):
            # Those that come one after another often leave the same disk.
            if position // 32 % workers != number:
                continue
            result = {"number": identity, "position": cut.position, "kind": cut.kind}
            try:
                result["booted"], result["fetched"] = checker.check(*disk.repaired(cut), cut)
            except Lost as error:
                result["lost"] = str(error)
            print(json.dumps(result), file=results, flush=True)
    checker.machine.end()
