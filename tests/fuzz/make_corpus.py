#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Writes the inputs of corpus/ that were made by hand: sound ones, and one for each reason to refuse.

Inputs with a hash for a name were found by the fuzzer and are left alone. An input that ends early is filled up with
zeros by its target, so zeros at the end are cut off.
"""
import os
import struct

BLOCK_SIZE = 4096
SUPERBLOCK, NODE, INDEX, BITMAP, ARRAY = 160774, 121107, 160478, 240779, 595846735
CACHE_SUPERBLOCK, ERA_SUPERBLOCK, STORE_SUPERBLOCK = 9031977, 146538381, 1869771892
INTERNAL, LEAF = 1, 2
U32, U64 = 2**32 - 1, 2**64 - 1


def crc32c_table():
    table = []
    for reg in range(256):
        for _ in range(8):
            reg = reg >> 1 ^ (0x82F63B78 if reg & 1 else 0)
        table.append(reg)
    return table


TABLE = crc32c_table()


def sealed(body, csum_xor):
    """The block with its checksum; the body begins behind it."""
    body = body.ljust(BLOCK_SIZE - 4, b"\0")
    reg = U32
    for byte in body:
        reg = TABLE[(reg ^ byte) & 0xFF] ^ reg >> 8
    return struct.pack("<I", reg ^ csum_xor) + body


# --- bodies: blocks without their checksum ---

def superblock(block=0, magic=27022010, time=1, held_root=0, data=(1024, 150, 34, 5), metadata=(1024, 11, 35, 2),
               mapping_root=31, details_root=33, metadata_block_size=8, flags=0, features=(0, 0, 0), tail=b""):
    return (struct.pack("<IQ16xQIIQQ", flags, block, magic, 2, time, 0, held_root) +
            struct.pack("<4Q", *data) + tail.ljust(96, b"\0") + struct.pack("<4Q", *metadata) + bytes(96) +
            struct.pack("<QQIIQ3I", mapping_root, details_root, 128, metadata_block_size, 1024, *features))


def capacity(value_size):
    return (BLOCK_SIZE - 32) // (8 + value_size) // 3 * 3


def node(keys=(), values=(), flags=LEAF, block=12, value_size=8, nr_entries=None, max_entries=None, padding=0):
    nr_entries = len(keys) if nr_entries is None else nr_entries
    max_entries = capacity(value_size) if max_entries is None else max_entries
    header = struct.pack("<IQIIII", flags, block, nr_entries, max_entries, value_size, padding)
    return (header + b"".join(struct.pack("<Q", key) for key in keys).ljust(8 * min(max_entries, 508), b"\0") +
            b"".join(value.to_bytes(value_size, "little") for value in values))[:BLOCK_SIZE - 4]


def index_entry(bitmap=29, nr_free=16170, none_free_before=150):
    return struct.pack("<QII", bitmap, nr_free, none_free_before)


def index(*entries, block=35):
    return struct.pack("<IQ", 0, block) + b"".join(entries)


def bitmap(payload, block=30):
    return struct.pack("<IQ", 0, block) + bytes(payload)


def array_block(nr_entries=3, max_entries=509, value_size=8, block=12, values=b"\1\2\3"):
    return struct.pack("<IIIQ", max_entries, nr_entries, value_size, block) + values


def sm_root(nr_blocks=1024, nr_allocated=150, bitmap_root=34, ref_count_root=5, entry=index_entry(),
            metadata_blocks=1024):
    """Input of fuzz_sm_root: a root, an index entry, and the size of the metadata."""
    root = struct.pack("<4Q", nr_blocks, nr_allocated, bitmap_root, ref_count_root)
    return root + entry + struct.pack("<Q", metadata_blocks)


# --- the corpora ---

def of_any_block(body, csum_xor):
    """What can be wrong with a block of any kind before its own rules come into play."""
    others = {"superblock": SUPERBLOCK, "node": NODE, "index": INDEX, "bitmap": BITMAP, "array-block": ARRAY,
              "cache-superblock": CACHE_SUPERBLOCK, "era-superblock": ERA_SUPERBLOCK, "store-superblock": STORE_SUPERBLOCK}
    inputs = {f"refused-holds-{name}": sealed(body, other) for name, other in others.items() if other != csum_xor}
    inputs["refused-checksum"] = b"\xef\xbe\xad\xde" + body
    inputs["refused-zeros"] = b""
    return inputs


def sealed_all(bodies, csum_xor):
    return {name: sealed(body, csum_xor) for name, body in bodies.items()}


def superblocks():
    roots = {"mapping-root": "mapping_root", "details-root": "details_root", "held-root": "held_root"}
    bodies = {
        "sound": superblock(),
        "sound-empty": superblock(time=0, data=(1024, 0, 10, 5), metadata=(1024, 9, 11, 2), mapping_root=6,
                                  details_root=7),
        "sound-with-snapshot": superblock(held_root=49, flags=1),
        "sound-snapshot": superblock(block=49, data=(0,) * 4),
        "sound-features": superblock(features=(1, 2, 4), tail=b"\xff" * 96),
        "sound-greatest": superblock(time=2**24 - 1, data=(2**40, U64, 34, 5), metadata=(4161600, 0, 4161599, 2)),
        "refused-magic": superblock(magic=27022011),
        "refused-block-size": superblock(metadata_block_size=16),
        "refused-time": superblock(time=2**24),
        "refused-metadata-size": superblock(metadata=(4161601, 11, 35, 2)),
        "refused-data-size": superblock(data=(2**40 + 1, 150, 34, 5)),
        "refused-data-index-range": superblock(data=(1024, 150, 1024, 5)),
        "refused-data-overflow-none": superblock(data=(1024, 150, 34, 0)),
        "refused-data-map-twice": superblock(data=(1024, 150, 34, 34)),
        "refused-metadata-map-twice": superblock(metadata=(1024, 11, 35, 35)),
        "refused-maps-share": superblock(data=(1024, 150, 35, 5)),
        "refused-snapshot-is-tree": superblock(held_root=31),
        "refused-snapshot-tree-is-copy": superblock(block=31, data=(0,) * 4),
        "refused-trees-equal": superblock(details_root=31),
    }
    bodies |= {f"refused-{name}-range": superblock(**{field: 1024}) for name, field in roots.items()}
    return sealed_all(bodies, SUPERBLOCK) | of_any_block(superblock(), SUPERBLOCK)


def store_superblock(block=0, magic=0x0065726f74736874, block_size=8, commit=6, metadata=(1024, 11, 35, 2),
                     data_map=(500, 3, 36, 37), roots=(40, 0, 1023, 40)):
    maps = struct.pack("<4Q", *metadata) + bytes(32) + struct.pack("<4Q", *data_map)
    return (struct.pack("<IQ16xQIIQ3I4x", 0, block, magic, 1, block_size, commit, 0, 0, 0) + maps.ljust(184, b"\0") +
            struct.pack("<4Q", *roots))


def store_superblocks():
    return sealed_all({
        "sound": store_superblock(),
        "sound-no-maps": store_superblock(data_map=(0,) * 4, roots=(0,) * 4),
        "refused-magic": store_superblock(magic=27022010),
        "refused-block-size": store_superblock(block_size=16),
        "refused-commit-0": store_superblock(commit=0),
        "refused-other-slot": store_superblock(commit=7),
        "refused-metadata-size": store_superblock(metadata=(4161601, 11, 35, 2)),
        "refused-data-size": store_superblock(data_map=(2**40 + 1, 3, 36, 37)),
        "refused-index-in-slot": store_superblock(metadata=(1024, 11, 1, 2)),
        "refused-overflow-in-slot": store_superblock(data_map=(500, 3, 36, 1)),
        "refused-root-in-slot": store_superblock(roots=(1, 0, 0, 0)),
        "refused-root-range": store_superblock(roots=(1024, 0, 0, 0)),
        "refused-maps-share": store_superblock(data_map=(500, 3, 35, 37)),
    }, STORE_SUPERBLOCK) | of_any_block(store_superblock(), STORE_SUPERBLOCK)


def nodes():
    children = [21, 24, 25, 22, 23]
    bodies = {
        "sound-leaf": node(range(3), [0, 1 << 24, 0x64000001]),
        "sound-leaf-empty": node(),
        "sound-leaf-counts": node([1, 2, 4, 5], [4] * 4, value_size=4),
        "sound-leaf-index": node([0], [29], value_size=16),
        "sound-leaf-details": node([0, 1], [100, 100], value_size=24),
        "sound-leaf-full": node(range(1, 253), range(252)),
        "sound-leaf-bytes": node(range(3), [1, 2, 3], value_size=1),
        "sound-leaf-one-large": node([5], [7], value_size=4056, max_entries=1),
        "sound-leaf-no-room": node(max_entries=0),
        "sound-internal": node([50, 3428, 6073, 8813, 12638], children, flags=INTERNAL),
        "sound-internal-one": node([0], [13], flags=INTERNAL),
        "sound-keys-all-bits": node([0, 2**32, 2**63 - 1, 2**63, U64], range(5)),
        "sound-capacity-251": node(range(3), range(3), max_entries=251),
        "sound-padding": node(range(3), range(3), padding=U32),
        "refused-flags-0": node(flags=0),
        "refused-flags-3": node(flags=3),
        "refused-value-size-0": node(value_size=0, max_entries=252),
        "refused-internal-value-size": node([1], [2], flags=INTERNAL, value_size=4),
        "refused-internal-empty": node(flags=INTERNAL),
        "refused-max-entries-255": node(max_entries=255),
        "refused-max-entries-huge": node(max_entries=2**28),
        "refused-value-size-huge": node(max_entries=1, value_size=U32),
        "refused-both-huge": node(max_entries=2**31, value_size=U32 - 7),
        "refused-nr-entries": node(range(252), range(252), nr_entries=253),
        "refused-keys-equal": node([1, 2, 2, 3], range(4)),
        "refused-keys-falling": node([1, 3, 2, 4], range(4)),
        "refused-last-key": node([*range(251), 5], range(252)),
    }
    return sealed_all(bodies, NODE) | of_any_block(node([1], [2]), NODE)


def indexes():
    bodies = {
        "sound": index(index_entry(30, 16309, 1)),
        "sound-empty": index(),
        "sound-full": index(*(index_entry(3 + i, 16320, 0) for i in range(255))),
        "sound-junk-behind": index(index_entry(), b"\xff" * 200),
        "refused-free": index(index_entry(nr_free=16321)),
        "refused-none-free-before": index(index_entry(none_free_before=16321)),
        "refused-bitmap-0": index(index_entry(bitmap=0)),
        "refused-bitmap-range": index(index_entry(bitmap=1024)),
    }
    return sealed_all(bodies, INDEX) | of_any_block(index(index_entry()), INDEX)


def bitmaps():
    bodies = {
        "sound-metadata": bitmap([0x22, 0x08, 0, 0, 0, 0, 0x20, 0xA8, 0xAA]),
        "sound-data": bitmap(b"\x55" * 5 + b"\xaa" * 12 + b"\x5a" + b"\x55" * 7 + b"\xaa" * 12 + b"\x0a"),
        "sound-overflow": bitmap([0xBE, 0xEF, 0xFB]),
        "sound-empty": bitmap([]),
        "sound-every-byte": bitmap(range(256)),
        "sound-last-entry": bitmap(bytes(4079) + b"\x80"),
    }
    return sealed_all(bodies, BITMAP) | of_any_block(bitmap([1]), BITMAP)


def array_blocks():
    bodies = {
        "sound": array_block(),
        "sound-empty": array_block(nr_entries=0, values=b""),
        "sound-eras": array_block(nr_entries=1018, max_entries=1018, value_size=4),
        "sound-one-large": array_block(nr_entries=1, max_entries=1, value_size=4072),
        "sound-bytes": array_block(nr_entries=4072, max_entries=4072, value_size=1),
        "refused-value-size-0": array_block(value_size=0),
        "refused-value-size-4073": array_block(value_size=4073, max_entries=0),
        "refused-value-size-huge": array_block(value_size=U32),
        "refused-max-entries": array_block(max_entries=508),
        "refused-nr-entries": array_block(nr_entries=510),
    }
    return sealed_all(bodies, ARRAY) | of_any_block(array_block(), ARRAY)


def sm_roots():
    return {
        "sound": sm_root(),
        "sound-no-blocks": sm_root(0, 0, 4, 5),
        "sound-metadata-limit": sm_root(nr_blocks=4161600),
        "sound-data-limit": sm_root(nr_blocks=2**40),
        "sound-last-block": sm_root(bitmap_root=1023, entry=index_entry(bitmap=1023)),
        "refused-nr-blocks": sm_root(nr_blocks=2**40 + 1),
        "refused-index-0": sm_root(bitmap_root=0),
        "refused-index-range": sm_root(bitmap_root=1024),
        "refused-overflow-0": sm_root(ref_count_root=0),
        "refused-overflow-range": sm_root(ref_count_root=U64),
        "refused-equal": sm_root(ref_count_root=34),
        "refused-no-metadata": sm_root(metadata_blocks=0),
        "refused-entry-free": sm_root(entry=index_entry(nr_free=16321)),
        "refused-entry-none-free-before": sm_root(entry=index_entry(none_free_before=U32)),
        "refused-entry-bitmap-0": sm_root(entry=index_entry(bitmap=0)),
        "refused-entry-bitmap-range": sm_root(entry=index_entry(bitmap=1024)),
    }


def details():
    return {
        "sound": struct.pack("<QQII", 100, 0, 0, 1),
        "sound-zeros": b"",
        "sound-each-field": bytes(range(1, 25)),
        "sound-greatest": b"\xff" * 24,
    }


def mappings():
    def mapping(value, data_block, time):
        return struct.pack("<QQI", value, data_block, time)

    return {
        "sound": mapping(0x64000001, 100, 1),
        "sound-zeros": b"",
        "sound-greatest": mapping(U64, 2**40 - 1, 2**24 - 1),
        "refused-data-block": mapping(0, 2**40, 0),
        "refused-time": mapping(0, 0, 2**24),
    }


CORPORA = {
    "superblock": superblocks, "store_superblock": store_superblocks, "node": nodes, "index": indexes, "bitmap": bitmaps, "array_block": array_blocks,
    "sm_root": sm_roots, "details": details, "mapping": mappings,
}


def main():
    here = os.path.join(os.path.dirname(os.path.abspath(__file__)), "corpus")
    for name, make in CORPORA.items():
        os.makedirs(os.path.join(here, name), exist_ok=True)
        for file, data in make().items():
            with open(os.path.join(here, name, file), "wb") as out:
                out.write(data.rstrip(b"\0"))


if __name__ == "__main__":
    main()
