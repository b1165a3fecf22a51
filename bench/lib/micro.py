# SPDX-License-Identifier: BSD-3-Clause
"""The part of the report that has all other benchmarks, as tables of what each tells."""
from html import escape

from .results import median, values

OWN_PARTS = ("peers", "tools", "icount", "scale")
KNOWN = ("cpu", "wall")


def groups(result):
    """The names of these benchmarks, by what they have in common."""
    found = {}
    for name in result["samples"]:
        fields = name.split("/")
        if fields[0] not in OWN_PARTS:
            found.setdefault("/".join(fields[:2]), []).append(name)
    return found


def told(result, names):
    """What they tell beside times."""
    return list(dict.fromkeys(k for name in names for sample in result["samples"][name] for k in sample if k not in KNOWN))


def part_of(result, table, number, part):
    return part("Rooms", [group_table(result, group, names, table, number) for group, names in groups(result).items()],
                "CPU and real time of one operation, median of all rounds; the spread is that of the CPU time.")


def group_table(result, group, names, table, number):
    extra = told(result, names)
    rows = []
    for name in names:
        cpu = values(result, name)
        row = [escape(name.removeprefix(group + "/")), number(median(result, name)), f"{number(min(cpu))} – {number(max(cpu))}",
               number(median(result, name, "wall"))]
        rows.append(row + [number(median(result, name, key)) for key in extra])
    return f"<h3>{escape(group)}</h3>" + table(["", ">CPU, ns", ">all rounds", ">real, ns"]
                                               + [">" + escape(k.replace("_", " ")) for k in extra], rows)
