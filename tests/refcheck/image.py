# SPDX-License-Identifier: BSD-3-Clause
"""Blocks of an image: checksums of all of them at once, and what was found wrong."""
import struct
from collections import Counter

BLOCK = 4096
KINDS = {"thin superblock": 160774, "node": 121107, "index": 160478, "bitmap": 240779, "array block": 595846735,
         "cache superblock": 9031977, "era superblock": 146538381}
AT_ONCE = 4096 # blocks whose checksums are made together
MOST_LINES = 100 # of one subject


def _table():
    table = []
    for byte in range(256):
        for _ in range(8):
            byte = byte >> 1 ^ (0x82F63B78 if byte & 1 else 0)
        table.append(byte)
    return table


# The table of CRC-32C, a plane for each byte of its entries: what bytes.translate() takes.
_PLANES = [bytes(entry >> 8 * plane & 0xFF for entry in _table()) for plane in range(4)]


def crcs(data):
    """CRC-32C (not inverted at the end) of bytes 4.. of each block. All blocks go through the table together: byte n of
    each of them is one long number, so that Python does not work on single bytes."""
    nr = len(data) // BLOCK

    def number(text):
        return int.from_bytes(text, "little")

    state = [number(b"\xff" * nr)] * 4 # byte 0, 1, 2, 3 of each register
    for offset in range(4, BLOCK):
        at = (state[0] ^ number(data[offset::BLOCK])).to_bytes(nr, "little")
        planes = [number(at.translate(plane)) for plane in _PLANES]
        state = [state[1] ^ planes[0], state[2] ^ planes[1], state[3] ^ planes[2], planes[3]]
    return [number(reg) for reg in zip(*(plane.to_bytes(nr, "little") for plane in state))]


_ZEROS = bytes(BLOCK)
_ZEROS_CRC, = crcs(_ZEROS)


class Findings:
    """What was found, a line each. Only warnings and notes leave the image clean."""
    LEVELS = ("error", "leak", "count", "warning", "note")

    def __init__(self):
        self.lines = []
        self.numbers = Counter()
        self.subjects = Counter()

    def add(self, level, subject, text):
        """level: one of LEVELS; subject: what is counted together."""
        assert level in self.LEVELS
        self.numbers[level] += 1
        self.subjects[level, subject] += 1
        if self.subjects[level, subject] <= MOST_LINES:
            self.lines.append(f"{level}: {subject}: {text}")

    def finish(self):
        for (level, subject), number in self.subjects.items():
            if number > MOST_LINES:
                self.lines.append(f"{level}: {subject}: and {number - MOST_LINES} more")

    def is_clean(self):
        return not (self.numbers["error"] or self.numbers["leak"] or self.numbers["count"])


class Image:
    def __init__(self, data, findings):
        self.data = data
        self.nr_blocks = len(data) // BLOCK
        self.findings = findings
        self._crcs = {}

    def crc(self, number):
        first = number - number % AT_ONCE
        if first not in self._crcs:
            self._crcs[first] = self._make_crcs(first, min(first + AT_ONCE, self.nr_blocks))
        return self._crcs[first].get(number, _ZEROS_CRC)

    def _make_crcs(self, first, end):
        """Of blocks that are not all zeros."""
        blocks = {i: self.data[i * BLOCK:(i + 1) * BLOCK] for i in range(first, end)}
        used = [i for i in blocks if blocks[i] != _ZEROS]
        return dict(zip(used, crcs(b"".join(blocks[i] for i in used))))

    def kind_of(self, number):
        """The kind that the checksum stands for, or None."""
        constant = struct.unpack_from("<I", self.data, number * BLOCK)[0] ^ self.crc(number)
        return next((kind for kind, xor in KINDS.items() if xor == constant), None)

    def block(self, number, kind, whose):
        """The bytes of a sound block, or None: that was reported."""
        if number >= self.nr_blocks:
            self.findings.add("error", "address", f"{whose}: block {number} lies behind the end of the image")
            return None
        found = self.kind_of(number)
        if found != kind:
            self.findings.add("error", "checksum", f"{whose}: block {number} is "
                              f"{'a sound ' + found if found else 'damaged'}, a {kind} was expected")
            return None
        data = self.data[number * BLOCK:(number + 1) * BLOCK]
        own = struct.unpack_from("<Q", data, 16 if kind == "array block" else 8)[0]
        if own != number:
            self.findings.add("error", "own address", f"{whose}: block {number} says that it is block {own}")
            return None
        return data


def runs(triples):
    """(block, wanted, found), ascending -> (first, last, wanted, found), neighbours merged."""
    run = None
    for block, wanted, found in triples:
        if run and (block, wanted, found) == (run[1] + 1, run[2], run[3]):
            run[1] = block
        else:
            if run:
                yield tuple(run)
            run = [block, block, wanted, found]
    if run:
        yield tuple(run)
