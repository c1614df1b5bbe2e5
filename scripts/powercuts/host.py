"""A host as the agent sees it, on a disk of its own: what `ballastd --root` reads, with real mounts. Runs inside user-mode Linux."""

import contextlib
import ctypes
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import threading
import time
import uuid

PRODUCT = "box"
ROOT = pathlib.Path("/mnt/host")
LOADER = "4a67b082-0a4c-41cf-b6c7-440b29bb8c4f"


def run(*arguments, check=True):
    outcome = subprocess.run([str(a) for a in arguments], capture_output=True, text=True)
    if check and outcome.returncode != 0:
        raise RuntimeError(f"{' '.join(map(str, arguments))} ended with status {outcome.returncode}: "
                           f"{outcome.stdout}{outcome.stderr}")
    return outcome


def events():
    """The numbers of the events that the agent keeps, in its journal and its state."""
    directory = ROOT / "var/lib/ballast"
    numbers = set()
    for name in ("events.old.jsonl", "events.jsonl"):
        for line in (directory / name).read_text(errors="replace").splitlines() if (directory / name).exists() else []:
            try:
                numbers.add(json.loads(line)["sequence"])
            except (ValueError, KeyError, TypeError):
                pass  # What a cut has left of a line.
    state = directory / "state.json"
    if state.exists():
        numbers |= {event.get("sequence", 0) for event in json.loads(state.read_text()).get("history", [])}
    return sorted(numbers)


