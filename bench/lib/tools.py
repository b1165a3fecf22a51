# SPDX-License-Identifier: BSD-3-Clause
"""The command thinp beside the tools of other versions, on the same images.

The tools of PATH are one version, those in the folder $THINP_BENCH_TOOLS another. The images are in the page cache. CPU
time is that of the process and its threads."""
import os
import re
import shutil
import subprocess
import time

IMAGES = ("scattered", "snapshots", "range")
WORKS = ( # name, image, arguments of thinp, program and arguments of the tools
    ("check_scattered", "scattered", ("check",), ("thin_check",)),
    ("check_snapshots", "snapshots", ("check",), ("thin_check",)),
    ("check_range", "range", ("check",), ("thin_check",)),
    ("dump_scattered", "scattered", ("dump",), ("thin_dump",)),
    ("dump_snapshots", "snapshots", ("dump",), ("thin_dump",)),
)


class Image:
    """Makes an image, once for all rounds and runs."""
    rounds = 1

    def __init__(self, program, kind):
        self.program, self.kind = program, kind
        self.name = f"image {kind}"

    def run(self, data):
        path = image_path(data, self.kind)
        if os.path.exists(path):
            return {}, {}
        os.makedirs(os.path.dirname(path), exist_ok=True)
        made = os.path.join(data, self.kind)
        done = subprocess.run([self.program, self.kind, made], capture_output=True, text=True)
        if done.returncode:
            return {}, {self.name: done.stderr.strip()}
        os.rename(made, path)
        return {}, {}


class Tool:
    """One command on one image."""

    def __init__(self, work, version, command, image, rounds):
        self.command, self.image, self.rounds = command, image, rounds
        self.name = f"tools/{work}/{version}"

    def run(self, data):
        path = image_path(data, self.image)
        if not os.path.exists(path):
            return {}, {self.name: "no image"}
        with open(path, "rb") as file: # into the page cache
            while file.read(1 << 22):
                pass
        sample, status = timed([*self.command, path])
        return ({}, {self.name: f"exit status {status}"}) if status else ({self.name: sample}, {})


def image_path(data, kind):
    return os.path.join(os.path.dirname(data), "images", kind + ".meta")


def timed(command):
    """(sample, exit status)"""
    began = time.monotonic_ns()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    wall = time.monotonic_ns() - began
    cpu = (usage.ru_utime + usage.ru_stime) * 1e9
    return {"tool_cpu": cpu, "tool_wall": wall, "peak": usage.ru_maxrss * 1024}, process.returncode


def versions(program):
    """(version, path) of a tool, as many as there are."""
    elsewhere = os.environ.get("THINP_BENCH_TOOLS")
    path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    found = {}
    for where in [shutil.which(program, path=path), elsewhere and shutil.which(program, path=elsewhere)]:
        if where:
            said = subprocess.run([where, "--version"], capture_output=True, text=True).stdout
            number = re.search(r"\d+\.\d+\.\d+", said)
            found[number.group() if number else "unknown"] = where
    return found.items()


def jobs(folder, quick):
    thinp = os.path.join(folder, "thinp")
    for kind in IMAGES:
        yield Image(os.path.join(folder, "bench", "bench_image"), kind)
    rounds = 1 if quick else 5
    for work, image, ours, (program, *options) in WORKS:
        yield Tool(work, "thinp", [thinp, *ours], image, rounds)
        for version, path in versions(program):
            slow = version.startswith("0.")
            yield Tool(work, version, [path, *options], image, min(rounds, 2) if slow else rounds)
