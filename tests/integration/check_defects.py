#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Plants one defect in the metadata of a healthy pool, makes the checksum right again, and looks at what is said of it.

    check_defects.py THINP FIXTURES [NAME...]

`thinp check` must name the rule and the severity, and its exit status must follow. The older checkers are asked as well,
those that can be found: thin_check 0.9 in the PATH, thin_check 1.1 by THINP_THIN_CHECK_1. What each of them says of a
defect is written down here: they overlook some ("ok"), and that is why the columns differ.
"""
import json
import os
import shutil
import struct
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "witness"))
import metadata  # noqa: E402

BLOCK = 4096
BAD, OK = "bad", "ok"
SIZES = {"Q": 8, "I": 4}


class Image:
    """Metadata that can be changed field by field."""

    def __init__(self, data):
        self.data = bytearray(data)

    def get(self, block, offset, form="Q"):
        return struct.unpack_from("<" + form, self.data, block * BLOCK + offset)[0]

    def put(self, block, offset, value, form="Q", kind="node"):
        struct.pack_into("<" + form, self.data, block * BLOCK + offset, value)
        if kind:
            self.seal(block, kind)

    def seal(self, block, kind):
        part = bytearray(self.data[block * BLOCK:(block + 1) * BLOCK])
        metadata.seal(part, kind)
        self.data[block * BLOCK:(block + 1) * BLOCK] = part

    # superblock
    def sb(self, offset, form="Q"):
        return self.get(0, offset, form)

    def put_sb(self, offset, value, form="Q"):
        self.put(0, offset, value, form, "superblock")

    # nodes
    def nr(self, node):
        return self.get(node, 16, "I")

    def is_leaf(self, node):
        return self.get(node, 4, "I") == 2

    def value_at(self, node, i):
        return 32 + 8 * self.get(node, 20, "I") + self.get(node, 24, "I") * i

    def child(self, node, i):
        return self.get(node, self.value_at(node, i))

    def leaves(self, node):
        if self.is_leaf(node):
            return [node]
        return [leaf for i in range(self.nr(node)) for leaf in self.leaves(self.child(node, i))]

    def inner(self):
        """A root with children of a mapping tree."""
        return next(root for root in self.device_roots() if not self.is_leaf(root))

    def device_roots(self):
        return [self.child(leaf, i) for leaf in self.leaves(self.sb(320)) for i in range(self.nr(leaf))]

    def leaf(self):
        """A mapping leaf that has a parent, from the middle of its tree."""
        leaves = self.leaves(self.inner())
        return leaves[len(leaves) // 2]

    def details(self):
        return self.leaves(self.sb(328))[0]

    # maps
    def data_index(self):
        return self.leaves(self.sb(80))[0]

    def data_bitmap(self, i=0):
        return self.get(self.data_index(), self.value_at(self.data_index(), i))

    def metadata_index(self):
        return self.sb(208)

    def metadata_bitmap(self, i=0):
        return self.get(self.metadata_index(), 16 + 16 * i)

    def count(self, bitmap, entry):
        byte = self.data[bitmap * BLOCK + 16 + entry // 4] >> entry % 4 * 2 & 3
        return (byte & 1) << 1 | byte >> 1

    def put_count(self, bitmap, entry, count):
        at = bitmap * BLOCK + 16 + entry // 4
        coded = (count & 1) << 1 | count >> 1
        self.data[at] = self.data[at] & ~(3 << entry % 4 * 2) | coded << entry % 4 * 2
        self.seal(bitmap, "bitmap")

    def entry_with(self, bitmap, count):
        """The last entry with a count, of those that are about a block."""
        nr = self.sb(192) if bitmap == self.metadata_bitmap() else self.sb(64)
        return next(e for e in range(min(nr, 16320) - 1, -1, -1) if self.count(bitmap, e) == count)


def flip(block):
    def damage(image):
        image.data[block(image) * BLOCK + 2000] ^= 1
    return damage


def sb(offset, value, form="Q"):
    def damage(image):
        image.put_sb(offset, value(image) if callable(value) else value, form)
    return damage


def node(where, offset, value, form="I"):
    def damage(image):
        block = where(image)
        at = offset(image, block) if callable(offset) else offset
        image.put(block, at, value(image, block) if callable(value) else value, form)
    return damage


def key(i):
    return lambda image, block: 32 + 8 * i


def value(i, more=0):
    return lambda image, block: image.value_at(block, i) + more


def keep(offset, form="Q", more=0):
    return lambda image, block: image.get(block, offset, form) + more


def key_inside_before(image, block):
    before = image.leaves(image.child(block, 0))[-1]
    return image.get(before, 32 + 8 * (image.nr(before) - 2)) # 1.1 does not mind when it is the very last


def count(bitmap, old, new):
    def damage(image):
        block = bitmap(image)
        image.put_count(block, image.entry_with(block, old), new)
    return damage


def cut(image):
    del image.data[-64 * BLOCK:]


def cut_half(image):
    del image.data[len(image.data) // 8:]


def same_mapping_twice(image):
    leaf = image.leaf()
    image.put(leaf, image.value_at(leaf, 0), image.get(leaf, image.value_at(leaf, 1)))


def drop_last(where):
    def damage(image):
        block = where(image)
        image.put(block, 16, image.nr(block) - 1, "I")
    return damage


def swap_keys(image):
    leaf = image.leaf()
    first, second = image.get(leaf, 32), image.get(leaf, 40)
    image.put(leaf, 32, second)
    image.put(leaf, 40, first)


def other_device_root(image):
    """The root of one device's tree is also a leaf of another's."""
    top = image.leaves(image.sb(320))[0]
    others = [i for i in range(image.nr(top)) if image.child(top, i) != image.inner()]
    image.put(top, image.value_at(top, others[0]), image.leaf())


def held(offset, value, form="Q"):
    def damage(image):
        block = image.sb(56)
        image.put(block, offset, value(image, block) if callable(value) else value, form, "superblock")
    return damage


def held_is_other(image):
    image.put_sb(56, image.metadata_index())


def index_field(more, value):
    def damage(image):
        block = image.data_index()
        image.put(block, image.value_at(block, 0) + more, value, "I")
    return damage


def metadata_index_field(i, more, value, form="I"):
    def damage(image):
        image.put(image.metadata_index(), 16 + 16 * i + more, value, form, "index")
    return damage


def overflow_value(image):
    """Three references, and the overflow tree says two."""
    tree = image.leaves(image.sb(88))[0]
    image.put(tree, image.value_at(tree, 0), 2, "I")


def overflow_key(image):
    tree = image.leaves(image.sb(88))[-1]
    image.put(tree, 32 + 8 * (image.nr(tree) - 1), image.sb(64) + 5)


def beyond_data(image):
    leaf = image.leaf()
    image.put(leaf, image.value_at(leaf, 1), (image.sb(64) + 5) << 24)


def long_chain(image):
    """Internal nodes in a row, one entry each, deeper than any tree."""
    free = [b for b in range(100, len(image.data) // BLOCK) if image.count(image.metadata_bitmap(), b) == 0][:20]
    top = image.leaves(image.sb(320))[0]
    leaf = image.leaf()
    for here, below in zip(free, free[1:] + [leaf]):
        image.data[here * BLOCK:(here + 1) * BLOCK] = bytes(BLOCK)
        for offset, number, form in ((4, 1, "I"), (8, here, "Q"), (16, 1, "I"), (20, 252, "I"), (24, 8, "I"),
                                     (32 + 8 * 252, below, "Q")):
            image.put(here, offset, number, form, None)
        image.seal(here, "node")
    image.put(top, image.value_at(top, 0), free[0])


def loop(image):
    """Two nodes, of which the lower one names the upper one."""
    upper, lower = [b for b in range(100, len(image.data) // BLOCK) if image.count(image.metadata_bitmap(), b) == 0][:2]
    top = image.leaves(image.sb(320))[0]
    leaf = image.leaf()
    for here, entries in ((upper, [lower]), (lower, [leaf, upper])):
        image.data[here * BLOCK:(here + 1) * BLOCK] = bytes(BLOCK)
        fields = [(4, 1, "I"), (8, here, "Q"), (16, len(entries), "I"), (20, 252, "I"), (24, 8, "I")]
        for i, below in enumerate(entries):
            fields += [(32 + 8 * i, i << 40, "Q"), (32 + 8 * 252 + 8 * i, below, "Q")]
        for offset, number, form in fields:
            image.put(here, offset, number, form, None)
        image.seal(here, "node")
    image.put(top, image.value_at(top, 0), upper)


def twice_in_shared_leaf(image):
    """A device has a data block twice, and both are known to be shared."""
    for root in image.device_roots():
        for leaf in image.leaves(root):
            if image.count(image.metadata_bitmap(), leaf) > 1 and image.nr(leaf) > 1:
                image.put(leaf, image.value_at(leaf, 0), image.get(leaf, image.value_at(leaf, 1)))
                return
    raise LookupError("no shared leaf")


def twice_in_neighbours(image):
    """The same, in two leaves."""
    for root in image.device_roots():
        shared = [leaf for leaf in image.leaves(root) if image.count(image.metadata_bitmap(), leaf) > 1]
        if len(shared) > 1:
            image.put(shared[0], image.value_at(shared[0], 0), image.get(shared[1], image.value_at(shared[1], 1)))
            return
    raise LookupError("no two shared leaves")


def too_recent(image):
    """A mapping of a shared leaf that bears the time of now."""
    for root in image.device_roots():
        for leaf in image.leaves(root):
            if image.count(image.metadata_bitmap(), leaf) > 1:
                image.put(leaf, image.value_at(leaf, 0), image.get(leaf, image.value_at(leaf, 0)) | image.sb(44, "I"))
                return
    raise LookupError("no shared leaf")


def snapshotted_at(time):
    def damage(image):
        leaf = image.details()
        for i in range(image.nr(leaf)):
            image.put(leaf, image.value_at(leaf, i) + 20, time, "I")
            image.put(leaf, image.value_at(leaf, i) + 16, 0, "I")
    return damage


def one_snapshotted_at_0(which):
    """Of devices that share, one believes that it does not: whoever reaches a shared leaf, first or last."""
    def damage(image):
        leaf = image.details()
        at = image.value_at(leaf, range(image.nr(leaf))[which])
        image.put(leaf, at + 20, 0, "I")
        image.put(leaf, at + 16, 0, "I")
    return damage


def one_parent_of_shared_leaf(which):
    """Two nodes name a leaf, and what one of them says of its keys is wrong."""
    def damage(image):
        parents = {}
        for root in sorted(set(image.device_roots())):
            if not image.is_leaf(root) and image.is_leaf(image.child(root, 0)):
                for i in range(image.nr(root) - 1):
                    parents.setdefault(image.child(root, i), []).append((root, i))
        leaf, shared = next((leaf, where) for leaf, where in parents.items() if len(where) > 1 and image.nr(leaf) > 2)
        root, i = shared[which]
        image.put(root, 32 + 8 * (i + 1), image.get(leaf, 32 + 8 * (image.nr(leaf) - 2)))
    return damage


def leak_and_bad_leaf(image):
    count(Image.data_bitmap, 0, 1)(image)
    flip(Image.leaf)(image)


FAR = [("nr_blocks", lambda image, *_: image.sb(192)), ("2_40", 1 << 40), ("2_64", (1 << 64) - 1)]


def far_pointers():
    """TOOL-09: block numbers beyond the map in every pointer."""
    places = [("data_index_root", lambda n: sb(80, n), "SB14"), ("data_overflow", lambda n: sb(88, n), "SB14"),
              ("metadata_index", lambda n: sb(208, n), "SB14"), ("metadata_overflow", lambda n: sb(216, n), "SB14"),
              ("mapping_root", lambda n: sb(320, n), "SB14"), ("details_root", lambda n: sb(328, n), "SB14"),
              ("held_root", lambda n: sb(56, n), "SB14"),
              ("child", lambda n: node(Image.inner, value(1), n, "Q"), "BL1"),
              ("device_root", lambda n: node(lambda i: i.leaves(i.sb(320))[0], value(0), n, "Q"), "BL1"),
              ("data_bitmap", lambda n: node(Image.data_index, value(0), n, "Q"), "BL1"),
              ("metadata_bitmap", lambda n: metadata_index_field(0, 0, n, "Q"), "BL1")]
    for place, plant, rule in places:
        for name, number in FAR:
            if place == "metadata_bitmap" and callable(number):
                number = 1 << 30
            # 1.1 panics or refuses, 0.9 sees no bad overflow root of a map that it does not read
            yield f"TOOL_09_{place}_{name}", "fragmented", plant(number), [(rule, "fatal")], None, None


# name, image, damage, what must be found (rule, severity), verdict of 0.9, verdict of 1.1 (None: not looked at)
DEFECTS = [
    ("sound", "fragmented", lambda image: None, [], OK, OK),
    ("sound_with_snapshots", "snaps", lambda image: None, [], OK, OK),
    ("sound_with_metadata_snapshot", "heldroot", lambda image: None, [], OK, OK),
    ("TOOL_08_no_devices", "empty", lambda image: None, [], OK, OK),
    ("TOOL_03_TOOL_06_leaked_data_block_by_a_kernel", "metafull", lambda image: None, [("SM11", "leak")], OK, BAD),
    # superblock
    ("superblock_checksum", "fragmented", lambda image: image.put(0, 2000, 1, "I", None), [("SB1", "fatal")], BAD, BAD),
    ("superblock_elsewhere", "fragmented", sb(8, 7), [("SB2", "fatal")], OK, OK),
    ("superblock_magic", "fragmented", sb(32, 7), [("SB3", "fatal")], OK, OK),
    ("version_9", "fragmented", sb(40, 9, "I"), [("SB4", "warning")], OK, OK),
    ("unknown_flag", "fragmented", sb(4, 2, "I"), [("SB5", "warning")], OK, OK),
    ("needs_check", "fragmented", sb(4, 1, "I"), [("SB6", "state")], OK, OK),
    ("compat", "fragmented", sb(352, 1, "I"), [("SB7", "warning")], OK, OK),
    ("compat_ro", "fragmented", sb(356, 1, "I"), [("SB8", "fatal")], OK, OK),
    ("incompat", "fragmented", sb(360, 1, "I"), [("SB8", "fatal")], OK, OK),
    ("metadata_block_size", "fragmented", sb(340, 16, "I"), [("SB9", "fatal")], OK, OK),
    ("data_block_size", "fragmented", sb(336, 129, "I"), [("SB10", "fatal")], OK, OK),
    ("made_larger_than_counted", "fragmented", sb(344, 1 << 20), [("SB11", "warning")], OK, OK),
    ("uuid", "fragmented", sb(16, 1), [("SB12", "warning")], OK, OK),
    ("behind_the_record", "fragmented", sb(400, 1), [("SB12", "warning")], OK, OK),
    ("metadata_beyond_the_limit", "fragmented", sb(192, 4161601), [("SB13", "fatal")], None, None),
    ("TOOL_06_file_a_little_short", "fragmented", cut, [("SB13", "warning")], OK, OK),
    ("TOOL_11_file_cut", "fragmented", cut_half, [("SB13", "warning"), ("BL1", "fatal")], None, None),
    ("two_roots_alike", "fragmented", sb(328, lambda image: image.sb(320)), [("SB14", "fatal")], None, None),
    ("data_device_beyond_the_limit", "fragmented", sb(64, 1 << 41), [("SB15", "fatal")], None, None),
    ("more_data_in_use_than_there_is", "fragmented", sb(72, 1 << 39), [("SB16", "meta"), ("SM7", "meta")], OK, OK),
    ("more_metadata_in_use_than_there_is", "fragmented", sb(200, 1 << 39), [("SB16", "meta"), ("SM7", "meta")], OK, OK),
    ("time_beyond_the_limit", "fragmented", sb(44, 1 << 24, "I"), [("SB17", "fatal")], OK, OK),
    ("never_formatted", "fragmented", lambda image: image.data.__setitem__(slice(0, BLOCK), bytes(BLOCK)), [("SB18", "fatal")],
     None, None),
    # blocks
    ("TOOL_02_leaf_checksum", "fragmented", flip(Image.leaf), [("BL3", "fatal")], BAD, BAD),
    ("TOOL_02_inner_checksum", "fragmented", flip(Image.inner), [("BL3", "fatal")], BAD, BAD),
    ("TOOL_02_top_checksum", "fragmented", flip(lambda image: image.sb(320)), [("BL3", "fatal")], BAD, BAD),
    ("TOOL_02_details_checksum", "fragmented", flip(lambda image: image.sb(328)), [("BL3", "fatal")], BAD, BAD),
    ("index_root_checksum", "fragmented", flip(lambda image: image.sb(80)), [("BL3", "fatal")], BAD, BAD),
    ("leaf_elsewhere", "fragmented", node(Image.leaf, 8, 7, "Q"), [("BL4", "fatal")], BAD, BAD),
    ("root_inside_another_tree", "fragmented", other_device_root, [("BL5", "fatal")], None, None),
    ("child_is_itself", "fragmented", node(Image.inner, value(1), lambda image, block: block, "Q"), [("BL6", "fatal")], BAD, BAD),
    ("child_is_the_details_root", "fragmented", node(Image.inner, value(1), lambda image, block: image.sb(328), "Q"),
     [("BL5", "fatal")], BAD, BAD),
    ("child_is_its_sibling", "fragmented", node(Image.inner, value(1), lambda image, block: image.child(block, 2), "Q"),
     [("BL6", "fatal")], BAD, BAD),
    ("child_is_block_0", "fragmented", node(Image.inner, value(1), 0, "Q"), [("BL1", "fatal")], BAD, BAD),
    ("child_leads_back_up", "fragmented", loop, [("BL6", "fatal")], None, None),
    # nodes
    ("both_flags", "fragmented", node(Image.leaf, 4, 3), [("N1", "fatal")], BAD, BAD),
    ("value_size_4", "fragmented", node(Image.leaf, 24, 4), [("N2", "fatal")], BAD, BAD),
    ("room_for_255", "fragmented", node(Image.leaf, 20, 255), [("N3", "fatal")], BAD, BAD),
    ("room_for_251", "fragmented", node(Image.details, 20, 125), [("N4", "meta")], BAD, BAD),
    ("nr_entries_253", "fragmented", node(Image.leaf, 16, 253), [("N5", "fatal")], BAD, BAD),
    ("inner_without_entries", "fragmented", node(Image.inner, 16, 0), [("N6", "fatal")], None, None),
    # kernels are said to have left such nodes, and they work: damage, but not of the fatal kind
    ("TOOL_06_underfull_leaf", "fragmented", node(Image.leaf, 16, 50), [("N7", "meta"), ("SM11", "leak")], BAD, BAD),
    ("keys_swapped", "fragmented", swap_keys, [("N8", "fatal")], BAD, BAD),
    ("keys_equal", "fragmented", node(Image.leaf, key(1), keep(32), "Q"), [("N8", "fatal")], BAD, BAD),
    ("parent_key_too_high", "fragmented", node(Image.inner, key(1), keep(40, more=1), "Q"), [("N9", "fatal")], BAD, BAD),
    ("parent_key_too_low", "fragmented", node(Image.inner, key(1), key_inside_before, "Q"), [("N10", "fatal")], OK, BAD),
    ("key_too_low_in_the_first_parent", "snaps", one_parent_of_shared_leaf(0), [("N10", "fatal")], None, None),
    ("key_too_low_in_the_last_parent", "snaps", one_parent_of_shared_leaf(-1), [("N10", "fatal")], None, None),
    ("node_where_a_leaf_is_due", "fragmented", node(Image.leaf, 4, 1), [("N11", "fatal")], BAD, BAD),
    ("padding", "fragmented", node(Image.leaf, 28, 1), [("N12", "warning")], OK, OK),
    ("too_deep", "fragmented", long_chain, [("N13", "fatal")], None, None),
    # maps
    ("index_entry_missing", "fragmented", drop_last(Image.data_index), [("SM1", "fatal")], BAD, BAD),
    ("TOOL_06_stale_bytes_in_the_index", "fragmented", metadata_index_field(200, 0, 5), [("SM1", "state")], OK, OK),
    ("metadata_index_checksum", "fragmented", flip(Image.metadata_index), [("SM2", "fatal")], BAD, BAD),
    ("metadata_index_elsewhere", "fragmented", lambda image: image.put(image.metadata_index(), 8, 3, "Q", "index"), [("SM2", "fatal")],
     BAD, BAD),
    ("data_bitmap_checksum", "fragmented", flip(Image.data_bitmap), [("SM3", "fatal")], BAD, BAD),
    ("metadata_bitmap_checksum", "fragmented", flip(Image.metadata_bitmap), [("SM3", "fatal")], BAD, BAD),
    ("bitmap_elsewhere", "fragmented", lambda image: image.put(image.data_bitmap(), 8, 3, "Q", "bitmap"), [("SM3", "fatal")], BAD, OK),
    ("counted_beyond_the_end", "fragmented", lambda image: image.put_count(image.metadata_bitmap(), 16319, 1),
     [("SM4", "meta"), ("SM5", "meta")], OK, OK),
    ("nr_free", "fragmented", index_field(8, 3), [("SM5", "meta")], OK, OK),
    ("metadata_nr_free", "fragmented", metadata_index_field(0, 8, 3), [("SM5", "meta")], OK, OK),
    ("none_free_before", "fragmented", metadata_index_field(0, 12, 16320), [("SM6", "meta")], OK, OK),
    ("nr_allocated", "fragmented", sb(72, 5), [("SM7", "meta")], OK, OK),
    ("large_count_without_a_key", "fragmented", count(Image.data_bitmap, 1, 3), [("SM8", "fatal")], OK, BAD),
    ("large_count_is_small", "snaps", overflow_value, [("SM9", "fatal"), ("SM11", "fatal")], None, None),
    ("large_count_beyond_the_end", "snaps", overflow_key, [("SM10", "fatal"), ("SM8", "fatal")], None, None),
    ("TOOL_03_metadata_leak", "fragmented", count(Image.metadata_bitmap, 0, 1), [("SM11", "leak")], BAD, BAD),
    ("metadata_too_low", "fragmented", count(Image.metadata_bitmap, 1, 0), [("SM11", "fatal")], BAD, BAD),
    ("metadata_free_counted_twice", "fragmented", count(Image.metadata_bitmap, 0, 2), [("SM11", "leak")], BAD, BAD),
    ("metadata_too_high", "fragmented", count(Image.metadata_bitmap, 1, 2), [("SM11", "leak")], BAD, BAD),
    ("block_0_counted_twice", "fragmented", lambda image: image.put_count(image.metadata_bitmap(), 0, 2), [("SM11", "leak")],
     BAD, BAD),
    ("TOOL_03_data_leak", "datafull_small", count(Image.data_bitmap, 0, 1), [("SM11", "leak")], OK, BAD),
    ("data_too_low", "fragmented", count(Image.data_bitmap, 1, 0), [("SM11", "fatal")], OK, BAD),
    ("data_too_high", "fragmented", count(Image.data_bitmap, 1, 2), [("SM11", "leak")], OK, BAD),
    # devices and mappings
    ("device_without_details", "fragmented", drop_last(Image.details), [("D1", "fatal")], OK, BAD),
    ("device_without_mappings", "fragmented", drop_last(lambda image: image.sb(320)), [("D1", "fatal")], None, None),
    ("mapped_blocks", "fragmented", node(Image.details, value(0), 5, "Q"), [("D2", "meta")], OK, BAD),
    ("TOOL_10_mapped_blocks_huge", "fragmented", node(Image.details, value(0), (1 << 64) - 1, "Q"), [("D2", "meta")], None, None),
    ("device_id_beyond_the_kernel", "fragmented",
     lambda image: [image.put(leaf, 32 + 8 * (image.nr(leaf) - 1), 1 << 24) for leaf in (image.sb(320), image.details())],
     [("D3", "warning")], OK, OK),
    ("created_after_the_last_snapshot", "fragmented", node(Image.details, value(0, 16), 9), [("D4", "fatal")], OK, OK),
    ("snapshot_in_the_future", "fragmented", node(Image.details, value(0, 20), 9), [("D4", "warning")], OK, OK),
    ("transaction_in_the_future", "fragmented", node(Image.details, value(0, 8), 9999, "Q"), [("D5", "warning")], OK, OK),
    ("mapping_beyond_the_data", "fragmented", beyond_data, [("D6", "fatal")], OK, BAD),
    ("superblock_time_too_low", "snaps", sb(44, 0, "I"), [("D4", "warning"), ("D7", "fatal")], OK, OK),
    ("snapshotted_time_too_low", "snaps", snapshotted_at(0), [("D8", "fatal")], OK, OK),
    ("snapshotted_time_of_the_first_too_low", "snaps", one_snapshotted_at_0(0), [("D8", "fatal")], OK, OK),
    ("snapshotted_time_of_the_last_too_low", "snaps", one_snapshotted_at_0(-1), [("D8", "fatal")], OK, OK),
    ("shared_mapping_too_recent", "snaps", too_recent, [("D8", "fatal")], OK, OK),
    ("data_block_twice", "fragmented", same_mapping_twice, [("D8", "fatal"), ("D9", "fatal"), ("SM11", "fatal"), ("SM11", "leak")],
     OK, BAD),
    ("data_block_twice_in_a_shared_leaf", "snaps", twice_in_shared_leaf, [("D9", "warning"), ("SM11", "fatal")], OK, BAD),
    ("data_block_twice_in_shared_leaves", "snaps", twice_in_neighbours, [("D9", "warning"), ("SM11", "fatal")], OK, BAD),
    ("last_key_beyond_a_device", "fragmented",
     lambda image: (lambda leaf: image.put(leaf, 32 + 8 * (image.nr(leaf) - 1), (1 << 64) - 1))(image.leaves(image.device_roots()[-1])[-1]),
     [("D10", "warning")], None, None),
    # metadata snapshot
    ("held_root_is_no_superblock", "heldroot", held_is_other, [("H1", "fatal")], None, None),
    ("held_elsewhere", "heldroot", held(8, 1), [("H1", "fatal")], None, None),
    ("held_magic", "heldroot", held(32, 1), [("H1", "fatal")], None, None),
    ("held_has_one_itself", "heldroot", held(56, 5), [("H2", "warning")], None, None),
    ("held_block_size", "heldroot", held(336, 1280, "I"), [("H3", "fatal")], None, None),
    ("held_time", "heldroot", held(44, 77, "I"), [("H3", "fatal")], None, None),
    ("held_root_forgotten", "heldroot", sb(56, 0), [("SM11", "leak")], None, None),
    # leaks cannot be told when some of the references cannot be read
    ("TOOL_04_leak_behind_damage", "fragmented", leak_and_bad_leaf, [("BL3", "fatal"), ("SM11", "state")], BAD, BAD),
    *far_pointers(),
]


def run(command, path):
    done = subprocess.run(command + [path], stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=120)
    return done.returncode, done.stdout, done.stderr.decode(errors="replace")


def witnesses():
    """(name, column, command) of the older checkers that are here."""
    found = []
    path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    for column, name in ((4, shutil.which("thin_check", path=path)), (5, os.environ.get("THINP_THIN_CHECK_1"))):
        if name:
            said = subprocess.run([name, "--version"], capture_output=True, text=True).stdout
            if said.startswith("0.9") == (column == 4):
                found.append((f"{name} {said.split()[-1]}", column, [name, "-q"]))
    return found


def complaints(defect, path, thinp, others):
    """What is not as the table says."""
    name, _, _, wanted, *_ = defect
    status, out, err = run([thinp, "check", "--json"], path)
    if status not in (0, 1) or err:
        yield f"status {status}, {err!r}"
        return
    result = json.loads(out)
    found = {(finding["rule"], finding["severity"]) for finding in result["findings"]}
    for rule, severity in wanted:
        if (rule, severity) not in found:
            yield f"{rule} {severity} is not among {sorted(found)}"
    if not wanted and found:
        yield f"{sorted(found)} in a sound image"
    worst = {severity for _, severity in wanted} & {"fatal", "leak", "meta"}
    if worst and status == 0:
        yield "status 0"
    if not worst and status != 0 :
        yield f"status {status}, found {sorted(found)}"
    if worst == {"leak"} | worst - {"fatal"} and result["nr_fatal"]:
        yield f"fatal, but is not: {sorted(found)}"
    if name.startswith("TOOL_04") and ("SM11", "leak") in found:
        yield "a leak was told although references are hidden"
    for witness, column, command in others:
        if defect[column] and (run(command, path)[0] != 0) != (defect[column] == BAD):
            yield f"{witness} does not say {defect[column]}"


def main():
    thinp, fixtures, names = sys.argv[1], sys.argv[2], sys.argv[3:]
    others = witnesses()
    print("older checkers:", ", ".join(name for name, *_ in others) or "none")
    failures = nr = 0
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "image")
        for defect in DEFECTS:
            name, fixture, damage = defect[:3]
            if names and name not in names:
                continue
            with open(os.path.join(fixtures, f"kernel-{fixture.replace('datafull_small', 'heldroot')}.meta"), "rb") as file:
                image = Image(file.read())
            damage(image)
            with open(path, "wb") as file:
                file.write(image.data)
            nr += 1
            for complaint in complaints(defect, path, thinp, others):
                failures += 1
                print(f"{name}: {complaint}")
    print(f"{nr} defects, {failures} complaints")
    return failures != 0


if __name__ == "__main__":
    sys.exit(main())
