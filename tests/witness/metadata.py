# SPDX-License-Identifier: BSD-3-Clause
"""A second reader of pool metadata, written from docs/format.md and sharing no code with the library.

It believes what it reads: it follows pointers and prints what is there. Tests compare the library with it.
"""
import struct

BLOCK = 4096
XORS = {"superblock": 160774, "node": 121107, "index": 160478, "bitmap": 240779}

_TABLE = []
for _byte in range(256):
    _reg = _byte
    for _ in range(8):
        _reg = _reg >> 1 ^ (0x82F63B78 if _reg & 1 else 0)
    _TABLE.append(_reg)


def crc(data):
    reg = 0xFFFFFFFF
    for byte in data:
        reg = _TABLE[(reg ^ byte) & 0xFF] ^ reg >> 8
    return reg


def kind_of(data):
    """The kind of block that the checksum stands for, or None."""
    constant = struct.unpack_from("<I", data)[0] ^ crc(data[4:])
    return next((kind for kind, xor in XORS.items() if xor == constant), None)


def seal(block, kind):
    """Makes the checksum of a bytearray right."""
    struct.pack_into("<I", block, 0, crc(block[4:]) ^ XORS[kind])


class TooDeep(Exception):
    pass


class Image:
    def __init__(self, data):
        self.data = data
        self.blocks_read = set()

    def block(self, number):
        if (number + 1) * BLOCK > len(self.data):
            raise IndexError(number)
        self.blocks_read.add(number)
        return self.data[number * BLOCK:(number + 1) * BLOCK]

    def entries(self, root, depth=0):
        """All (key, value bytes) of a plain tree."""
        if depth > 16:
            raise TooDeep(root)
        node = self.block(root)
        flags, _, count, capacity, size = struct.unpack_from("<IQIII", node, 4)
        for i in range(count):
            key = struct.unpack_from("<Q", node, 32 + 8 * i)[0]
            at = 32 + 8 * capacity + size * i
            if flags & 1:
                yield from self.entries(struct.unpack_from("<Q", node, at)[0], depth + 1)
            else:
                yield key, node[at:at + size]

    def superblock(self, number=0):
        sb = self.block(number)
        flags, = struct.unpack_from("<I", sb, 4)
        version, time, transaction, held = struct.unpack_from("<IIQQ", sb, 40)
        mapping, details, block_size = struct.unpack_from("<QQI", sb, 320)
        nr_data, = struct.unpack_from("<Q", sb, 64)
        return dict(flags=flags, version=version, time=time, transaction=transaction, held=held,
                    mapping=mapping, details=details, block_size=block_size, nr_data=nr_data)


def runs(entries):
    """Mappings as [virtual, data, length, time], merged."""
    result = []
    for virtual, value in entries:
        data, time = struct.unpack("<Q", value)[0] >> 24, struct.unpack("<Q", value)[0] & 0xFFFFFF
        last = result[-1] if result else None
        if last and (virtual, data, time) == (last[0] + last[2], last[1] + last[2], last[3]):
            last[2] += 1
        else:
            result.append([virtual, data, 1, time])
    return result


def dump(image, superblock=0):
    """The pool as XML, as thin_dump 0.9.0 prints it."""
    sb = image.superblock(superblock)
    out = ['<superblock uuid="" time="%(time)d" transaction="%(transaction)d" flags="%(flags)d" version="%(version)d" '
           'data_block_size="%(block_size)d" nr_data_blocks="%(nr_data)d">\n' % sb]
    roots = {key: struct.unpack("<Q", value)[0] for key, value in image.entries(sb["mapping"])}
    for dev, details in image.entries(sb["details"]):
        mapped, transaction, created, snapped = struct.unpack("<QQII", details)
        out.append(f'  <device dev_id="{dev}" mapped_blocks="{mapped}" transaction="{transaction}" '
                   f'creation_time="{created}" snap_time="{snapped}">\n')
        for virtual, data, length, time in runs(image.entries(roots[dev])):
            if length == 1:
                out.append(f'    <single_mapping origin_block="{virtual}" data_block="{data}" time="{time}"/>\n')
            else:
                out.append(f'    <range_mapping origin_begin="{virtual}" data_begin="{data}" length="{length}" '
                           f'time="{time}"/>\n')
        out.append("  </device>\n")
    out.append("</superblock>\n")
    return "".join(out)
