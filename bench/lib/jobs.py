# SPDX-License-Identifier: BSD-3-Clause
"""What bench/run measures, in which portions and how often."""
import os

from . import counts, tools
from .measure import Benchmarks

LARGE = 10000000


def peers(folder, quick):
    """The map beside the same map in other libraries."""
    program = os.path.join(folder, "bench", "peers", "bench_peers")
    sizes = (100000, 1000000) if quick else (100000, 1000000, LARGE)
    for size in sizes:
        for engine in ("thinp", "lmdb"):
            yield Benchmarks(program, f"^peers/[^/]*/{engine}/{size}/", 2 if quick else 5)
    for engine in ("sqlite", "sqlite_rollback", "rocksdb", "wiredtiger"):
        yield Benchmarks(program, f"^peers/[^/]*/{engine}/1000000/", 1 if quick else 3)


def rooms(folder, quick):
    """The rooms one by one."""
    for room in ("block", "btree", "btree_rebalance", "store_policies"):
        yield Benchmarks(os.path.join(folder, "bench", f"bench_{room}"), ".", 1 if quick else 3, 0.05)


def to_compare(folder, pattern):
    """What bench/compare measures."""
    bench = os.path.join(folder, "bench")
    jobs = [Benchmarks(os.path.join(bench, "peers", "bench_peers"), f"^peers/[^/]*/thinp/{size}/", 1)
            for size in (100000, 1000000)]
    jobs += [Benchmarks(os.path.join(bench, f"bench_{room}"), ".", 1, 0.05) for room in ("block", "btree", "btree_rebalance")]
    if pattern:
        jobs = [Benchmarks(job.program, pattern, 1, 0.05) for job in jobs[1:]]
    return jobs


def scale(folder, quick):
    """How cost grows: each size is a process of its own, which fills its map once."""
    bench = os.path.join(folder, "bench")
    for program, sizes, most in (
            ("bench_store_scale", (10000, 100000, 1000000, LARGE, 10 * LARGE), 1000000),
            ("bench_store_maps", tuple(1 << bits for bits in (16, 20, 24, 28, 32)), 1 << 24),
            ("bench_thin_counts", tuple(1 << bits for bits in (16, 20, 24, 28, 32)), 1 << 24),
            ("bench_thin_snapshots", (1, 10, 100, 1000, 10000), 1000)):
        for size in sizes:
            if not quick or size <= most:
                yield Benchmarks(os.path.join(bench, program), f"^scale/[^/]*/{size}/", 1 if quick or size > LARGE else 3)


class Counts:
    """Instructions of each operation."""
    name, rounds = "instructions", 1

    def __init__(self, program):
        self.program = program

    def run(self, data):
        why = counts.why_not(self.program, None)
        if why:
            return {}, {"icount": why}
        found = counts.count_all(self.program)
        found["lookup_target"] = counts.LOOKUP_TARGET
        return {f"icount/{name}": {"cpu": count} for name, count in found.items()}, {}


def instructions(folder, quick):
    return [Counts(counts.program_in(folder))]


GROUPS = {"icount": instructions, "peers": peers, "tools": tools.jobs, "scale": scale, "rooms": rooms}


def plan(groups, folder, quick):
    """The jobs of the groups, those left out whose program is not there."""
    jobs = []
    for group in groups:
        if group not in GROUPS:
            raise SystemExit(f"no group is named {group}")
        jobs += [job for job in GROUPS[group](folder, quick)]
    return jobs
