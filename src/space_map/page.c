/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * space_map/page.c - rows of bits, and where pages are kept.
 */
#include "space_map/page.h"

#include "base/alloc.h"
#include "base/bytes.h"

#include <string.h>

/* --- bits --- */

static uint32_t lowest_bit(uint64_t word)
{
	return (uint32_t)__builtin_ctzll(word);
}

/* `flip` is all ones to look for clear bits. */
static uint32_t find(const uint64_t *bits, uint32_t i, uint64_t flip)
{
	uint32_t w = i / 64;
	uint64_t word;

	if (w >= TP_PAGE_NR_WORDS)
		return TP_PAGE_NR_BLOCKS;
	word = (bits[w] ^ flip) & UINT64_MAX << i % 64;
	while (!word) {
		if (++w == TP_PAGE_NR_WORDS)
			return TP_PAGE_NR_BLOCKS;
		word = bits[w] ^ flip;
	}
	return w * 64 + lowest_bit(word);
}

uint32_t tp_bits_find_set(const uint64_t *bits, uint32_t i)
{
	return find(bits, i, 0);
}

uint32_t tp_bits_find_clear(const uint64_t *bits, uint32_t i)
{
	return find(bits, i, UINT64_MAX);
}

/* One bit for each of eight bytes that is not 0, the first byte's lowest. Adding 127 to the low seven bits of a byte gives its
 * highest bit when any of them is set; the multiplication brings the highest bits together. */
static uint64_t nonzero_bytes(const uint8_t *bytes)
{
	const uint64_t low = UINT64_C(0x7f7f7f7f7f7f7f7f);
	uint64_t eight = tp_load_le64(bytes);

	return ((((eight & low) + low) | eight) & ~low) * UINT64_C(0x0002040810204081) >> 56;
}

uint64_t tp_page_used_word(const struct tp_page *page, uint32_t w)
{
	const uint8_t *counts = page->counts + (size_t)w * 64;
	uint64_t word = 0;

	for (uint32_t i = 0; i < 64; i += 8)
		word |= nonzero_bytes(counts + i) << i;
	return word;
}

uint32_t tp_page_first_zero(const struct tp_page *page)
{
	const uint8_t *zero = memchr(page->counts, 0, sizeof(page->counts));

	return zero ? (uint32_t)(zero - page->counts) : TP_PAGE_NR_BLOCKS;
}

void tp_page_mark_all(uint64_t mask[TP_PAGE_NR_MASKS])
{
	for (uint32_t w = 0; w < TP_PAGE_NR_WORDS; w++)
		tp_bit_set(mask, w);
}

static void pack_word(struct tp_page *page, uint32_t w)
{
	const uint8_t *counts = page->counts + (size_t)w * 64;
	uint8_t small[64];

	for (uint32_t i = 0; i < 64; i++)
		small[i] = counts[i] < 3 ? counts[i] : 3;
	tp_counts_pack(small, 64, page->packed + (size_t)w * 16);
}

void tp_page_pack(struct tp_page *page)
{
	for (uint32_t w = tp_page_next_word(page->unpacked, 0); w < TP_PAGE_NR_WORDS;
	     w = tp_page_next_word(page->unpacked, w + 1))
		pack_word(page, w);
	memset(page->unpacked, 0, sizeof(page->unpacked));
}

/* --- the directory --- */

void tp_directory_init(struct tp_directory *directory, const struct thinp_allocator *allocator)
{
	*directory = (struct tp_directory){.allocator = *allocator};
}

static void drop_chunk(struct tp_directory *directory, struct tp_directory_chunk *chunk)
{
	if (!chunk)
		return;
	for (size_t i = 0; i < TP_DIRECTORY_CHUNK; i++) {
		tp_free(&directory->allocator, chunk->pages[i], sizeof(struct tp_page));
		tp_remnant_free(&directory->allocator, chunk->remnants[i]);
	}
	tp_free(&directory->allocator, chunk, sizeof(*chunk));
}

void tp_directory_clear(struct tp_directory *directory)
{
	for (uint64_t i = 0; i < directory->nr_chunks; i++)
		drop_chunk(directory, directory->chunks[i]);
	tp_free(&directory->allocator, directory->chunks, directory->nr_chunks * sizeof(struct tp_directory_chunk *));
	tp_directory_init(directory, &directory->allocator);
}

int tp_directory_grow(struct tp_directory *directory, uint64_t nr_pages)
{
	uint64_t nr_chunks = (nr_pages + TP_DIRECTORY_CHUNK - 1) / TP_DIRECTORY_CHUNK;
	struct tp_directory_chunk **chunks;

	if (nr_chunks <= directory->nr_chunks)
		return 0;
	chunks = tp_alloc_zeroed(&directory->allocator, nr_chunks, sizeof(struct tp_directory_chunk *));
	if (!chunks)
		return THINP_ENOMEM;
	for (uint64_t i = 0; i < directory->nr_chunks; i++)
		chunks[i] = directory->chunks[i];
	tp_free(&directory->allocator, directory->chunks, directory->nr_chunks * sizeof(struct tp_directory_chunk *));
	directory->bytes += (nr_chunks - directory->nr_chunks) * sizeof(struct tp_directory_chunk *);
	directory->chunks = chunks;
	directory->nr_chunks = nr_chunks;
	return 0;
}

