#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""refcheck finds what is planted, and nothing else. Arguments: folder of the unpacked fixtures, then unittest's."""
import contextlib
import io
import os
import random
import re
import struct
import subprocess
import sys
import unittest

sys.dont_write_bytecode = True # the source tree stays as it is

from image import BLOCK, KINDS, Findings, Image, crcs
from maps import ENTRIES
from pools import check
from tally import Tally

FIXTURES = sys.argv.pop(1) if len(sys.argv) > 1 else "."
HERE = os.path.dirname(os.path.abspath(__file__))


def fixture(name):
    with open(os.path.join(FIXTURES, f"kernel-{name}.meta"), "rb") as file:
        return file.read()


class Damage:
    """An image that can be changed: checksums stay right."""

    def __init__(self, name):
        self.data = bytearray(fixture(name))

    def get(self, form, block, offset):
        return struct.unpack_from("<" + form, self.data, block * BLOCK + offset)[0]

    def put(self, form, block, offset, value, kind):
        struct.pack_into("<" + form, self.data, block * BLOCK + offset, value)
        self.seal(block, kind)

    def seal(self, block, kind):
        crc = crcs(self.data[block * BLOCK:(block + 1) * BLOCK])[0]
        struct.pack_into("<I", self.data, block * BLOCK, crc ^ KINDS[kind])

    def superblock(self, form, offset, change):
        self.put(form, 0, offset, change(self.get(form, 0, offset)), "thin superblock")

    def node(self, block):
        """(flags, nr, keys offset, values offset, value size)"""
        flags, _, nr, most, size = struct.unpack_from("<IQIII", self.data, block * BLOCK + 4)
        return flags, nr, 32, 32 + 8 * most, size

    def key(self, block, i):
        return self.get("Q", block, 32 + 8 * i)

    def value(self, block, i, form="Q"):
        _, _, _, values, size = self.node(block)
        return self.get(form, block, values + size * i)

    def set_key(self, block, i, key):
        self.put("Q", block, 32 + 8 * i, key, "node")

    def set_value(self, block, i, value, form="Q", at=0):
        _, _, _, values, size = self.node(block)
        self.put(form, block, values + size * i + at, value, "node")

    def down(self, root, to_depth=None):
        """Blocks from a root along first children."""
        way = [root]
        while self.node(way[-1])[0] == 1:
            way.append(self.value(way[-1], 0))
        return way

    def device_roots(self):
        top = self.down(self.get("Q", 0, 320))[-1]
        return [self.value(top, i) for i in range(self.node(top)[1])]

    # --- space maps: area is the offset of the root in the superblock, 64 for data, 192 for metadata ---

    def bitmap(self, area, number=0):
        """(block that holds the index entry, its offset, bitmap)"""
        root = self.get("Q", 0, area + 16)
        if area == 192:
            return root, 16 + 16 * number, self.get("Q", root, 16 + 16 * number)
        leaf = self.down(root)[-1]
        offset = self.node(leaf)[3] + 16 * number
        return leaf, offset, self.get("Q", leaf, offset)

    def entry(self, area, i):
        _, _, bitmap = self.bitmap(area)
        field = self.get("B", bitmap, 16 + i // 4) >> i % 4 * 2
        return (field & 1) * 2 + (field >> 1 & 1)

    def set_entry(self, area, i, count):
        _, _, bitmap = self.bitmap(area)
        field = count >> 1 | (count & 1) << 1
        byte = self.get("B", bitmap, 16 + i // 4)
        self.put("B", bitmap, 16 + i // 4, byte & ~(3 << i % 4 * 2) | field << i % 4 * 2, "bitmap")

    def find_entry(self, area, count):
        nr = min(ENTRIES, self.get("Q", 0, area))
        return next(i for i in range(1, nr) if self.entry(area, i) == count)

    def overflow_leaf(self, area):
        return self.down(self.get("Q", 0, area + 24))[-1]

    def findings(self):
        findings = Findings()
        check(Image(bytes(self.data), findings), findings)
        findings.finish()
        return findings


class Test(unittest.TestCase):
    def expect(self, damage, *patterns):
        """The findings are those, notes left out, and no others."""
        findings = damage.findings()
        lines = [line for line in findings.lines if not line.startswith("note")]
        for line in lines:
            self.assertTrue(any(re.match(pattern, line) for pattern in patterns), f"not expected: {line}")
        for pattern in patterns:
            self.assertTrue(any(re.match(pattern, line) for line in lines), f"not found: {pattern} in {lines[:5]}")
        self.assertEqual(findings.is_clean(), all(pattern.startswith("warning") for pattern in patterns))


class Sound(Test):
    def test_what_kernels_wrote_is_clean(self):
        for name in ("cache1", "cache2", "datafull", "empty", "era", "fragmented", "heldroot", "snaps"):
            with self.subTest(name):
                self.expect(Damage(name))

    def test_the_block_that_a_kernel_lost_is_found(self):
        self.expect(Damage("metafull"), r"leak: data map: block 95761: count 1, 0 references$")

    def test_checksums_are_those_of_the_plain_way(self):
        rng = random.Random(7)
        data = rng.randbytes(3 * BLOCK)

        def plain(block):
            reg = 0xFFFFFFFF
            for byte in block[4:]:
                reg ^= byte
                for _ in range(8):
                    reg = reg >> 1 ^ (0x82F63B78 if reg & 1 else 0)
            return reg

        self.assertEqual(crcs(data), [plain(data[i * BLOCK:(i + 1) * BLOCK]) for i in range(3)])

    def test_exit_status(self):
        def status(*names):
            command = [sys.executable, os.path.join(HERE, "refcheck"), *names]
            return subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode

        clean, leaky = (os.path.join(FIXTURES, f"kernel-{name}.meta") for name in ("empty", "metafull"))
        self.assertEqual([status(clean), status(leaky), status(clean, leaky), status()], [0, 1, 1, 2])


class Shapes(Test):
    """What the images of kernels look like; which features a number of pools has."""

    KNOWN = {"snaps": (18, 2, 0, 1, 18, 1, 3), "metafull": (1, 3, 0, 6, 1, 1, 1), "heldroot": (2, 2, 1, 1, 2, 1, 1),
             "empty": (0, 0, 0, 0, 0, 1, 1)}

    def shapes(self):
        for name in self.KNOWN:
            yield name, check(Image(fixture(name), Findings()), Findings())

    def test_shapes_are_those_of_the_kernels(self):
        for name, shape in self.shapes():
            names = ("devices", "depth", "held", "data_bitmaps", "data_count", "metadata_bitmaps", "metadata_count")
            self.assertEqual(tuple(shape[each] for each in names), self.KNOWN[name], name)
        self.assertIsNone(check(Image(fixture("era"), Findings()), Findings()))

    def test_promises_that_are_not_kept(self):
        everything = {"devices": 10, "depth": 3, "held": 1, "data_bitmaps": 2, "data_count": 4, "metadata_bitmaps": 2,
                      "metadata_count": 4}

        def is_kept(promise, *shapes):
            tally = Tally(promise)
            for shape in shapes:
                tally.add(shape)
            with contextlib.redirect_stdout(io.StringIO()):
                return tally.is_kept()

        self.assertTrue(is_kept("2,2,2", everything, everything))
        self.assertFalse(is_kept("3,2,2", everything, everything))
        for name, value in everything.items():
            less = {**everything, name: value - 1}
            self.assertTrue(is_kept("2,1,1", everything, less), name)
            self.assertFalse(is_kept("2,2,1", everything, less), name)
            self.assertFalse(is_kept("2,1,2", everything, less), name)

    def test_the_exit_status_tells_of_a_promise(self):
        def status(promise):
            command = [sys.executable, os.path.join(HERE, "refcheck"), "--tally", promise,
                       os.path.join(FIXTURES, "kernel-heldroot.meta")]
            return subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode

        self.assertEqual([status("1,0,0"), status("2,0,0"), status("1,1,0")], [0, 1, 1])


class Counts(Test):
    def flip(self, area, before, after, *patterns):
        name = {64: "data", 192: "metadata"}[area]
        damage = Damage("snaps")
        i = damage.find_entry(area, before)
        damage.set_entry(area, i, after)
        self.expect(damage, *(pattern.format(i=i, name=name, a=before, b=after) for pattern in patterns))

    def test_each_wrong_count_of_both_maps(self):
        lost = "{name} map: block {i}: count {b}, {a} references$"
        hints = r"count: {name} map: (bitmap 0: nr_free|nr_allocated) is \d+"
        marked = "error: {name} map: block {i} is in the overflow tree with "
        missing = "error: {name} map: block {i} is marked 3, and is not in the overflow tree$"
        for area in (64, 192):
            with self.subTest(area):
                self.flip(area, 0, 1, "leak: " + lost, hints)
                self.flip(area, 0, 2, "leak: " + lost, hints)
                self.flip(area, 1, 2, "leak: " + lost)
                self.flip(area, 2, 1, "error: " + lost)
                self.flip(area, 1, 3, missing)
                self.flip(area, 3, 1, marked)
                self.flip(area, 3, 2, marked)
        self.flip(192, 1, 0, "error: " + lost, hints)
        self.flip(64, 2, 0, "error: " + lost, hints, r"count: data map: bitmap 0: none_free_before is \d+")

    def test_counts_in_the_overflow_tree(self):
        for area, name in ((64, "data"), (192, "metadata")):
            for change, level in ((1, "leak"), (1000, "leak"), (-1, "error")):
                with self.subTest((area, change)):
                    damage = Damage("snaps")
                    leaf = damage.overflow_leaf(area)
                    i = damage.node(leaf)[1] - 1
                    block, count = damage.key(leaf, i), damage.value(leaf, i, "I")
                    damage.set_value(leaf, i, count + change, "I")
                    self.expect(damage, f"{level}: {name} map: block {block}: count {count + change}, {count} references$",
                                *[f"error: {name} map: the overflow tree has count 2 for block"] * (count + change < 3))

    def test_a_small_count_in_the_overflow_tree(self):
        damage = Damage("snaps")
        leaf = damage.overflow_leaf(64)
        damage.set_value(leaf, 0, 2, "I")
        self.expect(damage, "error: data map: the overflow tree has count 2 for block",
                    r"error: data map: block \d+: count 2, \d+ references")

    def test_an_overflow_entry_that_is_gone(self):
        for area in (64, 192):
            damage = Damage("snaps")
            leaf = damage.overflow_leaf(area)
            nr = damage.node(leaf)[1]
            block = damage.key(leaf, nr - 1)
            damage.put("I", leaf, 16, nr - 1, "node")
            self.expect(damage, f"error: (data|metadata) map: block {block} is marked 3, and is not in the overflow tree$")

    def test_an_overflow_entry_too_many(self):
        damage = Damage("snaps")
        leaf = damage.overflow_leaf(64)
        block = damage.key(leaf, 0)
        damage.set_entry(64, block, 1)
        self.expect(damage, fr"error: data map: block {block} is in the overflow tree with (\d+), and marked 1; \1 references$")

    def test_runs_are_merged(self):
        damage = Damage("empty")
        for i in range(100, 110):
            damage.set_entry(192, i, 1)
        self.expect(damage, r"leak: metadata map: blocks 100\.\.109 \(10\): count 1, 0 references$", "count: metadata map")

    def test_hints_and_totals(self):
        for area, name in ((64, "data"), (192, "metadata")):
            kind = "index" if area == 192 else "node"
            damage = Damage("snaps")
            damage.superblock("Q", area + 8, lambda value: value + 1)
            self.expect(damage, f"count: {name} map: nr_allocated is ")
            for change in (1, -1):
                damage = Damage("snaps")
                block, offset, _ = damage.bitmap(area)
                damage.put("I", block, offset + 8, damage.get("I", block, offset + 8) + change, kind)
                self.expect(damage, f"count: {name} map: bitmap 0: nr_free is ")
            damage = Damage("snaps")
            block, offset, _ = damage.bitmap(area)
            damage.put("I", block, offset + 12, ENTRIES, kind)
            self.expect(damage, f"count: {name} map: bitmap 0: none_free_before is ")
            damage.put("I", block, offset + 12, 0, kind)
            self.expect(damage)

    def test_a_count_behind_the_end(self):
        damage = Damage("snaps")
        damage.set_entry(192, damage.get("Q", 0, 192), 1)
        self.expect(damage, "count: metadata map: bitmap 0: entries behind the end", "count: metadata map: bitmap 0: nr_free")

    def test_references_of_the_held_root(self):
        damage = Damage("heldroot")
        held = damage.get("Q", 0, 56)
        for block in (held, damage.get("Q", held, 320), damage.get("Q", held, 328)):
            damage = Damage("heldroot")
            damage.set_entry(192, block, damage.entry(192, block) - 1)
            self.expect(damage, f"error: metadata map: block {block}: count", "count: metadata map")

    def test_counts_above_are_no_leaks_when_references_are_missing(self):
        damage = Damage("fragmented")
        leaf = damage.down(damage.device_roots()[0])[-1]
        damage.data[leaf * BLOCK + 50] ^= 1
        self.expect(damage, f"error: checksum: mappings: block {leaf} is damaged")


class Shape(Test):
    def deep(self):
        """An image, the root of a device that is two nodes deep, and its first leaf."""
        damage = Damage("fragmented")
        root = next(root for root in damage.device_roots() if len(damage.down(root)) > 1)
        return damage, root, damage.down(root)[-1]

    def field(self, offset, value, *patterns):
        damage, _, leaf = self.deep()
        damage.put("I", leaf, offset, value, "node")
        self.expect(damage, *patterns)

    def test_header_fields(self):
        self.field(4, 3, r"error: node: mappings: block \d+: flags 3$")
        self.field(4, 0, r"error: node: mappings: block \d+: flags 0$")
        self.field(16, 253, r"error: node: mappings: block \d+: 253 entries of 252$")
        self.field(20, 255, r"error: node: mappings: block \d+: room for 255 entries$")
        self.field(24, 4, r"error: node: mappings: block \d+: values of 4 bytes$")
        self.field(28, 7, r"warning: node: mappings: block \d+: padding is 7$")

    def test_keys_that_do_not_ascend(self):
        for key in (0, 1):
            damage, _, leaf = self.deep()
            damage.set_key(leaf, 1, damage.key(leaf, key))
            damage.set_key(leaf, 0, damage.key(leaf, 1))
            self.expect(damage, f"error: keys: mappings: block {leaf}: keys do not ascend$")

    def test_keys_of_parents(self):
        damage, root, leaf = self.deep()
        damage.set_key(root, 0, damage.key(leaf, 0) + 1)
        self.expect(damage, f"error: keys: mappings: block {root}: child 0 begins with ")
        damage, root, leaf = self.deep()
        damage.set_key(root, 1, damage.key(leaf, damage.node(leaf)[1] - 1))
        self.expect(damage, f"error: keys: mappings: block {root}: child 0 ends with ")

    def test_leaves_at_different_depths(self):
        damage, root, _ = self.deep()
        damage.set_value(root, 0, next(block for block in damage.device_roots() if block != root))
        findings = damage.findings()
        self.assertFalse(findings.is_clean())

    def test_a_node_below_itself(self):
        damage, root, leaf = self.deep()
        damage.set_value(root, 0, root)
        self.expect(damage, f"error: cycle: mappings: block {root} is below itself", "error: metadata map")

    def test_pointers_out_of_range(self):
        for address in (0, 1 << 40, 4096):
            damage, root, _ = self.deep()
            damage.set_value(root, 0, address)
            self.expect(damage, f"error: address: mappings: block {root}: a pointer to block {address}, of 4096$")

    def test_a_block_of_another_role(self):
        damage, root, _ = self.deep()
        damage.set_value(root, 0, damage.get("Q", 0, 64 + 24))
        self.expect(damage, r"error: role: block \d+ is part of overflow tree of the data map, and of mappings$",
                    r"error: metadata map: block \d+: count 1, 2 references$")

    def test_a_block_in_another_place(self):
        damage, _, leaf = self.deep()
        damage.put("Q", leaf, 8, leaf + 1, "node")
        self.expect(damage, f"error: own address: mappings: block {leaf} says that it is block {leaf + 1}")

    def test_a_block_of_another_kind(self):
        damage, _, leaf = self.deep()
        damage.seal(leaf, "bitmap")
        self.expect(damage, f"error: checksum: mappings: block {leaf} is a sound bitmap, a node was expected$")

    def test_few_entries_are_a_warning(self):
        damage, _, leaf = self.deep()
        nr = damage.node(leaf)[1]
        damage.put("I", leaf, 16, 83, "node")
        blocks = {damage.value(leaf, i) >> 24 for i in range(83, nr)}
        findings = damage.findings()
        self.assertIn(f"warning: occupancy: mappings: block {leaf} has 83 entries of 252", findings.lines)
        self.assertEqual(findings.subjects["count", "details"], 1)
        lost = [re.match(r"leak: data map: blocks? (\d+)(?:\.\.(\d+))?", line) for line in findings.lines]
        lost = {block for m in lost if m for block in range(int(m[1]), int(m[2] or m[1]) + 1)}
        self.assertTrue(lost and lost <= blocks)


class Pool(Test):
    def test_superblock(self):
        for offset, form, value, pattern in (
                (32, "Q", 5, "error: superblock: magic number 5"), (340, "I", 16, "error: superblock: metadata blocks of 16"),
                (336, "I", 100, "error: superblock: data blocks of 100"), (360, "I", 1, "error: superblock: feature flags"),
                (352, "I", 1, "warning: superblock: compat flags"), (44, "I", 1 << 24, "error: superblock: time"),
                (16, "I", 1, "warning: superblock: bytes without a meaning")):
            damage = Damage("datafull")
            damage.put(form, 0, offset, value, "thin superblock")
            self.expect(damage, pattern)

    def test_never_formatted(self):
        damage = Damage("empty")
        damage.data[:BLOCK] = bytes(BLOCK)
        self.expect(damage, "error: superblock: the image was never formatted")

    def details(self, at, form, value, *patterns):
        damage = Damage("snaps")
        leaf = damage.down(damage.get("Q", 0, 328))[-1]
        damage.set_value(leaf, 0, value, form, at)
        self.expect(damage, *patterns)

    def test_details(self):
        self.details(0, "Q", 5, r"count: details: superblock: device \d+: mapped_blocks is 5, it has \d+ mappings$")
        self.details(16, "I", 1 << 23, r"error: details: superblock: device \d+: creation_time")
        self.details(20, "I", 1 << 23, r"warning: details: superblock: device \d+: snapshotted_time")

    def test_a_device_in_one_tree_only(self):
        damage = Damage("snaps")
        leaf = damage.down(damage.get("Q", 0, 328))[-1]
        damage.set_key(leaf, damage.node(leaf)[1] - 1, 999999)
        self.expect(damage, "error: devices: superblock: device 999999 is only in the details$",
                    r"error: devices: superblock: device \d+ is only in the top level$")

    def test_a_mapping_behind_the_end(self):
        damage = Damage("datafull")
        leaf = damage.down(damage.device_roots()[0])[-1]
        old = damage.value(leaf, 0) >> 24
        damage.set_value(leaf, 0, 1 << 50)
        self.expect(damage, f"error: mapping: leaf {leaf}: ", f"leak: data map: block {old}: count 1, 0 references$")

    def test_a_mapping_of_another_block(self):
        damage = Damage("datafull")
        leaf = damage.down(damage.device_roots()[0])[-1]
        a, b = damage.value(leaf, 0) >> 24, damage.value(leaf, 1) >> 24
        damage.set_value(leaf, 0, b << 24)
        self.expect(damage, f"error: data map: block {b}: count 1, 2 references$",
                    f"leak: data map: block {a}: count 1, 0 references$")


class Arrays(Test):
    def blocks(self, damage):
        leaf = damage.down(damage.get("Q", 0, 192))[-1]
        return leaf, [damage.value(leaf, i) for i in range(damage.node(leaf)[1])]

    def test_blocks_of_arrays(self):
        for offset, value in ((4, 510), (8, 510), (12, 4), (8, 3)):
            damage = Damage("cache2")
            _, blocks = self.blocks(damage)
            damage.put("I", blocks[0], offset, value, "array block")
            self.expect(damage, "error: array: mappings")

    def test_an_array_with_a_gap(self):
        damage = Damage("cache2")
        leaf, blocks = self.blocks(damage)
        damage.set_key(leaf, len(blocks) - 1, len(blocks))
        self.expect(damage, "error: array: mappings")

    def test_a_block_of_an_array_that_nobody_counts(self):
        damage = Damage("era")
        leaf = damage.down(damage.get("Q", 0, 208))[-1]
        damage.set_value(leaf, 0, damage.value(leaf, 1))
        self.assertFalse(damage.findings().is_clean())


if __name__ == "__main__":
    unittest.main()
