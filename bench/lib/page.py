# SPDX-License-Identifier: BSD-3-Clause
"""The report: one HTML file that needs nothing else."""
import statistics
from html import escape

from . import micro, svg, targets
from .results import Ratio, median, values

STYLE = """
body { font: 14px/1.45 system-ui, sans-serif; color: #1c2024; background: #fff; max-width: 1180px; margin: 24px auto;
  padding: 0 16px }
h1 { font-size: 24px } h2 { font-size: 19px; margin-top: 36px } h3 { font-size: 15px; margin: 22px 0 6px }
table { border-collapse: collapse; margin: 6px 0 14px } caption { text-align: left; color: #60646c }
th { text-align: left; font-weight: 600; border-bottom: 2px solid #c8ccd2; padding: 3px 12px 3px 0; vertical-align: bottom }
td { border-bottom: 1px solid #e4e7eb; padding: 2px 12px 2px 0; vertical-align: middle }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap }
td span { white-space: nowrap }
.met { color: #18794e } .missed { color: #b42318 } .close { color: #8f5a00 } .none { color: #60646c }
svg { vertical-align: middle } svg text { font: 11px system-ui, sans-serif; fill: #60646c }
svg text.title { font: 600 13px system-ui, sans-serif; fill: #1c2024 }
svg .grid { stroke: #e4e7eb } svg .one { stroke: #9aa0a6; stroke-dasharray: 2 2 }
svg .spread { stroke: #1c2024; stroke-width: 2; opacity: .45 } svg path.target { fill: #1c2024 }
svg line.target { stroke: #1c2024; stroke-dasharray: 1 2 }
svg .dot { fill: #60646c } svg .dot.met { fill: #18794e } svg .dot.missed { fill: #b42318 }
.charts { display: flex; flex-wrap: wrap; gap: 14px }
.key { color: #60646c }
"""

METRICS = {
    "tool_cpu": ("ms", 1e6), "tool_wall": ("ms", 1e6), "cpu": ("ns", 1), "wall": ("ns", 1), "written": ("KiB", 1024), "file": ("MiB", 1 << 20), "peak": ("MiB", 1 << 20),
    targets.RATE: ("M/s", 1e6), targets.CPU_RATE: ("M/s", 1e6),
}


def number(value):
    if value is None:
        return "–"
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def cell(text, kind=""):
    return f'<td class="{kind}">{text}</td>' if kind else f"<td>{text}</td>"


def table(heads, rows, caption=""):
    """Columns whose head begins with > are numbers."""
    kinds = ["n" if head.startswith(">") else "" for head in heads]
    parts = ["<table>", f"<caption>{escape(caption)}</caption>" if caption else "", "<tr>"]
    parts += [f'<th class="{kind}">{head.removeprefix(">")}</th>' for head, kind in zip(heads, kinds)]
    parts.append("</tr>")
    for row in rows:
        parts.append("<tr>" + "".join(cell(text, kind) for text, kind in zip(row, kinds)) + "</tr>")
    return "".join(parts) + "</table>"


# --- verdicts ---

def verdict(ratio, target, stretch):
    """(class, text)"""
    if not target:
        return "none", ""
    if ratio.median >= target:
        if stretch and ratio.median >= stretch:
            return "met", "met, stretch too"
        return ("met", "met") if ratio.low >= target or ratio.nr < 2 else ("close", "met, within noise")
    return ("missed", "missed") if ratio.high < target else ("close", "missed, within noise")


def ratio_row(result, row, size):
    """The cells of a row of targets, or None when one side was not measured."""
    ours_name, theirs_name = row.ours.format(n=size), row.theirs.format(n=size)
    ours, theirs = values(result, ours_name, row.metric), values(result, theirs_name, row.metric)
    if not ours or not theirs:
        return None
    ratio, target = Ratio(ours, theirs, row.more_is_better), row.targets[size]
    unit, scale = METRICS[row.metric]
    kind, text = verdict(ratio, target, row.stretch)
    return [escape(row.title), number(statistics.median(theirs) / scale), number(statistics.median(ours) / scale), unit,
            f"<b>{ratio.median:.2f}</b>", f"{ratio.low:.2f} – {ratio.high:.2f}", f"{target:.2f}" if target else "",
            svg.ratio_line(ratio, target), f'<span class="{kind}">{text}</span>'], kind, text


def all_verdicts(result):
    for rows in (targets.MAP, targets.COMMITS, targets.READERS, targets.TOOLS, targets.COUNTS):
        for row in rows:
            for size in row.targets:
                made = ratio_row(result, row, size)
                if made and row.targets[size]:
                    yield row, size, made[1], made[2]


def ratio_table(result, rows, size, caption="", against="LMDB"):
    made = [ratio_row(result, row, size) for row in rows if size in row.targets]
    made = [m[0] for m in made if m]
    if not made:
        return ""
    return table(["work", f">{against}", ">libthinp", "", ">times better", ">all rounds", ">target", svg.ratio_scale(), "verdict"],
                 made, caption)


def summary(result):
    counts = {}
    missed = []
    for row, size, kind, text in all_verdicts(result):
        counts[text] = counts.get(text, 0) + 1
        if text.startswith("missed"):
            missed.append((row.title, f"{size:,}" if size > 1 else "", text))
    parts = ["<p>" + ", ".join(f"{nr} {text}" for text, nr in sorted(counts.items())) + "</p>"]
    if missed:
        parts.append(table(["not reached", ">keys", ""], [[escape(t), n, v] for t, n, v in missed]))
    return "".join(parts)


# --- the parts ---

