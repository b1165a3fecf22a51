# SPDX-License-Identifier: BSD-3-Clause
"""The figures in docs/performance.md: what stands between two marks there is written anew from a result."""
import os
import re

from . import micro, targets
from .build import ROOT
from .page import METRICS, number, verdict
from .results import Ratio, median, values

PATH = os.path.join(ROOT, "docs", "performance.md")
ROOMS = ("btree/rebalance", "store/policies")
BEGIN, END = "<!-- figures begin: written by bench/run --docs -->", "<!-- figures end -->"


def table(heads, rows):
    if not rows:
        return []
    return ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads), *("| " + " | ".join(row) + " |" for row in rows), ""]


def ratio_row(result, row, size):
    ours, theirs = (values(result, name.format(n=size), row.metric) for name in (row.ours, row.theirs))
    if not ours or not theirs:
        return None
    ratio, target = Ratio(ours, theirs, row.more_is_better), row.targets[size]
    unit, scale = METRICS[row.metric]
    return [row.title, f"{size:,}" if size > 1 else "", f"{number(median(result, row.theirs.format(n=size), row.metric) / scale)}",
            f"{number(median(result, row.ours.format(n=size), row.metric) / scale)} {unit}", f"**{ratio.median:.2f}**",
            f"{ratio.low:.2f} – {ratio.high:.2f}", f"{target:.2f}" if target else "", verdict(ratio, target, row.stretch)[1]]


def ratios(result, title, rows, against):
    made = [ratio_row(result, row, size) for row in rows for size in row.targets]
    made = [m for m in made if m]
    if not made:
        return []
    return [f"### {title}", "", *table(["work", "keys", against, "libthinp", "times better", "all rounds", "target", "verdict"], made)]


def peers(result):
    engines = ("thinp", "lmdb", "sqlite", "rocksdb", "wiredtiger")
    rows = []
    for work in dict.fromkeys(name.split("/")[1] for name in result["samples"] if name.startswith("peers/")):
        found = [median(result, f"peers/{work}/{engine}/1000000") for engine in engines]
        if any(found) and not work.startswith("readers"):
            rows.append([f"`{work}`", *(number(f) for f in found)])
    heads = ["work", "libthinp", "LMDB", "SQLite", "RocksDB", "WiredTiger"]
    return ["### All libraries, 1,000,000 keys: CPU time of one operation or one commit, ns", "", *table(heads, rows)] if rows else []


def curve(result, sized, metric):
    found = [(size, median(result, name, metric)) for size, name in sorted(sized)]
    return ", ".join(f"{size:,}: {number(value)}" for size, value in found if value is not None)


def growth(result):
    works = {}
    for name in result["samples"]:
        fields = name.split("/")
        if fields[0] == "scale":
            works.setdefault(fields[1], []).append((int(fields[2]), name))
    parts = []
    for title, metric in (("CPU time, ns", "cpu"), ("blocks taken by one of them", "blocks_taken"),
                          ("blocks written by one commit", "blocks_written"),
                          ("memory for counts, MiB", "mib_of_the_map"), ("the most memory of the process, MiB", "peak_mib")):
        rows = [[f"`{work}`", curve(result, sized, metric)] for work, sized in works.items()]
        rows = [row for row in rows if row[1]]
        if rows:
            parts += [f"### Over the size: {title}", "", *table(["work", "size: figure"], rows)]
    return parts


def rooms(result):
    """What is more than a row of time; the report has all of them."""
    parts = []
    for group, names in micro.groups(result).items():
        if group not in ROOMS:
            continue
        extra = micro.told(result, names)
        rows = [[f"`{name.removeprefix(group + '/')}`", *(number(median(result, name, key)) for key in ("cpu", "wall", *extra))]
                for name in names]
        parts += [f"### `{group}`", "", *table(["", "CPU, ns", "real, ns", *(key.replace("_", " ") for key in extra)], rows)]
    return parts


def figures(result):
    lines = [f"Measured at {result['commit']}, {'quick' if result['quick'] else 'in full'}, in {result.get('seconds', 0)} s.", ""]
    lines += table(["machine", ""], [[k, v] for k, v in result["machine"].items()])
    lines += ratios(result, "A map beside LMDB", targets.MAP, "LMDB")
    lines += ratios(result, "Durable commits", targets.COMMITS, "LMDB")
    lines += ratios(result, "Readers", [r for r in targets.READERS if "/lmdb/" in r.theirs], "LMDB")
    lines += ratios(result, "Readers, beside themselves", [r for r in targets.READERS if "/lmdb/" not in r.theirs], "itself")
    lines += ratios(result, "Tools", targets.TOOLS, "1.1.0")
    lines += ratios(result, "Instructions", targets.COUNTS, "target")
    return "\n".join(lines + peers(result) + growth(result) + rooms(result))


def write(result):
    with open(PATH, encoding="utf-8") as file:
        text = file.read()
    new = re.sub(re.escape(BEGIN) + ".*" + re.escape(END), lambda _: f"{BEGIN}\n{figures(result)}\n{END}", text, flags=re.S)
    with open(PATH, "w", encoding="utf-8") as file:
        file.write(new)
    print(f"== {PATH}")
