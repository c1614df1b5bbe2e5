"""Two small releases of a product, a repository with both, and the disk of a host that was installed with the first."""

import hashlib
import json
import os
import pathlib
import random
import re
import subprocess
import uuid

from powercuts import loader

MEBIBYTE = 1 << 20
SALT = "00ff"
# Offsets and sizes of the partitions.
LAYOUT = {
    "efi": (1, 40), "root-a": (41, 32), "verity-a": (73, 1), "root-b": (74, 32), "verity-b": (106, 1), "var": (107, 20)}
DISK_SIZE = 128
TYPES = {"efi": loader.ESP, "root-a": loader.ROOT, "verity-a": loader.VERITY, "root-b": loader.ROOT,
         "verity-b": loader.VERITY, "var": loader.VAR}


def run(*arguments, **options):
    return subprocess.run([str(a) for a in arguments], check=True, text=True, capture_output=True, **options).stdout


def halves(root_hash):
    """The GUIDs of a slot's partitions: the halves of the root hash."""
    return str(uuid.UUID(root_hash[:32])), str(uuid.UUID(root_hash[32:]))


def make_kernel(path, version, stub):
    """A unified kernel image, but for the kernel in it: systemd-boot reads what it is in its section .osrel. It is larger than what a cut
    may cost."""
    noise = random.Random(f"kernel {version}").randbytes(5_000_000)
    parts = {
        ".osrel": f"ID=box\nIMAGE_ID=box\nIMAGE_VERSION={version}\nVERSION_ID={version}\nPRETTY_NAME=box\n".encode(),
        ".cmdline": b"quiet", ".linux": noise}
    arguments, address = [], 0x30000
    for name, content in parts.items():
        file = path.with_name(f"section{name}")
        file.write_bytes(content)
        arguments += ["--add-section", f"{name}={file}", "--change-section-vma", f"{name}={address:#x}",
                      "--set-section-flags", f"{name}=data,readonly"]
        address += (len(content) + 0xFFFF) // 0x10000 * 0x10000
    run("objcopy", *arguments, stub, path)


def make_release(directory, version, stub, size=20 * MEBIBYTE):
    """Writes what `ballast build` would: half of it does not compress, so that the download has many pieces."""
    directory.mkdir(parents=True)
    noise = random.Random(version)
    image = b"".join(
        noise.randbytes(4096) if block % 2 else bytes([block // 64 & 255]) * 4096 for block in range(size // 4096))
    (directory / "image").write_bytes(image)
    make_kernel(directory / "kernel", version, stub)
    kernel = (directory / "kernel").read_bytes()
    (directory / "hashes").touch()
    identity = str(uuid.uuid5(uuid.NAMESPACE_DNS, "box"))
    text = run("veritysetup", "format", directory / "image", directory / "hashes", f"--salt={SALT}", f"--uuid={identity}")
    root_hash = re.search(r"Root hash:\s*([0-9a-f]{64})", text)[1]
    hashes = (directory / "hashes").stat().st_size

    def output(name):
        content = (directory / name).read_bytes()
        return {"file": name, "size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    (directory / "build.json").write_text(json.dumps({
        "format": 1, "product": "box", "version": version, "architecture": "amd64", "epoch": 1_750_000_000,
        "root_hash": root_hash, "verity": {
            "salt": SALT, "data_blocks": size // 4096, "block_size": 4096, "hash_size": hashes, "uuid": identity},
        "outputs": {"root.erofs": output("image"), "efi": output("kernel")}}))
    return {"root_hash": root_hash, "kernel": hashlib.sha256(kernel).hexdigest(), "directory": str(directory)}


def make_repository(work, binaries, releases):
    environment = dict(os.environ, BALLAST_PASSPHRASE="power")

    def ballast(*arguments):
        run(binaries / "ballast", *arguments, cwd=work, env=environment)
    ballast("key", "generate", "keys")
    ballast("repo", "init", "repo", "--keys", "keys")
    for version in releases:
        ballast("publish", f"release-{version}", "--repo", "repo", "--keys", "keys", "--channel", "stable",
                "--accept-warnings")


def make_disk(path, release, version, boot_loader, is_old):
    """The disk of a new host: slot A filled, slot B empty, one entry with tries, as `ballast build` makes it."""
    with open(path, "wb") as disk:
        disk.truncate(DISK_SIZE * MEBIBYTE)
    root, verity = halves(release["root_hash"])
    names = {"root-a": (root, f"box_{version}"), "verity-a": (verity, f"box_{version}")}
    script = "label: gpt\nlabel-id: 6f2f4c3e-0b5a-4f0e-9a3c-000000000001\n"
    for number, (name, (offset, size)) in enumerate(LAYOUT.items(), 1):
        identity, label = names.get(name, (str(uuid.uuid5(uuid.NAMESPACE_DNS, name)), "_empty" if "-b" in name else name))
        script += (f"start={offset * 2048}, size={size * 2048}, type={TYPES[name]}, uuid={identity}, "
                   f"name=\"{label}\"\n")
    run("sfdisk", "--quiet", path, input=script)
    directory = pathlib.Path(release["directory"])
    with open(path, "r+b") as disk:
        for name, file in (("root-a", "image"), ("verity-a", "hashes")):
            disk.seek(LAYOUT[name][0] * MEBIBYTE)
            disk.write((directory / file).read_bytes())
    efi, size = LAYOUT["efi"]
    run("mkfs.vfat", "-F", "32", "-s", "1", f"--offset={efi * 2048}", path, size * 1024)
    kernel = f"{version}_{release['kernel'][:12]}.efi"
    entry = f"title box {version}\nsort-key box\nefi /EFI/ballast/box/{kernel}\n"
    files = {"EFI/BOOT/BOOTX64.EFI": boot_loader, "loader/loader.conf": b"timeout 0\n"}
    image = (directory / "kernel").read_bytes()
    if is_old:
        files[f"EFI/Linux/box_{version}+3.efi"] = image
    else:
        files |= {f"EFI/ballast/box/{kernel}": image, f"loader/entries/box_1_{version}+3.conf": entry.encode()}
    at = ["-i", f"{path}@@{efi * MEBIBYTE}"]
    environment = dict(os.environ, MTOOLS_SKIP_CHECK="1")
    for directory_name in ("EFI", "EFI/BOOT", "EFI/Linux" if is_old else "EFI/ballast", "EFI/ballast/box", "loader",
                           "loader/entries"):
        if is_old and "ballast" in directory_name:
            continue
        run("mmd", *at, f"::/{directory_name}", env=environment)
    for name, content in files.items():
        source = path.with_name("boot-file")
        source.write_bytes(content)
        run("mcopy", *at, source, f"::/{name}", env=environment)
    offset, size = LAYOUT["var"]
    run("mkfs.ext4", "-q", "-F", "-E", f"offset={offset * MEBIBYTE},nodiscard", path, f"{size * 1024}k")
