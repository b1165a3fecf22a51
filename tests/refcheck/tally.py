# SPDX-License-Identifier: BSD-3-Clause
"""How many pools have which features: what random tests promise to produce."""
from collections import Counter

FEATURES = {
    "trees of 3 levels": lambda shape: shape["depth"] >= 3,
    "2 bitmaps in use, in both maps": lambda shape: min(shape["data_bitmaps"], shape["metadata_bitmaps"]) >= 2,
    "counts above 3, in both maps": lambda shape: min(shape["data_count"], shape["metadata_count"]) > 3,
    "a metadata snapshot": lambda shape: shape["held"] == 1,
    "10 and more devices": lambda shape: shape["devices"] >= 10,
}


class Tally:
    """promise: the least number of images, of those with each feature, and of those with all: "300,30,30"."""

    def __init__(self, promise):
        self.least_images, self.least_each, self.least_all = map(int, promise.split(","))
        self.nr_images, self.nr_all, self.numbers = 0, 0, Counter()

    def add(self, shape):
        has = [name for name, has_it in FEATURES.items() if has_it(shape)]
        self.nr_images += 1
        self.nr_all += len(has) == len(FEATURES)
        self.numbers.update(has)

    def is_kept(self):
        """Prints the numbers. False: fewer than promised."""
        lines = [("images", self.nr_images, self.least_images), ("all of these", self.nr_all, self.least_all)]
        lines[1:1] = [(name, self.numbers[name], self.least_each) for name in FEATURES]
        for name, number, least in lines:
            print(f"{number:6} {name}{'' if number >= least else f': FEWER THAN {least}'}")
        return all(number >= least for _, number, least in lines)