static int make_chunk(struct tp_directory *directory, uint64_t i)
{
	if (directory->chunks[i])
		return 0;
	directory->chunks[i] = tp_alloc_zeroed(&directory->allocator, 1, sizeof(struct tp_directory_chunk));
	if (!directory->chunks[i])
		return THINP_ENOMEM;
	directory->bytes += sizeof(struct tp_directory_chunk);
	return 0;
}

int tp_directory_make(struct tp_directory *directory, uint64_t number, struct tp_page **page)
{
	int r = tp_directory_grow(directory, number + 1);
	struct tp_page *made;

	if (!r)
		r = make_chunk(directory, number / TP_DIRECTORY_CHUNK);
	if (r)
		return r;
	made = tp_alloc_zeroed(&directory->allocator, 1, sizeof(*made));
	if (!made)
		return THINP_ENOMEM;
	directory->bytes += sizeof(*made);
	made->number = number;
	*page = made;
	return 0;
}

static void note_place(uint64_t *bits, uint64_t number, bool is_there)
{
	uint32_t i = (uint32_t)(number % TP_DIRECTORY_CHUNK);

	if (is_there)
		tp_bit_set(bits, i);
	else
		tp_bit_clear(bits, i);
}

void tp_directory_put(struct tp_directory *directory, struct tp_page *page)
{
	struct tp_directory_chunk *chunk = directory->chunks[page->number / TP_DIRECTORY_CHUNK];

	chunk->pages[page->number % TP_DIRECTORY_CHUNK] = page;
	note_place(chunk->has_page, page->number, true);
}

void tp_directory_drop(struct tp_directory *directory, struct tp_page *page)
{
	struct tp_directory_chunk *chunk = directory->chunks[page->number / TP_DIRECTORY_CHUNK];

	chunk->pages[page->number % TP_DIRECTORY_CHUNK] = NULL;
	note_place(chunk->has_page, page->number, false);
	tp_free(&directory->allocator, page, sizeof(*page));
	directory->bytes -= sizeof(*page);
}

static struct tp_directory_chunk *chunk_of(const struct tp_directory *directory, uint64_t number)
{
	uint64_t i = number / TP_DIRECTORY_CHUNK;

	return i < directory->nr_chunks ? directory->chunks[i] : NULL;
}

struct tp_remnant *tp_directory_remnant(const struct tp_directory *directory, uint64_t number)
{
	const struct tp_directory_chunk *chunk = chunk_of(directory, number);

	return chunk ? chunk->remnants[number % TP_DIRECTORY_CHUNK] : NULL;
}

void tp_directory_set_remnant(struct tp_directory *directory, uint64_t number, struct tp_remnant *remnant)
{
	struct tp_directory_chunk *chunk = chunk_of(directory, number);

	chunk->remnants[number % TP_DIRECTORY_CHUNK] = remnant;
	note_place(chunk->has_remnant, number, remnant);
}

/* The first place from i on with a page, or with either; TP_DIRECTORY_CHUNK: none. */
static uint64_t next_place(const struct tp_directory_chunk *chunk, uint64_t i, bool with_remnants)
{
	for (uint64_t w = i / 64; w < TP_DIRECTORY_CHUNK / 64; w++, i = w * 64) {
		uint64_t word = chunk->has_page[w] | (with_remnants ? chunk->has_remnant[w] : 0);

		word &= UINT64_MAX << i % 64;
		if (word)
			return w * 64 + lowest_bit(word);
	}
	return TP_DIRECTORY_CHUNK;
}

/* The lowest number from this one on; false: none. */
static bool find_next(const struct tp_directory *directory, uint64_t *number, bool with_remnants)
{
	uint64_t i = *number % TP_DIRECTORY_CHUNK;

	for (uint64_t c = *number / TP_DIRECTORY_CHUNK; c < directory->nr_chunks; c++, i = 0) {
		const struct tp_directory_chunk *chunk = directory->chunks[c];

		i = chunk ? next_place(chunk, i, with_remnants) : TP_DIRECTORY_CHUNK;
		if (i < TP_DIRECTORY_CHUNK) {
			*number = c * TP_DIRECTORY_CHUNK + i;
			return true;
		}
	}
	return false;
}

struct tp_page *tp_directory_next(const struct tp_directory *directory, uint64_t number)
{
	return find_next(directory, &number, false) ? tp_directory_get(directory, number) : NULL;
}

bool tp_directory_next_any(const struct tp_directory *directory, uint64_t *number, struct tp_page **page,
			   struct tp_remnant **remnant)
{
	if (!find_next(directory, number, true))
		return false;
	*page = tp_directory_get(directory, *number);
	*remnant = tp_directory_remnant(directory, *number);
	return true;
}
