# SPDX-License-Identifier: BSD-3-Clause
"""Thin pools, and the metadata of dm-cache and dm-era: what their superblocks refer to."""
import struct
from collections import Counter

from image import BLOCK
from maps import Map, unpack_root
from trees import Kind, Walker

SUPERBLOCKS = {27022010: "thin superblock", 1623043: "cache superblock", 2126579579: "era superblock"}
MOST_TIME = (1 << 24) - 1


def _u32(data, at):
    return struct.unpack_from("<I", data, at)[0]


def _u64(data, at):
    return struct.unpack_from("<Q", data, at)[0]


def check(image, findings):
    """Checks everything in an image. What shape a thin pool has, if it could be found out, or None."""
    if image.nr_blocks == 0 or not any(image.data[:BLOCK]):
        findings.add("error", "superblock", "the image was never formatted")
        return None
    kind = SUPERBLOCKS.get(_u64(image.data, 32))
    if kind is None:
        findings.add("error", "superblock", f"magic number {_u64(image.data, 32)}")
        return None
    data = image.block(0, kind, "superblock")
    if data is None:
        return None
    root = unpack_root(data, {"thin superblock": 192, "cache superblock": 64, "era superblock": 44}[kind])
    if root.nr_blocks > image.nr_blocks:
        findings.add("warning", "superblock", f"the image has {image.nr_blocks} blocks of {root.nr_blocks}")
    walker = Walker(image, root.nr_blocks, findings)
    walker.counts[0] = 1
    walker.roles[0] = "superblock"
    metadata = Map(walker, "metadata", root, True)
    parts = {"thin superblock": check_thin, "cache superblock": check_cache, "era superblock": check_era}[kind](walker, data)
    walker.report_small()
    metadata.compare(walker.counts)
    return parts and shape_of(metadata, *parts)


def shape_of(metadata, data_map, mappings, held):
    """Figures about a thin pool."""
    depths = [summary.depth for summary in mappings.devices.values() if summary]
    return {"devices": mappings.nr_live, "depth": max(depths, default=0), "held": int(held != 0),
            **{f"{each.name}_{name}": figure for each in (data_map, metadata)
               for name, figure in (("bitmaps", each.nr_in_use()), ("count", each.largest()))}}


class Mappings:
    """The trees of a thin pool, live and held. Leaves that several share are met once."""

    def __init__(self, walker, nr_data):
        self.walker, self.nr_data = walker, nr_data
        self.references = Counter() # to data blocks
        self.newest = {} # leaf -> largest time in it
        self.bottom = Kind("mappings", 8, self._take_mappings)
        self.top = Kind("top level", 8, self._take_roots)
        self.details = Kind("details", 24, lambda *_: None)
        self.devices = {} # root -> Summary
        self.nr_live = 0 # devices that the superblock knows

    def _take_roots(self, walker, block, _, roots):
        for root in roots:
            self.devices[root] = walker.tree(root, self.bottom, f"top level: block {block}")

    def _take_mappings(self, walker, block, keys, values):
        blocks = [value >> 24 for value in values]
        self.references.update(blocks)
        self.newest[block] = max((value & MOST_TIME for value in values), default=0)
        if blocks and max(blocks) >= self.nr_data:
            bad = next(i for i, number in enumerate(blocks) if number >= self.nr_data)
            walker.findings.add("error", "mapping", f"leaf {block}: {keys[bad]} is mapped to data block {blocks[bad]}, of "
                                f"{self.nr_data}")
        del walker.leaves[block] # not needed any more, and large

    def walk(self, name, mapping_root, details_root, time):
        """Walks the two trees of a superblock, and compares them."""
        walker, findings = self.walker, self.walker.findings
        top = walker.tree(mapping_root, self.top, name)
        details = walker.tree(details_root, self.details, name)
        if top is None or details is None:
            return
        roots = dict(walker.entries(mapping_root))
        records = dict(walker.entries(details_root))
        for device in sorted(roots.keys() ^ records.keys()):
            findings.add("error", "devices", f"{name}: device {device} is only in the "
                         f"{'top level' if device in roots else 'details'}")
        for device in sorted(roots.keys() & records.keys()):
            self._device(f"{name}: device {device}", records[device], self.devices.get(roots[device]), time)

    def _device(self, name, record, summary, time):
        findings = self.walker.findings
        mapped, _, created, snapped = struct.unpack("<QQII", record)
        if summary is not None and mapped != summary.nr_entries:
            findings.add("count", "details", f"{name}: mapped_blocks is {mapped}, it has {summary.nr_entries} mappings")
        if created > snapped:
            findings.add("error", "details", f"{name}: creation_time {created}, snapshotted_time {snapped}")
        if snapped > time:
            findings.add("warning", "details", f"{name}: snapshotted_time {snapped}, the pool's time is {time}")


