/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * space_map/page.h - the counts of one bitmap in memory, and the directory of pages.
 *
 * Beside the counts a page has five rows of bits. A block can be handed out when its bit in `available` is set, which is so
 * exactly when its count, pending operations included, is 0, and none of `committed` and `held` has it. So a search for free
 * blocks looks at one row of words.
 */
#ifndef TP_SPACE_MAP_PAGE_H
#define TP_SPACE_MAP_PAGE_H

#include "base/error.h"
#include "format/space_map.h"

#include <thinp/allocator.h>

#define TP_PAGE_NR_BLOCKS TP_BITMAP_NR_ENTRIES
#define TP_PAGE_NR_WORDS  (TP_PAGE_NR_BLOCKS / 64)
#define TP_PAGE_LARGE     255u /* as a count: the table of large counts has it */

/* The words of a page that something has become of: one bit for each of its words of 64 blocks. */
#define TP_PAGE_NR_MASKS ((TP_PAGE_NR_WORDS + 63) / 64)

static_assert(TP_PAGE_NR_WORDS * 64 == TP_PAGE_NR_BLOCKS, "the bits of a page fill whole words");

struct tp_page {
	uint64_t number;
	struct tp_index_entry entry; /* bitmap 0: there is none yet */
	uint64_t leaves_known_at;    /* thinp_sm::overflow_generation when nr_leaves was found */
	uint32_t nr_leaves;          /* of the overflow tree, where counts of this page may be */
	uint32_t nr_used;            /* counts that are not 0 */
	int32_t nr_hidden;           /* counts of 0 in the bitmap that was read, less those that its entry tells */
	uint32_t nr_available;       /* bits in available */
	uint32_t nr_changed;         /* bits in changed */
	uint32_t nr_inserts;         /* of these, without an entry in the overflow tree */
	bool is_dirty;               /* a count has changed since the last commit, or the bitmap is new */
	bool is_shadow;              /* the bitmap was made in this transaction */
	bool is_recorded;            /* and has the counts as they are now */
	uint64_t touched[TP_PAGE_NR_MASKS];   /* words with counts that may differ from the last commit's */
	uint64_t unpacked[TP_PAGE_NR_MASKS];  /* words of `packed` that may differ from the counts */
	uint64_t available[TP_PAGE_NR_WORDS]; /* may be handed out */
	uint64_t committed[TP_PAGE_NR_WORDS]; /* used in the last commit */
	uint64_t held[TP_PAGE_NR_WORDS];      /* used in a commit that a view is on */
	uint64_t entries[TP_PAGE_NR_WORDS];   /* the overflow tree has an entry */
	uint64_t changed[TP_PAGE_NR_WORDS];   /* its entry is to be inserted, changed or removed */
	uint8_t counts[TP_PAGE_NR_BLOCKS];
	uint8_t packed[TP_BITMAP_NR_BYTES]; /* the bitmap, when it was last recorded */
};

static inline bool tp_bit_get(const uint64_t *bits, uint32_t i)
{
	return bits[i / 64] >> i % 64 & 1;
}

static inline void tp_bit_set(uint64_t *bits, uint32_t i)
{
	bits[i / 64] |= UINT64_C(1) << i % 64;
}

static inline void tp_bit_clear(uint64_t *bits, uint32_t i)
{
	bits[i / 64] &= ~(UINT64_C(1) << i % 64);
}

/* To be called when a count changes. */
static inline void tp_page_touch(struct tp_page *page, uint32_t i)
{
	tp_bit_set(page->touched, i / 64);
	tp_bit_set(page->unpacked, i / 64);
}

/* The first word from w on that has its bit in such a mask; TP_PAGE_NR_WORDS: none. */
static inline uint32_t tp_page_next_word(const uint64_t mask[TP_PAGE_NR_MASKS], uint32_t w)
{
	for (uint32_t m = w / 64; m < TP_PAGE_NR_MASKS; m++, w = m * 64) {
		uint64_t words = mask[m] & UINT64_MAX << w % 64;

		if (words)
			return m * 64 + (uint32_t)__builtin_ctzll(words);
	}
	return TP_PAGE_NR_WORDS;
}

/* Says so of all words. */
void tp_page_mark_all(uint64_t mask[TP_PAGE_NR_MASKS]);

