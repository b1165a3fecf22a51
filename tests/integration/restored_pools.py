#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Pools that thin_restore made are sound, and stay so while libthinp changes them.

    restored_pools.py THINP FIXTURES REFCHECK

Each program thin_restore that is here (0.9 in the PATH, and the one beside THINP_THIN_CHECK_1) makes pools of several sizes from
dumps of the fixtures and from XML of this test. The command thinp changes them at random. Before the first and after each change,
thinp check says that the pool is sound; where restore 0.9 counts in its own way (docs/format.md, 4.3), it may warn of just
that, and in the end there is nothing left to warn of. Before the first and after the last, refcheck and thin_check of either
version say the same, and thin_dump 0.9 prints what thinp dump prints. THINP_TEST_SEED repeats a run.
"""
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time

sys.dont_write_bytecode = True # the source tree stays as it is

THINP, FIXTURES, REFCHECK = sys.argv[1:4]
SEED = int(os.environ.get("THINP_TEST_SEED", time.time()))
SYSTEM = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
HABITS = {"SM5", "SM6", "SM7"} # numbers beside the bitmaps
BITMAP = 16320 # blocks that one bitmap counts
NR_CHANGES = 6

failures, nr_checks = [], 0


def run(*command):
    done = subprocess.run(command, check=False, capture_output=True, timeout=120)
    return done.returncode, done.stdout, done.stderr.decode(errors="replace").strip()


def expect(name, holds, more=""):
    global nr_checks
    nr_checks += 1
    if not holds:
        failures.append(name)
        print(f"FAILED: {name} {more}")


def program(name):
    """(path, version) of the programs of that name: the installed one, and the one beside the other thin_check."""
    other = os.path.join(os.path.dirname(os.environ.get("THINP_THIN_CHECK_1", "")), name)
    for path in (shutil.which(name, path=SYSTEM), os.path.isabs(other) and other):
        if path and os.path.exists(path):
            yield path, run(path, "-V")[1].decode().split()[-1]


# --- pools ---------------------------------------------------------------------------------------------------------------


def made_up(nr_data, nr_devices, nr_mappings, rng):
    """XML of devices with single mappings, each of a data block of its own."""
    data = iter(rng.sample(range(nr_data), nr_devices * nr_mappings))
    lines = [f'<superblock uuid="" time="3" transaction="7" version="2" data_block_size="128" nr_data_blocks="{nr_data}">']
    for device in range(nr_devices):
        lines.append(f'<device dev_id="{device}" mapped_blocks="{nr_mappings}" transaction="1" creation_time="0" snap_time="3">')
        lines += [f'<single_mapping origin_block="{key}" data_block="{next(data)}" time="2"/>'
                  for key in sorted(rng.sample(range(10 * nr_mappings), nr_mappings))]
        lines.append("</device>")
    return "\n".join([*lines, "</superblock>"]).encode()


def pools(rng):
    """(name, XML, metadata blocks). In both maps: bitmaps that end with the map, and such that do not; full first bitmaps."""
    for name, nr_blocks in (("empty", 400), ("datafull", 700), ("fragmented", 3000), ("heldroot", 2048), ("snaps", 4096),
                            ("fragmented", BITMAP + 1)):
        with open(os.path.join(FIXTURES, f"kernel-{name}.xml"), "rb") as file:
            yield f"{name} on {nr_blocks}", file.read(), nr_blocks
    for nr_data, nr_devices, nr_mappings, nr_metadata in ((1000, 1, 990, 1000), (BITMAP, 2, 100, BITMAP), (5000, 1, 20, 2 * BITMAP),
                                                          (40000, 2, 9000, 40000), (30000, BITMAP + 500, 1, 40000),
                                                          (BITMAP + 1, 3, 0, 3 * BITMAP + 7)):
        yield (f"{nr_devices} devices of {nr_mappings}, {nr_data} data blocks, on {nr_metadata}",
               made_up(nr_data, nr_devices, nr_mappings, rng), nr_metadata)


# --- witnesses -----------------------------------------------------------------------------------------------------------


class Pool:
    def __init__(self, name, path):
        self.name, self.path = name, path

    def thinp(self, *command):
        status, out, err = run(THINP, *map(str, command))
        expect(f"{self.name}: thinp {' '.join(map(str, command))}", status == 0, err)
        return out

    def findings(self):
        _, out, _ = run(THINP, "check", "--json", self.path)
        return [(finding["rule"], finding["severity"], finding["text"]) for finding in json.loads(out)["findings"]]

    def expect_sound(self, when, may_warn):
        status, _, err = run(THINP, "check", "-q", self.path)
        expect(f"{self.name}, {when}: thinp check", status == 0, err)
        for rule, severity, text in self.findings():
            expect(f"{self.name}, {when}: {rule} {severity}: {text}", may_warn and rule in HABITS and severity == "warning")

    def expect_same(self, when):
        """To others."""
        status, out, _ = run(sys.executable, "-B", REFCHECK, "-q", self.path)
        expect(f"{self.name}, {when}: refcheck", status == 0, out.decode())
        for checker, version in program("thin_check"):
            expect(f"{self.name}, {when}: thin_check {version}", run(checker, "-q", self.path)[0] == 0)
        for dump, version in program("thin_dump"):
            if version.startswith("0.9"):
                expect(f"{self.name}, {when}: thin_dump", run(dump, self.path)[1] == self.thinp("dump", self.path))

    def devices(self):
        return [device["dev_id"] for device in json.loads(self.thinp("ls", "--json", self.path))]

    def info(self, member):
        return json.loads(self.thinp("info", "--json", self.path))[member]


def change(pool, rng):
    """One change, of those that can be made of any pool. What was done."""
    devices, path = pool.devices(), pool.path
    new = rng.randrange(1 << 22, 1 << 23)
    command = rng.choice(["create", "snapshot", "map", "map", "unmap", "delete", "hold", "transaction", "data", "metadata"])
    device = rng.choice(devices) if devices else None
    if command == "create" or (device is None and command in ("snapshot", "map", "unmap", "delete")):
        words = ["volume", "create", path, new]
    elif command == "snapshot":
        words = ["snapshot", path, device, new]
    elif command == "map":
        pool.thinp("resize", "--data-size", "+40", path) # so that there are some
        words = ["map", path, device, rng.randrange(1 << 14), rng.randrange(1, 40)]
    elif command == "unmap":
        words = ["unmap", path, device, rng.randrange(1 << 13), rng.randrange(1, 2000)]
    elif command == "delete":
        words = ["volume", "delete", path, device]
    elif command == "hold":
        words = ["metadata-snap", "release" if pool.info("metadata_snap") else "reserve", path]
    elif command == "transaction":
        number = pool.info("transaction_id")
        words = ["set-transaction-id", path, number, number + 1]
    else:
        words = ["resize", f"--{command}-size", f"+{rng.choice((1, 50, BITMAP))}", path]
    pool.thinp(*words)
    return " ".join(map(str, words))


def look_at(name, xml, nr_blocks, restore, version, folder, rng):
    path, source = os.path.join(folder, "pool"), os.path.join(folder, "xml")
    has_habits = version.startswith("0.9")
    with open(source, "wb") as file:
        file.write(xml)
    with open(path, "wb") as file:
        file.truncate(4096 * nr_blocks)
    pool = Pool(f"{name}, by {version}", path)
    status, _, err = run(restore, "-i", source, "-o", path)
    expect(f"{pool.name}: thin_restore", status == 0, err)
    pool.expect_sound("as restored", has_habits)
    expect(f"{pool.name}: has the habits that docs/format.md tells of", has_habits == bool(pool.findings()) or nr_blocks % BITMAP == 0)
    pool.expect_same("as restored")

    shutil.copy(path, path + ".fixed")
    fixed = Pool(f"{pool.name}, put right", path + ".fixed")
    fixed.thinp("needs-check", "set", fixed.path)
    fixed.thinp("check", "-q", "--clear-needs-check", fixed.path)
    fixed.thinp("check", "-q", "--fix-leaks", fixed.path)
    fixed.expect_sound("at once", False)
    expect(f"{fixed.name}: what it holds", fixed.thinp("dump", fixed.path) == pool.thinp("dump", path))

    for _ in range(NR_CHANGES):
        when = f"after {change(pool, rng)}"
        pool.expect_sound(when, has_habits)
    pool.expect_same("after all that")
    for space in ("data", "metadata"):
        pool.thinp("resize", f"--{space}-size", "+1", path)
    pool.thinp("volume", "create", path, 1 << 23)
    pool.expect_sound("in the end", False)


def main():
    print(f"seed {SEED}: set THINP_TEST_SEED to repeat")
    restorers = list(program("thin_restore"))
    print("thin_restore:", ", ".join(version for _, version in restorers) or "none")
    expect("there is a program thin_restore", restorers)
    rng = random.Random(SEED)
    with tempfile.TemporaryDirectory() as folder:
        for pool in pools(rng):
            for restore, version in restorers:
                look_at(*pool, restore, version, folder, rng)
    print(f"{nr_checks} checks, {len(failures)} failures")
    return bool(failures)


if __name__ == "__main__":
    sys.exit(main())