def check_thin(walker, data):
    findings = walker.findings
    time, held = _u32(data, 44), _u64(data, 56)
    _thin_fields(findings, data)
    data_map = Map(walker, "data", unpack_root(data, 64), False)
    mappings = Mappings(walker, data_map.root.nr_blocks)
    mappings.walk("superblock", _u64(data, 320), _u64(data, 328), time)
    mappings.nr_live = sum(1 for _ in walker.entries(_u64(data, 328)))
    if held:
        _held(walker, mappings, held, data)
    for leaf, newest in mappings.newest.items():
        if newest > time:
            findings.add("warning", "mapping", f"leaf {leaf}: time {newest}, the pool's time is {time}")
    data_map.compare(mappings.references)
    return data_map, mappings, held


def _thin_fields(findings, data):
    def rule(holds, level, text):
        if not holds:
            findings.add(level, "superblock", text)

    flags, version, time = _u32(data, 4), _u32(data, 40), _u32(data, 44)
    sectors, _, nr_metadata, compat, compat_ro, incompat = struct.unpack_from("<IIQIII", data, 336)
    rule(_u32(data, 340) == 8, "error", f"metadata blocks of {_u32(data, 340)} sectors")
    rule(sectors % 128 == 0 and 128 <= sectors <= 1 << 21, "error", f"data blocks of {sectors} sectors")
    rule(time <= MOST_TIME, "error", f"time {time}")
    rule(not compat_ro and not incompat, "error", f"feature flags {compat_ro} and {incompat}")
    rule(not compat, "warning", f"compat flags {compat}")
    rule(version in (1, 2), "warning", f"version {version}")
    rule(flags & ~1 == 0, "warning", f"flags {flags}")
    rule(not flags & 1, "note", "needs_check is set")
    rule(nr_metadata <= _u64(data, 192), "warning", f"formatted with {nr_metadata} blocks, the map has fewer")
    rule(not any(data[16:32] + data[96:192] + data[224:320] + data[364:]), "warning", "bytes without a meaning are not 0")


def _held(walker, mappings, held, live):
    findings = walker.findings
    findings.add("note", "superblock", f"a metadata snapshot is held in block {held}")
    if not walker.refer(held, "metadata snapshot", "superblock"):
        return
    data = walker.block(held, "thin superblock", "metadata snapshot")
    if data is None:
        return
    if _u64(data, 32) != _u64(live, 32) or _u32(data, 336) != _u32(live, 336) or _u32(data, 44) > _u32(live, 44):
        findings.add("error", "metadata snapshot", "magic number, data block size or time do not fit the superblock")
    if _u64(data, 56) or any(data[64:320]):
        findings.add("warning", "metadata snapshot", "holds space maps, or a snapshot of its own")
    mappings.walk("metadata snapshot", _u64(data, 320), _u64(data, 328), _u32(data, 44))


def _expect(walker, name, found, wanted):
    if found is not None and found != wanted:
        walker.error("array", f"{name} has {found} values, {wanted} were expected")


def _words(nr_bits):
    return -(-nr_bits // 64)


def check_cache(walker, data):
    version, nr_blocks = _u32(data, 40), _u32(data, 240)
    hint_size = _u32(data, 60)
    _expect(walker, "mappings", walker.array(_u64(data, 192), "mappings", 8, "superblock"), nr_blocks)
    if _u64(data, 200):
        _expect(walker, "hints", walker.array(_u64(data, 200), "hints", hint_size or 4, "superblock"), nr_blocks)
    if _u64(data, 208):
        _expect(walker, "discards", walker.array(_u64(data, 208), "discards", 8, "superblock"), _words(_u64(data, 224)))
    if version >= 2 and _u64(data, 284):
        _expect(walker, "dirty bits", walker.array(_u64(data, 284), "dirty bits", 8, "superblock"), _words(nr_blocks))


def _era_roots(walker, data, name, nr_blocks):
    def take(_, block, __, values):
        for value in values:
            nr_bits, root = struct.unpack("<IQ", value)
            _expect(walker, "writeset", walker.array(root, "writesets", 8, f"writeset tree: block {block}"),
                    _words(nr_bits))

    walker.tree(_u64(data, 200), Kind("writeset tree", 12, take), name)
    _expect(walker, "eras", walker.array(_u64(data, 208), "eras", 4, name), nr_blocks)


def check_era(walker, data):
    if _u64(data, 192):
        _expect(walker, "writeset", walker.array(_u64(data, 192), "writesets", 8, "superblock"), _words(_u32(data, 188)))
    _era_roots(walker, data, "superblock", _u32(data, 180))
    if _u64(data, 216) and walker.refer(_u64(data, 216), "metadata snapshot", "superblock"):
        copy = walker.block(_u64(data, 216), "era superblock", "metadata snapshot")
        if copy is not None:
            _era_roots(walker, copy, "metadata snapshot", _u32(copy, 180))
