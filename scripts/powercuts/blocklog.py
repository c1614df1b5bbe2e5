"""The log that QEMU's blklogwrites driver keeps of a disk (the format of the kernel's dm-log-writes)."""

import dataclasses
import struct

MAGIC = 0x6A736677736872
FLUSH, FUA, DISCARD, MARK = 1, 2, 4, 8
SECTOR = 512


@dataclasses.dataclass(frozen=True)
class Write:
    """Bytes that were written at an offset of the disk; `data` is where the log has them, or None for zeros."""
    offset: int
    length: int
    data: int | None
    durable: bool


@dataclasses.dataclass(frozen=True)
class Flush:
    """Everything that was written before is on the medium."""


class Log:
    def __init__(self, path):
        self.file = open(path, "rb")
        self.operations = []
        # For each operation, where the log ended after it: so a mark in bytes becomes one in operations.
        self.ends = []
        magic, version, _, self.sector = struct.unpack("<QQQI", self.file.read(28))
        if magic != MAGIC or version != 1:
            raise ValueError(f"{path} is no log of writes")
        at = self.sector
        while True:
            self.file.seek(at)
            header = self.file.read(32)
            if len(header) < 32:
                break
            sector, count, flags, length = struct.unpack("<QQQQ", header)
            if not (sector or count or flags or length):
                break
            at += self.sector
            if flags & FLUSH:
                self.append(Flush(), at)
            if flags & DISCARD:
                self.append(Write(sector * self.sector, count * self.sector, None, False), at)
            elif count:
                data, at = at, at + count * self.sector
                self.append(Write(sector * self.sector, count * self.sector, data, bool(flags & FUA)), at)

    def append(self, operation, end):
        self.operations.append(operation)
        self.ends.append(end)

    def bytes(self, write):
        if write.data is None:
            return bytes(write.length)
        self.file.seek(write.data)
        return self.file.read(write.length)

    def position(self, size):
        """How many operations there were when the log was `size` bytes long."""
        return sum(end <= size for end in self.ends)