def map_part(result):
    parts = []
    for size in targets.SIZES:
        made = ratio_table(result, targets.MAP, size)
        if made:
            parts.append(f"<h3>{size:,} keys</h3>{made}")
    return part("A map beside LMDB", parts, "CPU time of one operation unless it says otherwise. A dot is the median of "
                "the ratios of all rounds, the line behind it all of them, the mark the target, the dashed line equality.")


def commits_part(result):
    made = ratio_table(result, targets.COMMITS, 1000000)
    return part("Durable commits, 1,000,000 keys", [made] if made else [])


def readers_part(result):
    beside = [row for row in targets.READERS if "/lmdb/" in row.theirs]
    alone = [row for row in targets.READERS if "/lmdb/" not in row.theirs]
    made = [ratio_table(result, beside, 1000000), ratio_table(result, alone, 1000000, against="itself")]
    return part("Readers, 1,000,000 keys", [m for m in made if m])


def peers_part(result):
    engines = ("thinp", "lmdb", "sqlite", "sqlite_rollback", "rocksdb", "wiredtiger")
    parts = []
    for metric, title, unit, scale in (("cpu", "CPU time", "ns", 1), ("wall", "real time", "ns", 1),
                                       ("written", "written", "KiB for all of it, or for a commit", 1024),
                                       ("peak", "most memory", "MiB", 1 << 20), ("file", "file", "MiB", 1 << 20)):
        rows = []
        for work in dict.fromkeys(n.split("/")[1] for n in result["samples"] if n.startswith("peers/")):
            found = [median(result, f"peers/{work}/{engine}/1000000", metric) for engine in engines]
            if not work.startswith("readers") and any(found):
                rows.append([work] + [number(f / scale) if f is not None else "–" for f in found])
        if rows:
            parts.append(f"<h3>{title}, {unit}</h3>"
                         + table(["work", ">libthinp", ">LMDB", ">SQLite", ">rollback journal", ">RocksDB", ">WiredTiger"], rows))
    return part("All libraries, 1,000,000 keys", parts, "Settings stand at the head of bench/peers/engine_*.c.")


def tools_table(result):
    names = [name for name in result["samples"] if name.startswith("tools/")]
    rows = [[escape(name.removeprefix("tools/"))]
            + [number(median(result, name, metric) / scale)
               for metric, scale in (("tool_cpu", 1e6), ("tool_wall", 1e6), ("peak", 1 << 20))] for name in names]
    return table(["all tools", ">CPU, ms", ">real, ms", ">most memory, MiB"], rows) if rows else ""


def growth_part(result):
    works = {}
    for name in result["samples"]:
        fields = name.split("/")
        if fields[0] in ("peers", "scale") and fields[-1].isdigit() and not fields[1].startswith("readers"):
            works.setdefault((fields[0], fields[1]), {}).setdefault(fields[2] if len(fields) > 3 else "thinp", []).append(
                (int(fields[-1]), name))
    charts = {"peers": [], "scale": []}
    for (group, work), engines in works.items():
        lines = [(engine, line_of(result, engines[engine])) for engine in ("thinp", "lmdb") if engine in engines]
        if any(len(line) > 1 for _, line in lines):
            charts[group].append(svg.curves(work.replace("_", " "), *in_best_unit(lines)))
    parts = [f'<h3>{title}</h3><div class="charts">{"".join(charts[group])}</div>'
             for group, title in (("peers", "Beside LMDB, over the number of keys"),
                                  ("scale", "libthinp alone, over keys, data blocks of a map, or snapshots of a pool"))
             if charts[group]]
    return part("How cost grows with size", parts, "CPU time of one operation or one commit. Axes are logarithmic where "
                "values lie far apart.")


def in_best_unit(lines):
    """(unit, lines) with numbers that can be read."""
    most = max(point[3] for _, line in lines for point in line)
    unit, scale = next((u, s) for u, s in (("ms", 1e6), ("µs", 1e3), ("ns", 1)) if most >= 10 * s or s == 1)
    return unit, [(name, [(size, *(v / scale for v in rest)) for size, *rest in line]) for name, line in lines]


def line_of(result, sized):
    line = []
    for size, name in sorted(sized):
        found = values(result, name)
        if found:
            line.append((size, min(found), statistics.median(found), max(found)))
    return line


def part(title, parts, note=""):
    if not parts:
        return ""
    return f"<h2>{escape(title)}</h2>" + (f'<p class="key">{escape(note)}</p>' if note else "") + "".join(parts)


def html(result):
    lines = [[escape(k), escape(v)] for k, v in result["machine"].items()]
    body = [
        f"<h1>libthinp {escape(result['commit'])}</h1>",
        f'<p class="key">{"A quick run" if result["quick"] else "A full run"}, {result.get("seconds", 0)} s.</p>',
        summary(result), table(["machine", ""], lines), map_part(result), commits_part(result), readers_part(result),
        part("Beside the tools", [t for t in [ratio_table(result, targets.TOOLS, 1, against="1.1.0"), tools_table(result)] if t]),
        part("Instructions", [t for t in [ratio_table(result, targets.COUNTS, 1, against="target")] if t]),
        peers_part(result), growth_part(result), micro.part_of(result, table, number, part),
    ]
    if result["failures"]:
        body.append(part("What could not be measured",
                         [table(["what", "why"], [[escape(k), escape(v)] for k, v in result["failures"].items()])]))
    return ('<!doctype html><html lang="en"><head><meta charset="utf-8"><title>libthinp, benchmarks</title>'
            f"<style>{STYLE}</style></head><body>{''.join(body)}</body></html>\n")
