/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * base/bytes.h - byte arrays of any alignment: little-endian numbers in them, and zeros.
 *
 * Numbers are written with shifts, so that the byte order of the machine plays no part; gcc and clang turn each into one load or
 * store where the machine is little-endian and into one with a byte swap where it is not. But they do so too late to make
 * vector code of loops over many, so 64-bit numbers are copied as they are where that is right.
 */
#ifndef TP_BASE_BYTES_H
#define TP_BASE_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

static inline uint16_t tp_load_le16(const void *p)
{
	const uint8_t *b = p;

	return (uint16_t)(b[0] | b[1] << 8);
}

static inline uint32_t tp_load_le32(const void *p)
{
	const uint8_t *b = p;

	return (uint32_t)b[0] | (uint32_t)b[1] << 8 | (uint32_t)b[2] << 16 | (uint32_t)b[3] << 24;
}

static inline uint64_t tp_load_le64(const void *p)
{
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
	uint64_t v;

	memcpy(&v, p, sizeof(v));
	return v;
#else
	const uint8_t *b = p;

	return (uint64_t)tp_load_le32(b) | (uint64_t)tp_load_le32(b + 4) << 32;
#endif
}

static inline void tp_store_le16(void *p, uint16_t v)
{
	uint8_t *b = p;

	b[0] = (uint8_t)v;
	b[1] = (uint8_t)(v >> 8);
}

static inline void tp_store_le32(void *p, uint32_t v)
{
	uint8_t *b = p;

	b[0] = (uint8_t)v;
	b[1] = (uint8_t)(v >> 8);
	b[2] = (uint8_t)(v >> 16);
	b[3] = (uint8_t)(v >> 24);
}

static inline void tp_store_le64(void *p, uint64_t v)
{
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
	memcpy(p, &v, sizeof(v));
#else
	uint8_t *b = p;

	tp_store_le32(b, (uint32_t)v);
	tp_store_le32(b + 4, (uint32_t)(v >> 32));
#endif
}

/* Is each of these numbers, at least one, larger by step than the one before? A row that goes past the greatest number is
 * none. There is no branch in the loop and no comparison of 64-bit numbers, so that compilers make vector code of it: where
 * it is called, for the vectors that are there. */
static inline __attribute__((always_inline)) bool tp_is_row_le64(const uint8_t *first, size_t nr, uint64_t step)
{
	uint64_t begin = tp_load_le64(first);
	uint64_t end = tp_load_le64(first + 8 * (nr - 1));
	uint64_t differences = 0;

	if (end < begin || end - begin != (nr - 1) * step)
		return false;
	for (size_t i = 1; i < nr; i++)
		differences |= (tp_load_le64(first + 8 * i) - tp_load_le64(first + 8 * (i - 1))) ^ step;
	return !differences;
}

static inline bool tp_is_zero(const void *p, size_t nbytes)
{
	const uint8_t *b = p;

	return !nbytes || (!b[0] && !memcmp(b, b + 1, nbytes - 1));
}

#endif
