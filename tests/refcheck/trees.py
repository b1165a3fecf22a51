# SPDX-License-Identifier: BSD-3-Clause
"""Trees and arrays: their shape, and a reference for each pointer in each physical block.

A block is entered when it is first met. What the edges to it must know of all that is below is kept: first and last
key, depth, number of entries. So a subtree that a thousand snapshots share costs one visit, and counts once.
"""
import struct
from collections import Counter, namedtuple

MOST_DEPTH = 15
Summary = namedtuple("Summary", "first last depth nr_entries")


class Kind:
    """What a tree is. take(walker, block, keys, values): sees each leaf once; values are numbers when they have 4 or 8
    bytes, else bytes."""

    def __init__(self, name, value_size, take=None):
        self.name, self.value_size, self.take = name, value_size, take


def capacity(value_size):
    return (4096 - 32) // (8 + value_size) // 3 * 3


class Walker:
    def __init__(self, image, nr_blocks, findings):
        self.image, self.findings = image, findings
        self.nr_blocks = nr_blocks # addresses end here
        self.counts = Counter() # references to metadata blocks
        self.roles = {}
        self.nodes = {} # block -> Summary, None when it or what is below is damaged
        self.children = {} # block -> addresses, of internal nodes
        self.leaves = {} # block -> (keys, values) of leaves whose kind takes them
        self.open = set() # on the way down to where we are
        self.roots = set()
        self.small = {} # blocks that may be such only if they are roots
        self.is_complete = True # otherwise references are missing

    def error(self, subject, text):
        self.findings.add("error", subject, text)
        self.is_complete = False

    def refer(self, block, role, whose):
        """Counts a reference. True: the block can be entered, and was not before. False: it was. None: it cannot."""
        if not 0 < block < self.nr_blocks:
            self.error("address", f"{whose}: a pointer to block {block}, of {self.nr_blocks}")
            return None
        self.counts[block] += 1
        if self.roles.setdefault(block, role) != role:
            self.error("role", f"block {block} is part of {self.roles[block]}, and of {role}")
            return None
        return self.counts[block] == 1

    def block(self, number, kind, whose):
        data = self.image.block(number, kind, whose)
        if data is None:
            self.is_complete = False
        return data

    def tree(self, root, kind, whose):
        """A reference to the root of a tree. Its Summary, or None."""
        self.roots.add(root)
        return self._edge(root, kind, whose, 1)

    def _edge(self, block, kind, whose, depth):
        is_new = self.refer(block, kind.name, whose)
        if is_new is None:
            return None
        if block in self.open:
            self.error("cycle", f"{kind.name}: block {block} is below itself")
            return None
        if depth > MOST_DEPTH:
            self.error("depth", f"{kind.name}: block {block} is deeper than {MOST_DEPTH} nodes")
            return None
        if is_new:
            self.open.add(block)
            self.nodes[block] = self._node(block, kind, depth)
            self.open.remove(block)
        return self.nodes.get(block)

    def _header(self, block, kind, data):
        """(is leaf, keys, values) of a node that is sound by itself, or None."""
        flags, _, nr, most, size, padding = struct.unpack_from("<IQIIII", data, 4)
        problem = None
        if flags not in (1, 2):
            problem = f"flags {flags}"
        elif size != (kind.value_size if flags == 2 else 8):
            problem = f"values of {size} bytes"
        elif 32 + most * (8 + size) > 4096:
            problem = f"room for {most} entries"
        elif nr > most:
            problem = f"{nr} entries of {most}"
        elif flags == 1 and nr == 0:
            problem = "an internal node without children"
        if problem:
            self.error("node", f"{kind.name}: block {block}: {problem}")
            return None
        if most % 3:
            self.findings.add("count", "node", f"{kind.name}: block {block}: max_entries {most} is no multiple of 3")
        elif most != capacity(size):
            self.findings.add("warning", "node", f"{kind.name}: block {block}: max_entries {most} is unusual")
        if padding:
            self.findings.add("warning", "node", f"{kind.name}: block {block}: padding is {padding}")
        if nr < most // 3 or flags == 1 and nr == 1:
            self.small[block] = (kind.name, nr, most, flags)
        keys = struct.unpack_from(f"<{nr}Q", data, 32)
        at = 32 + 8 * most
        if size in (4, 8):
            values = struct.unpack_from(f"<{nr}{'I' if size == 4 else 'Q'}", data, at)
        else:
            values = [data[at + size * i:at + size * (i + 1)] for i in range(nr)]
        if any(a >= b for a, b in zip(keys, keys[1:])):
            self.error("keys", f"{kind.name}: block {block}: keys do not ascend")
            return None
        return flags == 2, keys, values

    def _node(self, block, kind, depth):
        data = self.block(block, "node", kind.name)
        header = data and self._header(block, kind, data)
        if not header:
            return None
        is_leaf, keys, values = header
        if is_leaf:
            if kind.take:
                self.leaves[block] = keys, values
                kind.take(self, block, keys, values)
            return Summary(keys[0] if keys else None, keys[-1] if keys else None, 1, len(keys))
        self.children[block] = values
        if len(set(values)) < len(values):
            self.error("node", f"{kind.name}: block {block} has a child twice")
        below = [self._edge(child, kind, f"{kind.name}: block {block}", depth + 1) for child in values]
        if None in below:
            return None
        return self._join(block, kind, keys, below)

    def _join(self, block, kind, keys, below):
        """Checks the edges of an internal node."""
        whose = f"{kind.name}: block {block}"
        if len({child.depth for child in below}) > 1:
            self.error("depth", f"{whose}: leaves at different depths below")
            return None
        for i, child in enumerate(below):
            if child.first is None:
                self.error("node", f"{whose}: child {i} is empty")
                return None
            if child.first < keys[i]:
                self.error("keys", f"{whose}: child {i} begins with {child.first}, before its key {keys[i]}")
            if i + 1 < len(keys) and child.last >= keys[i + 1]:
                self.error("keys", f"{whose}: child {i} ends with {child.last}, the next one is for {keys[i + 1]}")
        return Summary(below[0].first, below[-1].last, below[0].depth + 1, sum(child.nr_entries for child in below))

    def entries(self, root):
        """(key, value) of a tree that has been walked; only of kinds that take their leaves."""
        todo = [root]
        while todo:
            block = todo.pop()
            if block in self.leaves:
                yield from zip(*self.leaves[block])
            else:
                todo += reversed(self.children.get(block, ()))

    def report_small(self):
        """Nodes with few entries, once all roots are known."""
        for block, (name, nr, most, flags) in sorted(self.small.items()):
            if block in self.roots:
                if flags == 1 and nr == 1:
                    self.findings.add("warning", "occupancy", f"{name}: root {block} has one child")
            elif nr < most // 3:
                self.findings.add("warning", "occupancy", f"{name}: block {block} has {nr} entries of {most}")

    # --- arrays ---

    def array(self, root, name, value_size, whose):
        """A reference to the root of an array. The number of values, or None."""
        def take(walker, block, _, addresses):
            for address in addresses:
                if walker.refer(address, f"blocks of {name}", f"{name}: block {block}"):
                    walker.array_blocks[address] = walker._array_block(address, name, value_size)

        self.array_blocks = getattr(self, "array_blocks", {})
        if self.tree(root, Kind(f"tree of {name}", 8, take), whose) is None:
            return None
        nr_values, last = 0, None
        most = (4096 - 24) // value_size
        for place, (number, address) in enumerate(self.entries(root)):
            nr = self.array_blocks.get(address)
            if nr is None:
                return None
            if number != place or last not in (None, most):
                self.error("array", f"{name}: block {address} is not where it should be, or the one before is not full")
                return None
            nr_values, last = nr_values + nr, nr
        return nr_values

    def _array_block(self, block, name, value_size):
        data = self.block(block, "array block", name)
        if data is None:
            return None
        most, nr, size = struct.unpack_from("<III", data, 4)
        if size != value_size or most != (4096 - 24) // size or nr > most:
            self.error("array", f"{name}: block {block}: {nr} values of {size} bytes, of {most}")
            return None
        return nr
