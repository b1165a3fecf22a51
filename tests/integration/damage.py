# SPDX-License-Identifier: BSD-3-Clause
"""Metadata that can be changed field by field, with checksums made right again, and ways to damage it."""
import os
import struct
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "witness"))
import metadata  # noqa: E402

BLOCK = 4096


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

    def held_device_roots(self):
        return [self.child(leaf, i) for leaf in self.leaves(self.get(self.sb(56), 320)) for i in range(self.nr(leaf))]

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
    swap(image, image.leaf(), 0)


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
        at = 16 + 16 * i + more
        now = image.get(image.metadata_index(), at, form)
        image.put(image.metadata_index(), at, value(now) if callable(value) else value, form, "index")
    return damage


def without_tail(image):
    """nr_free of the last data bitmap leaves out what is behind the end, as restore 0.9 has it."""
    last = image.nr(image.data_index()) - 1
    at = image.value_at(image.data_index(), last) + 8
    tail = (last + 1) * 16320 - image.sb(64)
    image.put(image.data_index(), at, image.get(image.data_index(), at, "I") - tail, "I")


def one_block_hidden(image):
    """The first free block of the metadata is counted as one in use wherever counts are summed up, as restore 0.9 has it."""
    at = 16 + 8
    bitmap = image.metadata_bitmap()
    second = [entry for entry in range(min(image.sb(192), 16320)) if image.count(bitmap, entry) == 0][1]
    image.put(image.metadata_index(), at, image.get(image.metadata_index(), at, "I") - 1, "I", "index")
    image.put(image.metadata_index(), at + 4, second, "I", "index")
    image.put_sb(200, image.sb(200) + 1)


def two_blocks_hidden(image):
    one_block_hidden(image)
    image.put(image.metadata_index(), 28, image.get(image.metadata_index(), 28, "I") + 1, "I", "index")


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


def overflow_leaf(image):
    return image.leaves(image.sb(88))[0]


def remove_entry(where, i, value_size):
    """Takes an entry out of a leaf, in order."""
    def damage(image):
        block = where(image)
        nr, keys, values = image.nr(block), block * BLOCK + 32, block * BLOCK + image.value_at(block, 0)
        data = image.data
        data[keys + 8 * i:keys + 8 * (nr - 1)] = data[keys + 8 * (i + 1):keys + 8 * nr]
        data[values + value_size * i:values + value_size * (nr - 1)] = data[values + value_size * (i + 1):values + value_size * nr]
        image.put(block, 16, nr - 1, "I")
    return damage


def add_index_entry(image):
    """The index of the data map names a bitmap once more, as one that no block needs."""
    block = image.data_index()
    nr = image.nr(block)
    image.put(block, 32 + 8 * nr, nr, "Q", None)
    image.put(block, image.value_at(block, nr), image.data_bitmap(), "Q", None)
    image.put(block, 16, nr + 1, "I")


def upper():
    """Nodes of a tree of three levels: the root, its first child, and that one's last child."""
    def find(image):
        return next(root for root in image.device_roots()
                    if not image.is_leaf(root) and not image.is_leaf(image.child(root, 0)))
    return find


TOP = upper()


def middle(image):
    return image.child(TOP(image), 0)


def last_below_middle(image):
    return image.child(middle(image), image.nr(middle(image)) - 1)


def last_key(beyond):
    """The last key of a leaf is as large as what the parent's own parent says of the next child."""
    def damage(image):
        leaf = last_below_middle(image)
        image.put(leaf, 32 + 8 * (image.nr(leaf) - 1), image.get(TOP(image), 32 + 8) + beyond)
    return damage


def only_held(image):
    """A leaf of mappings that the metadata snapshot alone reaches."""
    live = {leaf for root in image.device_roots() for leaf in image.leaves(root)}
    return next(leaf for root in image.held_device_roots() for leaf in image.leaves(root) if leaf not in live)


def snap_of_now(image):
    """The metadata snapshot has the trees of the last commit, as one that was just made, and these have a damaged leaf."""
    for offset in (320, 328):
        image.put(image.sb(56), offset, image.sb(offset), "Q", "superblock")
    flip(lambda _: image.leaves(image.device_roots()[0])[0])(image)


def held_details(image):
    return image.leaves(image.get(image.sb(56), 328))[0]


def held_top(image):
    return image.leaves(image.get(image.sb(56), 320))[0]


def counted(which, change):
    """The count of a block of the metadata is another one."""
    def damage(image):
        block = which(image)
        image.put_count(image.metadata_bitmap(), block, image.count(image.metadata_bitmap(), block) + change)
    return damage


def held_mapping_root(image):
    return image.get(image.sb(56), 320)


def shared_alone(image):
    """A data block in two leaves that no two devices share: its new mapping is later than the last snapshot."""
    first, last = image.leaf(), image.leaves(image.device_roots()[-1])[0]
    if first == last:
        raise LookupError("only one leaf")
    image.put(last, image.value_at(last, 0), image.get(first, image.value_at(first, 0)))


def swap(image, block, i):
    first, second = image.get(block, 32 + 8 * i), image.get(block, 40 + 8 * i)
    image.put(block, 32 + 8 * i, second)
    image.put(block, 40 + 8 * i, first)


def small(image, count):
    """A block whose count is in the overflow tree has a small one in its bitmap."""
    image.put_count(image.data_bitmap(), image.get(overflow_leaf(image), 32), count)


def shared_leaf(image):
    """Of two trees, and no more."""
    return next(leaf for root in image.device_roots() for leaf in image.leaves(root)
                if image.count(image.metadata_bitmap(), leaf) == 2)


def keep_value(more):
    return lambda image, block: image.get(block, image.value_at(block, 0), "I") + more


def above_3(image, block):
    return next(at for at in range(image.value_at(block, 0), BLOCK, 4) if image.get(block, at, "I") > 3)


def value_above_3(image, block):
    return above_3(image, block)


def keep_above_3(image, block):
    return image.get(block, above_3(image, block), "I") - 1


def keep_entry(more):
    return lambda image, block: image.get(block, image.value_at(block, 0)) + more


def created_and_snapshotted(time):
    def damage(image):
        leaf = image.details()
        image.put(leaf, image.value_at(leaf, 0) + 16, time, "I")
        image.put(leaf, image.value_at(leaf, 0) + 20, time, "I")
    return damage


def twice_in_held(image):
    leaf = only_held(image)
    image.put(leaf, image.value_at(leaf, 0), image.get(leaf, image.value_at(leaf, 1)))
