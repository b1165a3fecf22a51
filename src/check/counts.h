/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * check/counts.h - how often each data block was found, four bits for each.
 *
 *   bits 0..2   times found: 0..6, or 7 for "the table of large counts has it"
 *   bit  3      one of those who refer to it believes to be alone
 *
 * Mappings come in the order of virtual blocks, which says nothing about the order of data blocks: counting each at once
 * would be a cache miss each. Of few blocks, a bit for each fits the cache: it tells who was found once. Of many, and of blocks
 * found again, the mappings wait by chunks of data blocks, and are counted when many wait for one chunk. Mappings whose data
 * blocks follow each other are counted at once, sixteen with one addition.
 */
#ifndef TP_CHECK_COUNTS_H
#define TP_CHECK_COUNTS_H

#include "base/bytes.h"
#include "check/count_table.h"
#include "check/memory.h"

#include <stdbool.h>

#define TP_COUNTS_CHUNK   32768u /* data blocks of a chunk, which is made when it is first touched */
#define TP_COUNTS_WORDS   (TP_COUNTS_CHUNK / 16)
#define TP_COUNTS_WAITING 2048u /* that can wait for a chunk: many more than it has cache lines, which are 256 */
#define TP_COUNTS_BYTES   (TP_COUNTS_CHUNK / 2)
#define TP_COUNTS_LARGE   7u
#define TP_COUNTS_FEW     ((uint64_t)1 << 24) /* data blocks: a bit each are 2 MiB */

struct tp_count_chunk {
	uint8_t bytes[TP_COUNTS_BYTES];
};

/* Blocks of a chunk. */
struct tp_count_bits {
	uint64_t words[TP_COUNTS_CHUNK / 64];
};

/* Those that wait for a chunk: place in the chunk; lowest bit: believes to be alone. One cache line more than is used, so that
 * the places where the next ones go, which move on at about the same pace for all chunks, do not all belong into the same few
 * lines of the cache. */
struct tp_count_waiting {
	uint16_t places[TP_COUNTS_WAITING + 32];
};

struct tp_counts {
	struct tp_memory *memory;
	uint64_t nr_blocks; /* that can be counted */
	size_t nr_chunks;
	struct tp_count_chunk **chunks; /* NULL: nothing found there */
	struct tp_count_bits **once[2]; /* found, and not counted yet: [alone?][chunk]; NULL: there are many blocks */
	struct tp_count_waiting **waiting;
	uint16_t *
		room; /* for more that wait; they wait from here on. 0, too, where there is no struct tp_count_waiting */
	struct tp_count_table large; /* counts of TP_COUNTS_LARGE and more */
	uint8_t more[1024]; /* what becomes of a byte: [byte | upper half? | alone?]; the same: it is a large count */
};

/* THINP_ENOMEM, or 0. */
int tp_counts_init(struct tp_counts *counts, struct tp_memory *memory, uint64_t nr_blocks);
void tp_counts_exit(struct tp_counts *counts);

/* Counts the blocks of mappings in on-disk form; all of them are below nr_blocks. Those made at alone_from or later believe to
 * be alone. THINP_ENOMEM, or 0. */
int tp_counts_add(struct tp_counts *counts, const uint8_t *values_le, size_t nr, uint32_t alone_from);

/* The same for blocks that follow each other. */
int tp_counts_add_run(struct tp_counts *counts, uint64_t begin, uint64_t end, bool alone);

/* Counts what waits: to be called before anything is asked. THINP_ENOMEM, or 0. */
int tp_counts_flush(struct tp_counts *counts);

/* Adds what `from` has; nothing waits, and `from` is used up. THINP_ENOMEM, or 0. */
int tp_counts_join(struct tp_counts *counts, struct tp_counts *from);

/* How often a block was found. */
uint64_t tp_counts_get(const struct tp_counts *counts, uint64_t block);

/* Blocks that were found in either. */
uint64_t tp_counts_nr_found(const struct tp_counts *a, const struct tp_counts *b);

/* Bits that are set. Without the machine's own instruction, which not every build may use, a call costs more. */
static inline uint32_t tp_count_bits(uint64_t word)
{
	word -= word >> 1 & UINT64_C(0x5555555555555555);
	word = (word & UINT64_C(0x3333333333333333)) + (word >> 2 & UINT64_C(0x3333333333333333));
	word = (word + (word >> 4)) & UINT64_C(0x0f0f0f0f0f0f0f0f);
	return (uint32_t)(word * UINT64_C(0x0101010101010101) >> 56);
}

/* A chunk, TP_COUNTS_WORDS words of sixteen blocks; NULL where nothing was found, or beyond the end. */
static inline const uint8_t *tp_counts_chunk(const struct tp_counts *counts, uint64_t chunk)
{
	return chunk < counts->nr_chunks && counts->chunks[chunk] ? counts->chunks[chunk]->bytes : NULL;
}

/* Sixteen blocks from 16 * word on; 0 where nothing was found, or beyond the end. */
static inline uint64_t tp_counts_word(const struct tp_counts *counts, uint64_t word)
{
	const uint8_t *chunk = tp_counts_chunk(counts, word / TP_COUNTS_WORDS);

	return chunk ? tp_load_le64(chunk + 8 * (word % TP_COUNTS_WORDS)) : 0;
}

#endif