/* Brings `packed` up to date. */
void tp_page_pack(struct tp_page *page);

/* The lowest bit that is set, from bit i on; TP_PAGE_NR_BLOCKS: none. */
uint32_t tp_bits_find_set(const uint64_t *bits, uint32_t i);

/* The lowest bit that is not set, from bit i on; TP_PAGE_NR_BLOCKS: none. */
uint32_t tp_bits_find_clear(const uint64_t *bits, uint32_t i);

/* The 64 blocks of word w whose count is not 0. */
uint64_t tp_page_used_word(const struct tp_page *page, uint32_t w);

/* Index of the first count that is 0; TP_PAGE_NR_BLOCKS: none. */
uint32_t tp_page_first_zero(const struct tp_page *page);

/* --- the directory: two levels, so that a large map of which little is used costs little --- */

#define TP_DIRECTORY_CHUNK 512u

/* What is left of a page that went while it differed from the last commit; see trim.c. */
struct tp_remnant {
	uint32_t nr_freed; /* runs of blocks that came free since the last commit */
	uint32_t nr_runs;  /* the others came into use */
	uint32_t runs[];   /* first bit << 16 | number of bits; those that came free first */
};

/* What is there is found by the bits: most chunks have a few pages in many places, and each commit asks several times. */
struct tp_directory_chunk {
	uint64_t has_page[TP_DIRECTORY_CHUNK / 64];
	uint64_t has_remnant[TP_DIRECTORY_CHUNK / 64];
	struct tp_page *pages[TP_DIRECTORY_CHUNK];
	struct tp_remnant *remnants[TP_DIRECTORY_CHUNK];
};

struct tp_directory {
	struct thinp_allocator allocator;
	struct tp_directory_chunk **chunks;
	uint64_t nr_chunks;
	uint64_t bytes; /* pages, chunks and directory */
};

void tp_directory_init(struct tp_directory *directory, const struct thinp_allocator *allocator);

/* Forgets all pages and gives the memory back. */
void tp_directory_clear(struct tp_directory *directory);

/* Sees to it that pages up to this number can be in it. */
int tp_directory_grow(struct tp_directory *directory, uint64_t nr_pages) TP_MUST_USE;

/* NULL: not in memory. */
static inline struct tp_page *tp_directory_get(const struct tp_directory *directory, uint64_t number)
{
	const struct tp_directory_chunk *chunk;

	if (number / TP_DIRECTORY_CHUNK >= directory->nr_chunks)
		return NULL;
	chunk = directory->chunks[number / TP_DIRECTORY_CHUNK];
	return chunk ? chunk->pages[number % TP_DIRECTORY_CHUNK] : NULL;
}

/* Memory for a page that is not in the directory yet: zeros, but for its number. */
int tp_directory_make(struct tp_directory *directory, uint64_t number, struct tp_page **page) TP_MUST_USE;

/* Puts it in. */
void tp_directory_put(struct tp_directory *directory, struct tp_page *page);

/* Releases a page, which may be in it. */
void tp_directory_drop(struct tp_directory *directory, struct tp_page *page);

static inline uint32_t tp_remnant_first(uint32_t run)
{
	return run >> 16;
}

static inline uint32_t tp_remnant_length(uint32_t run)
{
	return run & 0xffff;
}

/* The remnant of a page; NULL: there is none. */
struct tp_remnant *tp_directory_remnant(const struct tp_directory *directory, uint64_t number);

/* Puts one in the place of what was there, NULL: none. The page was in the directory before. */
void tp_directory_set_remnant(struct tp_directory *directory, uint64_t number, struct tp_remnant *remnant);

/* The lowest number from this one on of which there is a page or a remnant. False: there is none. */
bool tp_directory_next_any(const struct tp_directory *directory, uint64_t *number, struct tp_page **page,
			   struct tp_remnant **remnant);

/* The page in memory with the lowest number, from this number on; NULL: none. */
struct tp_page *tp_directory_next(const struct tp_directory *directory, uint64_t number);

/* Releases a remnant, if there is one. */
void tp_remnant_free(const struct thinp_allocator *allocator, struct tp_remnant *remnant);
size_t tp_remnant_bytes(const struct tp_remnant *remnant);

#endif
