"""What firmware and systemd-boot find on a disk, as systemd's source has it (src/boot/boot.c of version 257)."""

import functools
import re
import struct
import uuid
import zlib

ESP = "c12a7328-f81f-11d2-ba4b-00a0c93ec93b"
ROOT = "4f68bce3-e8cd-4db1-96e7-fbcaf984b709"
VERITY = "2c7357ed-ebd2-46d9-aec1-23d437ec2bf5"
VAR = "4d21b016-b534-45c2-a9fb-5c16e091fd2d"


class Partition:
    def __init__(self, raw):
        self.type = str(uuid.UUID(bytes_le=raw[:16]))
        self.uuid = str(uuid.UUID(bytes_le=raw[16:32]))
        first, last = struct.unpack_from("<QQ", raw, 32)
        self.offset, self.size = first * 512, (last - first + 1) * 512
        self.label = raw[56:128].decode("utf-16-le", "replace").split("\0")[0]


def table(disk, sector):
    """The partitions by the table whose header is in `sector`, or None where it is not whole."""
    header = bytes(disk[sector * 512:sector * 512 + 512])
    if header[:8] != b"EFI PART":
        return None
    size, crc = struct.unpack_from("<II", header, 12)
    if size < 92 or size > 512 or zlib.crc32(header[:16] + bytes(4) + header[20:size]) != crc:
        return None
    own, = struct.unpack_from("<Q", header, 24)
    first, count, width, entries_crc = struct.unpack_from("<QIII", header, 72)
    raw = bytes(disk[first * 512:first * 512 + count * width])
    if own != sector or zlib.crc32(raw) != entries_crc:
        return None
    pieces = (raw[at:at + width] for at in range(0, len(raw), width))
    return [Partition(piece) for piece in pieces if any(piece[:16])]


def partitions(disk):
    """The partitions as kernel and firmware see them: by the first table, or by the second where that is broken."""
    return table(disk, 1) or table(disk, len(disk) // 512 - 1)


def repair(disk):
    """What the firmware does with a damaged first table: it writes it anew from the second one (EDK2's PartitionRestoreGptTable)."""
    last = len(disk) // 512 - 1
    if table(disk, 1) or not table(disk, last):
        return
    header = bytearray(disk[last * 512:last * 512 + 512])
    size, = struct.unpack_from("<I", header, 12)
    first, count, width = struct.unpack_from("<QII", header, 72)
    entries = disk[first * 512:first * 512 + count * width]
    struct.pack_into("<QQ", header, 24, 1, last)
    struct.pack_into("<Q", header, 72, 2)
    struct.pack_into("<I", header, 16, 0)
    struct.pack_into("<I", header, 16, zlib.crc32(header[:size]))
    disk[1024:1024 + len(entries)] = entries
    disk[512:1024] = header


def version_order(left, right):
    """strverscmp_improved: the UAPI Version Format Specification."""
    def strip(text):
        return re.sub(r"^[^0-9A-Za-z~\-^.]+", "", text)
    while True:
        left, right = strip(left), strip(right)
        for mark, smaller in (("~", -1), ("", 0), ("-", -1), ("^", -1), (".", -1)):
            if mark == "":
                if not left or not right:
                    return (left > right) - (left < right) if left or right else 0
                continue
            if left[:1] == mark or right[:1] == mark:
                if left[:1] != right[:1]:
                    return smaller if left[:1] == mark else -smaller
                left, right = left[1:], right[1:]
                break
        else:
            digits = left[:1].isdigit() or right[:1].isdigit()
            pattern = r"[0-9]*" if digits else r"[A-Za-z]*"
            a, b = re.match(pattern, left).group(), re.match(pattern, right).group()
            left, right = left[len(a):], right[len(b):]
            order = ((int(a or -1) > int(b or -1)) - (int(a or -1) < int(b or -1))) if digits else (a > b) - (a < b)
            if order:
                return order


class Entry:
    """A type #1 entry, or a unified kernel image in EFI/Linux."""

    def __init__(self, directory, name, kernel, sort_key, text):
        self.directory, self.name, self.kernel, self.sort_key, self.text = directory, name, kernel, sort_key, text
        stem, suffix = name.rsplit(".", 1)
        counter = re.fullmatch(r"(.*)\+([0-9]+)(?:-([0-9]+))?", stem)
        self.left = self.done = None
        if counter:
            stem, self.left, self.done = counter[1], int(counter[2]), int(counter[3] or 0)
        self.stem, self.suffix = stem, suffix
        self.id = f"{stem}.{suffix}"

    @property
    def path(self):
        return f"{self.directory}/{self.name}"

    def counted(self):
        """The name that systemd-boot gives it when it starts it, or None where it is not counted."""
        if self.left is None:
            return None
        return f"{self.stem}+{max(self.left - 1, 0)}-{self.done + 1}.{self.suffix}"


def compare(a, b):
    """boot_entry_compare()."""
    if (a.left == 0) != (b.left == 0):
        return 1 if a.left == 0 else -1
    if bool(a.sort_key) != bool(b.sort_key):
        return 1 if not a.sort_key else -1
    if a.sort_key != b.sort_key:
        return 1 if a.sort_key > b.sort_key else -1
    order = -version_order(a.id, b.id)
    if order or a.left is None or b.left is None:
        return order
    return (b.left > a.left) - (b.left < a.left) or (a.done > b.done) - (a.done < b.done)


def entries(fat):
    """All entries in the order in which systemd-boot tries them."""
    found = []
    for name in fat.names("loader/entries"):
        if name.startswith(".") or not name.lower().endswith(".conf"):
            continue
        text = (fat.read(f"loader/entries/{name}") or b"").decode("utf-8", "replace")
        fields = dict(line.split(None, 1) for line in text.splitlines() if len(line.split(None, 1)) == 2)
        kernel = fields.get("efi")
        # What names no kernel image, or one that is not there, is passed over.
        if kernel and fat.find(kernel):
            found.append(Entry("loader/entries", name, kernel, fields.get("sort-key"), text))
    for name in fat.names("EFI/Linux"):
        if name.lower().endswith(".efi") and not name.startswith("."):
            # Its sort key is IMAGE_ID in the image's own os-release.
            found.append(Entry("EFI/Linux", name, f"/EFI/Linux/{name}", name.split("_")[0], ""))
    return sorted(found, key=functools.cmp_to_key(compare))
