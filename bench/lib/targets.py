# SPDX-License-Identifier: BSD-3-Clause
"""What the library is to reach: rows of the report, each a ratio to LMDB or another peer.

All ratios are times better, so that more is better everywhere: "at most 0.25 of LMDB's CPU time" is a target of 4.
"""
import collections

# ours, theirs: names of benchmarks, {n} is the number of keys. targets: size -> ratio; None: shown without a verdict.
Row = collections.namedtuple("Row", "title ours theirs metric targets stretch more_is_better", defaults=(0, False))

SIZES = (100000, 1000000, 10000000)


def every(ratio):
    return {size: ratio for size in SIZES}


def row(title, ours, theirs, targets, stretch=0, metric="cpu"):
    return Row(title, f"peers/{ours}/thinp/{{n}}", f"peers/{theirs}/lmdb/{{n}}", metric, targets, stretch)


MAP = [
    row("bulk load of sorted keys", "load", "load", every(8), 20),
    row("ascending inserts, one transaction", "insert_ascending", "insert_ascending", every(5), 8),
    row("random inserts one by one, one transaction", "insert_random", "insert_random", every(1.3), 2),
    row("random inserts as a batch, sorting included; LMDB: one by one", "insert_batch", "insert_random",
        {100000: None, 1000000: 10, 10000000: None}, 20),
    row("the same; LMDB: the same sorted batch", "insert_batch", "insert_batch", every(None)),
    row("random overwrites, one by one", "overwrite_one", "overwrite_one", every(2.5), 4),
    row("random overwrites as a batch, sorting included; LMDB: one by one", "overwrite_batch", "overwrite_one", every(8), 15),
    row("the same; LMDB: the same sorted batch", "overwrite_batch", "overwrite_batch", every(None)),
    row("look-up, one at a time, hot", "lookup_hot", "lookup_hot", {100000: 3, 1000000: 2.2, 10000000: 2.2}, 2.8),
    row("look-up, 256 keys in a call", "lookup_many", "lookup_hot", {100000: 10, 1000000: 6, 10000000: 8}, 10),
    row("next key from a given one", "lookup_ge", "lookup_ge", every(None)),
    row("look-up, nothing cached (real time)", "lookup_cold", "lookup_cold", every(None), metric="wall"),
    row("full scan by leaf spans; LMDB: by next", "scan_spans", "scan_next", every(5), 8),
    row("full scan by next", "scan_next", "scan_next", every(3), 8),
    row("random removals, one by one", "remove_one", "remove_one", every(1.3), 2),
    row("random removals as a batch, sorting included; LMDB: one by one", "remove_batch", "remove_one", every(8), 15),
    row("the same; LMDB: the same sorted batch", "remove_batch", "remove_batch", every(None)),
    row("1000 random inserts in a durable commit, CPU", "insert_commit_1000", "insert_commit_1000", every(4), 7),
    row("1000 random inserts in a durable commit, real time", "insert_commit_1000", "insert_commit_1000", every(4), 7, "wall"),
    row("bytes of the file for each sorted entry", "load", "load", every(1 / 0.62), metric="file"),
]


def at_a_million(title, name, target, stretch=0, metric="wall", more=False):
    return Row(title, f"peers/{name}/thinp/{{n}}", f"peers/{name}/lmdb/{{n}}", metric, {1000000: target}, stretch, more)


COMMITS = [
    at_a_million("durable commits in a second, of 1 update", "commit_1", 1.0),
    at_a_million("durable commits in a second, of 10 updates", "commit_10", 1.7),
    at_a_million("durable commits in a second, of 100 updates", "commit_100", 4, 6),
    at_a_million("durable commits in a second, of 1000 updates", "commit_1000", None),
    at_a_million("CPU time of a commit of 1 update", "commit_1", 1 / 0.8, metric="cpu"),
    at_a_million("CPU time of a commit of 10 updates", "commit_10", 1 / 0.45, metric="cpu"),
    at_a_million("CPU time of a commit of 100 updates", "commit_100", 4, metric="cpu"),
    at_a_million("CPU time of a commit of 1000 updates", "commit_1000", None, metric="cpu"),
    at_a_million("bytes written for a commit of 1 update", "commit_1", None, metric="written"),
    at_a_million("bytes written for a commit of 100 updates", "commit_100", None, metric="written"),
]

RATE, CPU_RATE = "lookups_per_second", "lookups_per_cpu_second"
READERS = [
    at_a_million(f"look-ups in a second, {nr} reader{'s' * (nr > 1)}{beside}", f"readers_{nr}{suffix}", target, metric=RATE,
                 more=True)
    for beside, suffix in (("", ""), (" beside a writer", "_writer"))
    for nr, target in ((1, None), (2, 2.0), (8, None))
] + [
    Row("2 readers beside a writer, of what they do alone", "peers/readers_2_writer/thinp/{n}", "peers/readers_2/thinp/{n}",
        RATE, {1000000: 0.8}, 0, True),
    Row("the same, in a second of the readers' CPU time", "peers/readers_2_writer/thinp/{n}", "peers/readers_2/thinp/{n}",
        CPU_RATE, {1000000: None}, 0, True),
    Row("8 readers, of what 2 do", "peers/readers_8/thinp/{n}", "peers/readers_2/thinp/{n}", RATE, {1000000: None}, 0, True),
]

# Against the tools of the Rust version 1.1.0.
TOOLS = [
    Row(f"{title}{suffix}", f"tools/{name}/thinp", f"tools/{name}/1.1.0", metric, {1: target}, 0, False)
    for title, name, cpu, wall in (
        ("check, 8e6 scattered mappings", "check_scattered", 5, 8),
        ("check, 64 snapshots that share 99 % of 1e6", "check_snapshots", 5, 20),
        ("check, one range of 2e7 blocks", "check_range", 8, 12),
        ("dump as XML, 8e6 scattered mappings", "dump_scattered", 5, None),
        ("dump as XML, 64 snapshots that share 99 % of 1e6", "dump_snapshots", 3, None),
    )
    for suffix, metric, target in ((", CPU time", "tool_cpu", cpu), (", real time", "tool_wall", wall))
]

# `theirs` is what bench/run puts there: see lib/counts.py.
COUNTS = [Row("instructions of a hot look-up among 50,000 keys", "icount/lookup", "icount/lookup_target", "cpu", {1: 1.0},
              200 / 120, False)]
