# SPDX-License-Identifier: BSD-3-Clause
"""What was measured, as a dictionary that is kept as JSON.

    commit, machine, quick, seconds   how it came about
    samples   name of a benchmark -> list of samples, in the order of the rounds; a sample is a dictionary: cpu and wall
              (ns for each operation), and whatever else the benchmark tells
    failures  name of a benchmark -> why it could not be measured
"""
import json
import statistics

FORMAT = 1


def new(commit, machine, quick):
    return {"format": FORMAT, "commit": commit, "machine": machine, "quick": quick, "samples": {}, "failures": {}}


def load(path):
    with open(path, encoding="utf-8") as file:
        result = json.load(file)
    if result.get("format") != FORMAT:
        raise SystemExit(f"{path}: not a result of this version")
    return result


def save(result, path):
    with open(path, "w", encoding="utf-8") as file:
        json.dump(result, file, indent=1)
        file.write("\n")


def values(result, name, metric="cpu"):
    """The metric in each round of a benchmark; empty when it was not measured."""
    return [s[metric] for s in result["samples"].get(name, []) if metric in s]


def median(result, name, metric="cpu"):
    found = values(result, name, metric)
    return statistics.median(found) if found else None


class Ratio:
    """How many times less `ours` is than `theirs`, round by round, so that what disturbed a round disturbs both."""

    def __init__(self, ours, theirs, more_is_better=False):
        pairs = list(zip(ours, theirs))
        ratios = [(o / t if more_is_better else t / o) for o, t in pairs if o and t]
        self.nr = len(ratios)
        self.low, self.median, self.high = (min(ratios), statistics.median(ratios), max(ratios)) if ratios else (0, 0, 0)
