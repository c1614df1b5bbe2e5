"""docs/reliability.md: what was tried, and what came of it."""

import collections
import json
import re

KINDS = {
    "after a write": "everything up to this write is on the medium",
    "all lost": "nothing since the last flush is",
    "one lost": "all writes since the last flush are but one",
    "one kept": "one write since the last flush is, and no other",
    "torn": "of one write only the first sectors are, or only the last"}


PARTS = {
    "network": "The network", "repository": "The repository", "version": "The new version", "host": "The host"}
# What is another one in each run.
VARYING = [
    (r"https?://(?:127\.0\.0\.1|HOST)(?::\d+)?", "http://HOST"), (r"\b[0-9a-f]{64}\b", "DIGEST"), (r"_[0-9a-f]{12}\.efi", "_DIGEST.efi"),
    (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", "TIME"), (r"/\S*/ballast-\d+-\d+(?:/root)?/", "/"), (r"after \d+ (?=m?s\b)", "after N ")]


def phases(work, log):
    """Where each part of the host's life ends: (position, what)."""
    marks = [json.loads(line) for line in (work / "marks.jsonl").read_text().splitlines()]
    return [(log.position(mark["log"]), mark["what"]) for mark in marks]


def fetched_again(work, log, results):
    """How many bytes a host has to fetch again after a cut in its first update: one for each such cut.

    What it fetches afterwards and what it had received before are together more than the most that a whole update takes.
    """
    received = [json.loads(line) for line in (work / "received.jsonl").read_text().splitlines()]
    received = [item for item in received if item["boot"] == 0]
    marks = {json.loads(line)["what"]: json.loads(line)["log"] for line in (work / "marks.jsonl").read_text().splitlines()}
    # Bytes that came for an update that a kill ended: those of the process that was killed.
    begin, end = log.position(marks["pin 1.1"]), log.position(marks["an update is ready"])
    whole = max((result["fetched"] for result in results if "fetched" in result and result["position"] <= end), default=0)
    found = []
    for result in results:
        if "fetched" in result and begin < result["position"] <= end:
            size = log.ends[result["position"] - 1]
            before = max((item["bytes"] for item in received if item["log"] <= size), default=0)
            found.append(max(result["fetched"] + before - whole, 0))
    return found, whole


def real_lines(booted):
    """What came of the cuts that were really booted."""
    lost = sum("lost" in result for result in booted)
    by_kind = collections.Counter(result["kind"] for result in booted)
    by_phase = collections.Counter(result["until"] for result in booted)
    lines = ["", "## Really booted", "",
             "A host with a real image (`manifests/base.yaml` and a shell) lives behind the same driver in QEMU: firmware, systemd-boot,",
             "kernel, dm-verity, systemd. After each of these cuts it is booted in QEMU, until its health checks have passed; then its agent",
             "is asked what it knows, and `ballastctl doctor` what is wrong.", "",
             f"**{len(booted)} cuts booted, {lost} hosts lost.**", "", "| what of the last writes is on the medium | cuts |", "|---|---:|"]
    lines += [f"| {KINDS[kind]} | {by_kind[kind]} |" for kind in KINDS if by_kind[kind]]
    lines += ["", "| until | cuts |", "|---|---:|"]
    lines += [f"| {what} | {count} |" for what, count in by_phase.items()]
    return lines


def fault_lines(faults):
    """What the tests have noted of faults: a table for each part."""
    lines = ["", "# Faults", "",
             "What somebody reads on the host and what comes of it, noted by the tests that cause these faults with real servers, disks and",
             "processes: `scripts/test --long`. An update that fails is tried again by itself."]
    for part, title in PARTS.items():
        lines += ["", f"## {title}", "", "| what is wrong | message | then |", "|---|---|---|"]
        for fault in sorted((f for f in faults if f["part"] == part), key=lambda f: f["fault"]):
            message = fault["message"].strip().removeprefix("ballastd: ")
            for pattern, name in VARYING:
                message = re.sub(pattern, name, message)
            message = message.replace("|", "\\|").replace("\n", " ")
            lines.append(f"| {fault['fault']} | {message or '–'} | {fault['outcome']} |")
    return lines


def text(work, log, results, firmware_boots, booted, faults):
    ends = phases(work, log)

    def phase(position):
        return next((what for end, what in ends if position <= end), ends[-1][1])
    order = list(dict.fromkeys(what for _, what in ends))
    by_phase = collections.Counter(phase(result["position"]) for result in results)
    lost = [result for result in results if "lost" in result]
    lost_by_phase = collections.Counter(phase(result["position"]) for result in lost)
    by_kind = collections.Counter(result["kind"] for result in results)
    lost_by_kind = collections.Counter(result["kind"] for result in lost)
    sequences = collections.Counter(" → ".join(result["booted"]) for result in results if "booted" in result)
    lines = [
        "# Power cuts", "",
        "Written by `scripts/power-cuts --report docs/reliability.md`. A host's disk (GPT, FAT, both slots, and ext4 on /var) is behind",
        "QEMU's blklogwrites driver while the host lives: UEFI firmware and systemd-boot in QEMU, a kernel's own FAT and ext4 and the",
        "agent in user-mode Linux. Then the disk is made as a cut would leave it, and for each such disk a model of firmware and loader",
        "says what boots; its kernel image and its slot are compared byte by byte; the host comes up with real mounts, its agent goes",
        "on, and pins, denials, events and the version that it ends with are compared with what its operator was told.",
        f"After {firmware_boots} of the cuts, firmware and systemd-boot start in QEMU what the model says.", "",
        f"**{len(results)} cuts tried, {len(lost)} hosts lost.**", "", "| what of the last writes is on the medium | cuts | hosts lost |",
        "|---|---:|---:|"]
    lines += [f"| {KINDS[kind]} | {by_kind[kind]} | {lost_by_kind[kind]} |" for kind in KINDS]
    lines += ["", "| until | cuts | hosts lost |", "|---|---:|---:|"]
    lines += [f"| {what} | {by_phase[what]} | {lost_by_phase[what]} |" for what in order if by_phase[what]]
    lines += ["", "| what booted, one after another | cuts |", "|---|---:|"]
    lines += [f"| {what} | {count} |" for what, count in sequences.most_common()]
    again, whole = fetched_again(work, log, results)
    if again:
        lines += [
            "", f"A cut in the first update, which takes {whole} bytes and which a kill -9 had interrupted before, costs at most",
            f"**{max(again)} bytes that are fetched again**, {sum(again) // len(again)} on average: {len(again)} cuts."]
    if booted:
        lines += real_lines(booted)
    if faults:
        lines += fault_lines(faults)
    return "\n".join(lines) + "\n"