class Host:
    """`releases` are by version: root_hash, and what scripts/power-cuts keeps of them."""

    def __init__(self, binaries, releases, trusted_root, port, tries=3):
        self.binaries, self.releases, self.port, self.tries = binaries, releases, port, tries
        self.trusted_root = trusted_root
        self.server = self.agent = self.fetching = None
        self.is_mounted = False
        # How many bytes came from the repository, and who wants to know each time that some come.
        self.fetched, self.on_fetch = 0, lambda total: None

    def serve(self, repository):
        """The repository's web server, and before it what counts the bytes that it gives."""
        behind = self.port ^ 1
        self.server = subprocess.Popen(
            [f"{self.binaries}/ballast", "serve", repository, "--port", str(behind)], stdout=subprocess.DEVNULL)
        listener = socket.create_server(("127.0.0.1", self.port))
        for _ in range(600):
            with contextlib.suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", behind)):
                break
            time.sleep(0.05)

        def accept():
            while True:
                client = listener.accept()[0]
                # What waits here has not been fetched.
                client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 16)
                server = socket.create_connection(("127.0.0.1", behind))
                threading.Thread(target=self.pass_on, args=(client, server, False), daemon=True).start()
                threading.Thread(target=self.pass_on, args=(server, client, True), daemon=True).start()
        threading.Thread(target=accept, daemon=True).start()

    def pass_on(self, source, destination, counts):
        """Everything from one connection to another one, until either ends."""
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                if counts:
                    self.fetched += len(data)
                    self.on_fetch(self.fetched)
                destination.sendall(data)
        for connection in (source, destination):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def boot(self, disk, partitions, running, counted):
        """Mounts what a host has mounted once it is up. `counted` is the path of the entry after the loader has counted it."""
        files = {
            "usr/lib/os-release": f"IMAGE_ID={PRODUCT}\nIMAGE_VERSION={running}\n",
            "etc/machine-id": "0123456789abcdef0123456789abcdef\n",
            "proc/cmdline": f"roothash={self.releases[running]['root_hash']}\n",
            "proc/sys/kernel/random/boot_id": f"{uuid.uuid4()}\n",
            "usr/lib/ballast/agent.json": json.dumps({
                "format": 1, "product": PRODUCT, "architecture": "amd64", "repository": f"http://127.0.0.1:{self.port}",
                "channel": "stable", "poll": {"interval_seconds": 3600, "jitter_seconds": 0}, "reboot": "manual",
                "boot": {"tries": self.tries}, "health": [], "disk": disk,
                **({"entries": f"{ROOT}/efi/EFI/Linux"} if self.is_old else {"boot_partition": f"{ROOT}/efi"})}),
            "usr/lib/ballast/root.json": self.trusted_root,
        }
        shutil.rmtree(ROOT, ignore_errors=True)
        for path, text in files.items():
            (ROOT / path).parent.mkdir(parents=True, exist_ok=True)
            (ROOT / path).write_text(text)
        if counted:
            variables = ROOT / "sys/firmware/efi/efivars"
            variables.mkdir(parents=True)
            (variables / f"LoaderBootCountPath-{LOADER}").write_bytes(
                bytes([6, 0, 0, 0]) + ("\\" + counted.replace("/", "\\") + "\0").encode("utf-16-le"))
        for name, kind in (("efi", "vfat"), ("var", "ext4")):
            (ROOT / name).mkdir()
            self.check_and_mount(partitions[name], ROOT / name, kind)
        self.is_mounted = True
        if not self.is_old:
            self.start_fetching()

    is_old = False

    def check_and_mount(self, device, place, kind):
        if kind == "vfat":
            # systemd-fsck, where the image has dosfstools.
            program, options = None if self.is_old else ("fsck.vfat", "-a"), "umask=0077,iocharset=ascii"
        else:
            # ballast-var-check.service.
            program, options = None if self.is_old else ("e2fsck", "-y"), "defaults"
        if program:
            outcome = run(*program, device, check=False)
            if outcome.returncode & ~1:
                raise RuntimeError(f"{program[0]} ends with {outcome.returncode}: {outcome.stdout}{outcome.stderr}")
        run("mount", "-t", kind, "-o", options, device, place)

    def halt(self):
        self.stop_agent()
        if self.fetching:
            self.fetching.kill()
            self.fetching.wait()
            self.fetching = None
        self.is_mounted = False
        for name in ("efi", "var"):
            run("umount", ROOT / name)

    def daemon(self, *arguments, check=True):
        return run(f"{self.binaries}/ballastd", *arguments, "--root", ROOT, check=check)

    def start_fetching(self):
        """What ballast-fetch.socket has: by it the agent reaches its repository."""
        self.fetching = subprocess.Popen(
            [f"{self.binaries}/ballastd", "fetch", "--root", str(ROOT)], stdin=subprocess.DEVNULL)
        while not (ROOT / "run/ballast/fetch").exists() and self.fetching.poll() is None:
            time.sleep(0.01)

    def start_agent(self):
        """The agent as it runs on a host, with its control socket. It asks no repository by itself: what is recorded has its order."""
        settings = ROOT / "usr/lib/ballast/agent.json"
        text = settings.read_text()
        settings.write_text(json.dumps(json.loads(text) | {"repository": None}))
        pathlib.Path("/run/ballast").mkdir(exist_ok=True)
        self.agent = subprocess.Popen(
            [f"{self.binaries}/ballastd", "serve", "--root", str(ROOT)], stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL)
        for _ in range(600):
            if self.control("status", check=False).returncode == 0:
                settings.write_text(text)
                return
            time.sleep(0.1)
        raise RuntimeError("the agent does not answer")

    def stop_agent(self):
        if self.agent:
            self.agent.terminate()
            self.agent.wait()
            self.agent = None

    def control(self, *arguments, check=True):
        return run(f"{self.binaries}/ballastctl", *arguments, check=check)

    def status(self):
        return json.loads(self.control("status", "--format", "json").stdout)

    def update_and_kill(self):
        """Begins an update, and kills the agent once the first piece of the image is noted as written."""
        process = subprocess.Popen(
            [f"{self.binaries}/ballastd", "update", "--root", str(ROOT)], stdout=subprocess.DEVNULL)
        record = ROOT / "var/lib/ballast/staging.json"
        while not record.exists() and process.poll() is None:
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
        if process.wait() != -signal.SIGKILL:
            raise RuntimeError("the update ended before it could be killed")

    def bless(self, counted):
        """What takes the counter off an entry: the agent; before it did, systemd-bless-boot, by a rename and two flushes."""
        if self.is_old:
            path = ROOT / "efi" / counted
            stem, suffix = counted.rsplit(".", 1)
            path.rename(ROOT / "efi" / (stem.rsplit("+", 1)[0] + "." + suffix))
            directory = os.open(path.parent, os.O_RDONLY)
            os.fsync(directory)
            ctypes.CDLL(None).syncfs(directory)
            os.close(directory)
        self.daemon("good")
