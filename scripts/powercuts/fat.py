"""FAT as a boot loader reads it: the first table, long names whose checksum is right, nothing else (Microsoft's specification)."""

import struct


class Fat:
    def __init__(self, disk, offset):
        """`disk` is a buffer; the file system begins at `offset`."""
        self.disk, self.offset = disk, offset
        boot = self.at(0, 90)
        self.sector, self.per_cluster, reserved, self.tables = struct.unpack_from("<HBHB", boot, 11)
        root_entries, total, = struct.unpack_from("<HH", boot, 17)
        per_table = struct.unpack_from("<H", boot, 22)[0] or struct.unpack_from("<I", boot, 36)[0]
        total = total or struct.unpack_from("<I", boot, 32)[0]
        if self.sector not in (512, 4096) or not self.per_cluster:
            raise ValueError("no FAT file system")
        self.table = reserved * self.sector
        self.root = self.table + self.tables * per_table * self.sector
        self.root_size = root_entries * 32
        self.data = self.root + (self.root_size + self.sector - 1) // self.sector * self.sector
        self.clusters = (total * self.sector - self.data) // (self.per_cluster * self.sector)
        self.wide = self.clusters >= 65525
        self.root_cluster = struct.unpack_from("<I", boot, 44)[0] if self.wide else 0

    def at(self, offset, length):
        return bytes(self.disk[self.offset + offset:self.offset + offset + length])

    def next(self, cluster):
        width = 4 if self.wide else 2
        raw = self.at(self.table + cluster * width, width)
        value = int.from_bytes(raw, "little") & (0x0FFFFFFF if self.wide else 0xFFFF)
        return value if 2 <= value < 2 + self.clusters else None

    def chain(self, cluster):
        size, seen = self.per_cluster * self.sector, set()
        while cluster and 2 <= cluster < 2 + self.clusters and cluster not in seen:
            seen.add(cluster)
            yield self.at(self.data + (cluster - 2) * size, size)
            cluster = self.next(cluster)

    def entries(self, cluster):
        """The names in a directory, each with (is a directory, first cluster, size)."""
        raw = b"".join(self.chain(cluster)) if cluster or self.wide else self.at(self.root, self.root_size)
        found, parts, checksum = {}, {}, None
        for at in range(0, len(raw), 32):
            entry = raw[at:at + 32]
            if entry[0] == 0:
                break
            if entry[0] == 0xE5:
                parts = {}
                continue
            if entry[11] & 0x3F == 0x0F:
                if entry[0] & 0x40 or entry[13] != checksum:
                    parts, checksum = {}, entry[13]
                    self.count = entry[0] & 0x3F
                parts[entry[0] & 0x3F] = entry[1:11] + entry[14:26] + entry[28:32]
                continue
            if entry[11] & 8:
                parts = {}
                continue
            short = entry[:11]
            own = 0
            for byte in short:
                own = ((own & 1) << 7 | own >> 1) + byte & 0xFF
            name = None
            if parts and own == checksum and sorted(parts) == list(range(1, self.count + 1)):
                units = b"".join(parts[number] for number in sorted(parts)).decode("utf-16-le", "replace")
                name = units.split("\0")[0]
            parts = {}
            if name is None:
                stem = short[:8].decode("ascii", "replace").rstrip()
                suffix = short[8:].decode("ascii", "replace").rstrip()
                name = f"{stem}.{suffix}" if suffix else stem
            first = struct.unpack_from("<H", entry, 26)[0]
            if self.wide:
                first |= struct.unpack_from("<H", entry, 20)[0] << 16
            found[name] = (bool(entry[11] & 16), first, struct.unpack_from("<I", entry, 28)[0])
        return found

    def find(self, path):
        """(is a directory, first cluster, size) of a path, or None. Case does not matter."""
        cluster, result = self.root_cluster, (True, self.root_cluster, 0)
        for part in path.strip("/").split("/"):
            if not result[0]:
                return None
            names = {name.lower(): value for name, value in self.entries(cluster).items()}
            result = names.get(part.lower())
            if result is None:
                return None
            cluster = result[1]
        return result

    def names(self, path):
        found = self.find(path)
        return list(self.entries(found[1])) if found and found[0] else []

    def read(self, path):
        """A file's content, shorter than its size where its clusters end before; or None."""
        found = self.find(path)
        if not found or found[0]:
            return None
        content = bytearray()
        for piece in self.chain(found[1]):
            content += piece
            if len(content) >= found[2]:
                break
        return bytes(content[:found[2]])
