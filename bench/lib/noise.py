# SPDX-License-Identifier: BSD-3-Clause
"""Is one better than the other, or is it noise?

Old and new are measured side by side in each round, so each round gives a ratio, and what disturbs the machine for longer
than a round disturbs neither. How far these ratios lie apart tells how far their median may be off: 1.48 times the median
deviation from the median estimates a standard deviation without being led astray by single disturbed rounds. A change
is told when it is more than four standard errors, more than LEAST, and has one sign in all rounds, or in all but one of
eight and more. Even so about one in a hundred is told wrongly: bench/compare measures what is told once more."""
import math
import statistics

from .results import values

LEAST = 0.05
LEAST_COUNTED = 0.01
METRICS = ("cpu", "written") # real time is the device's, which no repetition makes steady


class Change:
    def __init__(self, name, old, new, share, error, least, is_steady=True):
        self.name, self.old, self.new, self.share, self.error = name, old, new, share, error
        matters = abs(share) > max(least, 4 * error) and is_steady
        self.is_worse = matters and share > 0
        self.is_better = matters and share < 0

    @property
    def benchmark(self):
        return self.name.rsplit(" (", 1)[0]

    @property
    def has_changed(self):
        return self.is_worse or self.is_better

    def as_noise(self):
        """The same, not confirmed."""
        self.is_worse = self.is_better = False
        return self

    def __str__(self):
        return f"{self.share * 100:+7.1f} % ± {self.error * 100:.1f}  {self.name}: {self.old:,.1f} -> {self.new:,.1f}"


def exact(name, old, new):
    """Numbers without noise."""
    return Change(name, old, new, new / old - 1, 0, LEAST_COUNTED)


def agree(first, second):
    return first.has_changed and (first.is_worse, first.is_better) == (second.is_worse, second.is_better)


def change(name, old, new):
    """Of values in the order of the rounds; None when there are too few of them."""
    ratios = [n / o for o, n in zip(old, new) if o]
    if len(ratios) < 3:
        return None
    middle = statistics.median(ratios)
    error = 1.4826 * statistics.median(abs(r - middle) for r in ratios) / math.sqrt(len(ratios))
    nr_with_sign = sum((r > 1) == (middle > 1) for r in ratios)
    return Change(name, statistics.median(old), statistics.median(new), middle - 1, error, LEAST,
                  nr_with_sign >= len(ratios) - (len(ratios) >= 8))


def changes(old, new):
    found = []
    for name in old["samples"]:
        for metric in METRICS:
            one = change(f"{name} ({metric})", values(old, name, metric), values(new, name, metric))
            if one:
                found.append(one)
    return found
