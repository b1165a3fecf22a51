# SPDX-License-Identifier: BSD-3-Clause
"""Space maps: walked like anything else, then compared with the references that were counted."""
import struct
from collections import defaultdict, namedtuple

from image import runs
from trees import Kind

ENTRIES = 16320
MOST_METADATA = 255 * ENTRIES
MOST_DATA = 1 << 40

Root = namedtuple("Root", "nr_blocks nr_allocated bitmap_root overflow_root")
Entry = namedtuple("Entry", "number bitmap nr_free none_free_before")

# Two bits each, the lower one being the high bit of the count.
_COUNTS = [bytes((byte >> 2 * i & 1) * 2 + (byte >> 2 * i + 1 & 1) for i in range(4)) for byte in range(256)]
_COUNTS_MOST = [max(counts) for counts in _COUNTS]


def unpack_root(data, offset):
    return Root(*struct.unpack_from("<QQQQ", data, offset))


class Map:
    """A space map. Made: all of its blocks are walked, and counted as references in the walker."""

    def __init__(self, walker, name, root, is_metadata):
        self.walker, self.findings = walker, walker.findings
        self.name, self.root, self.is_metadata = name, root, is_metadata
        self.nr_bitmaps = -(-root.nr_blocks // ENTRIES)
        self.entries, self.bitmaps, self.overflow = [], {}, {}
        self.is_sound = self._limits(is_metadata)
        if not self.is_sound:
            walker.is_complete = False
            return
        entries = self._index_block() if is_metadata else self._index_tree()
        self.is_sound = entries is not None and self._numbers(entries)
        self._walk_overflow()

    def error(self, text):
        self.findings.add("error", f"{self.name} map", text)

    def count(self, text):
        self.findings.add("count", f"{self.name} map", text)

    def _limits(self, is_metadata):
        if self.root.nr_blocks > (MOST_METADATA if is_metadata else MOST_DATA) or is_metadata and not self.root.nr_blocks:
            self.error(f"{self.root.nr_blocks} blocks")
            return False
        return True

    def _index_block(self):
        role = f"index of the {self.name} map"
        if not self.walker.refer(self.root.bitmap_root, role, "superblock"):
            self.error("no index block of its own")
            return None
        data = self.walker.block(self.root.bitmap_root, "index", role)
        if data is None:
            return None
        raw = [struct.unpack_from("<QII", data, 16 + 16 * i) for i in range(255)]
        if any(any(entry) for entry in raw[self.nr_bitmaps:]):
            self.findings.add("warning", f"{self.name} map", "index entries behind the end are in use")
        return [Entry(i, *entry) for i, entry in enumerate(raw[:self.nr_bitmaps])]

    def _index_tree(self):
        kind = Kind(f"index tree of the {self.name} map", 16, lambda *_: None)
        if self.walker.tree(self.root.bitmap_root, kind, "superblock") is None:
            return None
        return [Entry(key, *struct.unpack("<QII", value)) for key, value in self.walker.entries(self.root.bitmap_root)]

    def _numbers(self, entries):
        """Takes the bitmaps; tells whether they are all there."""
        numbers = [entry.number for entry in entries]
        if numbers != list(range(self.nr_bitmaps)):
            self.error(f"{len(numbers)} index entries, numbers {numbers[:1]}..{numbers[-1:]}; "
                       f"{self.nr_bitmaps} from 0 were expected")
            self.walker.is_complete = False
            return False
        self.entries = entries
        for entry in entries:
            role = f"bitmaps of the {self.name} map"
            is_new = self.walker.refer(entry.bitmap, role, role)
            if is_new is False:
                self.error(f"two entries have bitmap block {entry.bitmap}")
            if is_new:
                data = self.walker.block(entry.bitmap, "bitmap", role)
                if data is not None:
                    self.bitmaps[entry.number] = data[16:]
        return len(self.bitmaps) == len(entries)

    def _walk_overflow(self):
        kind = Kind(f"overflow tree of the {self.name} map", 4, lambda *_: None)
        if self.walker.tree(self.root.overflow_root, kind, "superblock") is None:
            self.is_sound = False
            return
        self.overflow = dict(self.walker.entries(self.root.overflow_root))
        for block, value in self.overflow.items():
            if block >= self.root.nr_blocks:
                self.error(f"the overflow tree has block {block}, of {self.root.nr_blocks}")
            if value < 3:
                self.error(f"the overflow tree has count {value} for block {block}")

    def nr_in_use(self):
        """Bitmaps with a count that is not 0."""
        return sum(1 for bits in self.bitmaps.values() if any(bits))

    def largest(self):
        """The largest count there is."""
        pairs = max((_COUNTS_MOST[byte] for bits in self.bitmaps.values() for byte in set(bits)), default=0)
        return max(self.overflow.values(), default=pairs)

    def compare(self, expected):
        """Compares each count with the references found; reports what the index and the root say wrongly."""
        if not self.is_sound:
            self.error("counts cannot be compared: the map is damaged")
            return
        by_bitmap = defaultdict(list)
        for block in expected:
            by_bitmap[block // ENTRIES].append(block)
        nr_allocated = 0
        wrong, hidden = [], []
        for entry in self.entries:
            counts = b"".join([_COUNTS[byte] for byte in self.bitmaps[entry.number]])
            base = entry.number * ENTRIES
            nr_here = min(ENTRIES, self.root.nr_blocks - base)
            hidden += self._hints(entry, counts, nr_here)
            nr_allocated += nr_here - counts.count(0, 0, nr_here)
            wrong += self._compare_bitmap(base, counts, nr_here, by_bitmap[entry.number], expected)
        self._tell_hidden(hidden, nr_allocated, any(found < wanted for _, wanted, found in wrong))
        self._report(wrong)

    def _hints(self, entry, counts, nr_here):
        """What is wrong in the index entry. Yields texts about free blocks that it hides: whether that is a habit of restore 0.9
        (docs/format.md, 4.3), which is a warning, is seen when all bitmaps have been."""
        nr_zero, nr_zero_here, first = counts.count(0), counts.count(0, 0, nr_here), counts.find(0)
        habit = entry.nr_free == nr_zero_here
        one = self.is_metadata and not habit and entry.nr_free + 1 in (nr_zero, nr_zero_here)
        if entry.nr_free != nr_zero:
            text = f"bitmap {entry.number}: nr_free is {entry.nr_free}, {nr_zero} entries are 0"
            if one:
                yield text
            else:
                self.findings.add("warning" if habit else "count", f"{self.name} map", text)
        if entry.none_free_before > (first if first >= 0 else ENTRIES):
            text = f"bitmap {entry.number}: none_free_before is {entry.none_free_before}, entry {first} is 0"
            if one and counts.count(0, 0, entry.none_free_before) == 1:
                yield text
            else:
                self.count(text)
        if any(counts[nr_here:]):
            self.count(f"bitmap {entry.number}: entries behind the end of the map are not 0")

    def _tell_hidden(self, hidden, nr_allocated, is_low):
        """One free block that root and index hide alike is a warning; everything else, and if counts are too low, is not."""
        is_habit = sum("nr_free" in text for text in hidden) == 1 and nr_allocated + 1 == self.root.nr_allocated and not is_low
        if nr_allocated != self.root.nr_allocated:
            hidden.append(f"nr_allocated is {self.root.nr_allocated}, {nr_allocated} blocks have a count")
        for text in hidden:
            self.findings.add("warning" if is_habit else "count", f"{self.name} map", text)

    def _compare_bitmap(self, base, counts, nr_here, blocks, expected):
        """(block, references, count) of all that differ, ascending; what disagrees with the overflow tree is reported."""
        wanted = bytearray(nr_here)
        for block in blocks:
            wanted[block - base] = min(expected[block], 3)
        differ = {i for i in range(nr_here) if wanted[i] != counts[i]} if wanted != counts[:nr_here] else set()
        at = counts.find(3)
        while 0 <= at < nr_here:
            differ.add(at)
            at = counts.find(3, at + 1)
        result = []
        for i in sorted(differ):
            block, count = base + i, counts[i]
            if count == 3:
                if block not in self.overflow:
                    self.error(f"block {block} is marked 3, and is not in the overflow tree")
                    continue
                count = self.overflow[block]
            elif block in self.overflow:
                continue # reported below
            if count != expected[block]:
                result.append((block, expected[block], count))
        for block in self._overflow_within(base, nr_here):
            if counts[block - base] != 3:
                self.error(f"block {block} is in the overflow tree with {self.overflow[block]}, and marked "
                           f"{counts[block - base]}; {expected[block]} references")
        return result

    def _overflow_within(self, base, nr):
        if not hasattr(self, "_overflow_by_bitmap"):
            self._overflow_by_bitmap = defaultdict(list)
            for block in sorted(self.overflow):
                self._overflow_by_bitmap[block // ENTRIES].append(block)
        return [block for block in self._overflow_by_bitmap[base // ENTRIES] if block < base + nr]

    def _report(self, wrong):
        too_high = 0
        for first, last, wanted, found in runs(wrong):
            what = f"block {first}" if first == last else f"blocks {first}..{last} ({last - first + 1})"
            if found < wanted:
                self.error(f"{what}: count {found}, {wanted} references")
            elif self.walker.is_complete:
                self.findings.add("leak", f"{self.name} map", f"{what}: count {found}, {wanted} references")
            else:
                too_high += last - first + 1
        if too_high:
            self.findings.add("note", f"{self.name} map", f"{too_high} blocks with counts above the references found; "
                              "not all references could be found")
