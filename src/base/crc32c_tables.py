#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Prints crc32c_tables.h: the tables of crc32c.c. Table k gives the register after a byte and k zero bytes."""

tables = [[0] * 256 for _ in range(8)]
for byte in range(256):
    reg = byte
    for _ in range(8):
        reg = reg >> 1 ^ (0x82F63B78 if reg & 1 else 0)
    tables[0][byte] = reg
for k in range(1, 8):
    for byte in range(256):
        reg = tables[k - 1][byte]
        tables[k][byte] = tables[0][reg & 0xFF] ^ reg >> 8

print("/* SPDX-License-Identifier: BSD-3-Clause */")
print("/* Made by crc32c_tables.py: the tables of crc32c.c. */")
print("static const uint32_t crc_tables[8][256] = {")
for table in tables:
    print("\t{")
    for row in range(0, 256, 8):
        print("\t\t" + " ".join(f"0x{value:08x}," for value in table[row:row + 8]))
    print("\t},")
print("};")
