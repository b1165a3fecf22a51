/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * base/crc32c.c - CRC-32C by ISA-L, by the processor's own instruction, or by tables.
 *
 * Tables: "slicing by 8" (Kounavis and Berry, "Novel Table Lookup-Based Algorithms for High-Performance CRC
 * Generation", IEEE Transactions on Computers 57, 2008). tests check all ways against the vectors of RFC 3720, B.4.
 */
#include "base/crc32c.h"

#include "base/bytes.h"

#ifdef THINP_WITH_ISAL
#include <isa-l/crc.h>
#endif
#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__) && defined(__linux__)
#include <arm_acle.h>
#include <sys/auxv.h>
#endif

#include "base/crc32c_tables.h"

uint32_t tp_crc32c_table(uint32_t reg, const void *data, size_t nbytes)
{
	const uint8_t *p = data;

	for (; nbytes >= 8; nbytes -= 8, p += 8) {
		uint32_t lo = tp_load_le32(p) ^ reg;
		uint32_t hi = tp_load_le32(p + 4);

		reg = crc_tables[7][lo & 0xff] ^ crc_tables[6][lo >> 8 & 0xff] ^ crc_tables[5][lo >> 16 & 0xff] ^
		      crc_tables[4][lo >> 24] ^ crc_tables[3][hi & 0xff] ^ crc_tables[2][hi >> 8 & 0xff] ^
		      crc_tables[1][hi >> 16 & 0xff] ^ crc_tables[0][hi >> 24];
	}
	for (; nbytes; nbytes--)
		reg = crc_tables[0][(reg ^ *p++) & 0xff] ^ reg >> 8;
	return reg;
}

#if defined(__x86_64__)
bool tp_crc32c_has_hw(void)
{
	return __builtin_cpu_supports("sse4.2");
}

__attribute__((target("sse4.2"))) uint32_t tp_crc32c_hw(uint32_t reg, const void *data, size_t nbytes)
{
	const uint8_t *p = data;
	uint64_t wide = reg;

	for (; nbytes >= 8; nbytes -= 8, p += 8)
		wide = _mm_crc32_u64(wide, tp_load_le64(p));
	reg = (uint32_t)wide;
	for (; nbytes; nbytes--)
		reg = _mm_crc32_u8(reg, *p++);
	return reg;
}
#elif defined(__aarch64__) && defined(__linux__)
bool tp_crc32c_has_hw(void)
{
	return getauxval(AT_HWCAP) & HWCAP_CRC32;
}

__attribute__((target("+crc"))) uint32_t tp_crc32c_hw(uint32_t reg, const void *data, size_t nbytes)
{
	const uint8_t *p = data;

	for (; nbytes >= 8; nbytes -= 8, p += 8)
		reg = __crc32cd(reg, tp_load_le64(p));
	for (; nbytes; nbytes--)
		reg = __crc32cb(reg, *p++);
	return reg;
}
#else
bool tp_crc32c_has_hw(void)
{
	return false;
}

uint32_t tp_crc32c_hw(uint32_t reg, const void *data, size_t nbytes)
{
	return tp_crc32c_table(reg, data, nbytes);
}
#endif

#ifdef THINP_WITH_ISAL
bool tp_crc32c_has_isal(void)
{
	return true;
}

/* ISA-L's function of this name is CRC-32C with the register as it is. It takes an int for the length and does not
 * write through the pointer that it wants without const. */
uint32_t tp_crc32c_isal(uint32_t reg, const void *data, size_t nbytes)
{
	const size_t most = (size_t)1 << 30;
	uint8_t *p = (uint8_t *)(uintptr_t)data;

	for (; nbytes > most; nbytes -= most, p += most)
		reg = crc32_iscsi(p, (int)most, reg);
	return crc32_iscsi(p, (int)nbytes, reg);
}
#else
bool tp_crc32c_has_isal(void)
{
	return false;
}

uint32_t tp_crc32c_isal(uint32_t reg, const void *data, size_t nbytes)
{
	return tp_crc32c_table(reg, data, nbytes);
}
#endif

uint32_t tp_crc32c(uint32_t reg, const void *data, size_t nbytes)
{
	if (tp_crc32c_has_isal())
		return tp_crc32c_isal(reg, data, nbytes);
	if (tp_crc32c_has_hw())
		return tp_crc32c_hw(reg, data, nbytes);
	return tp_crc32c_table(reg, data, nbytes);
}
