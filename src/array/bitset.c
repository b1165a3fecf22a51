/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * array/bitset.c - changing bitsets through a word that is kept in memory.
 *
 * Invariants
 *   1. The bitset is the array at root, but for the word that the handle keeps, when it is dirty.
 *   2. A dirty word has been written in this transaction before, so its block, and the way to it, are there to be
 *      written again without taking anything: that is what lets a flush succeed when space has become short.
 */
#include "array/values.h"

#include "base/alloc.h"
#include "base/bytes.h"
#include "block/manager.h"

struct thinp_bitset {
	struct thinp_tm *tm;
	thinp_block_t root;
	uint64_t nr_bits;
	uint64_t number; /* of the word that is kept */
	uint64_t word;
	bool has_word;
	bool was_written; /* once at least, since it was fetched */
	bool is_dirty;
};

static const struct thinp_array_type words = {.size = sizeof(words), .value_size = 8};

static const struct thinp_allocator *allocator_of(struct thinp_tm *tm)
{
	return tp_reader_allocator(thinp_tm_reader(tm));
}

int thinp_bitset_create(struct thinp_tm *tm, thinp_block_t root, uint64_t nr_bits, struct thinp_bitset **out)
{
	struct thinp_bitset *bitset = tp_alloc_zeroed(allocator_of(tm), 1, sizeof(*bitset));

	if (!bitset)
		return THINP_ENOMEM;
	bitset->tm = tm;
	thinp_bitset_reset(bitset, root, nr_bits);
	*out = bitset;
	return 0;
}

void thinp_bitset_destroy(struct thinp_bitset *bitset)
{
	if (bitset)
		tp_free(allocator_of(bitset->tm), bitset, sizeof(*bitset));
}

void thinp_bitset_reset(struct thinp_bitset *bitset, thinp_block_t root, uint64_t nr_bits)
{
	bitset->root = root;
	bitset->nr_bits = nr_bits;
	bitset->has_word = false;
	bitset->is_dirty = false;
}

uint64_t thinp_bitset_nr_bits(const struct thinp_bitset *bitset)
{
	return bitset->nr_bits;
}

static int write_word(struct thinp_bitset *bitset, uint64_t number, uint64_t word)
{
	uint8_t word_le[8];

	tp_store_le64(word_le, word);
	return thinp_array_set(bitset->tm, &words, bitset->root, number, word_le, &bitset->root);
}

static int write_back(struct thinp_bitset *bitset)
{
	int r = bitset->is_dirty ? write_word(bitset, bitset->number, bitset->word) : 0;

	if (!r)
		bitset->is_dirty = false;
	return r;
}

static int fetch(struct thinp_bitset *bitset, uint64_t number)
{
	uint8_t word_le[8];
	int r;

	if (bitset->has_word && bitset->number == number)
		return 0;
	r = write_back(bitset);
	if (!r)
		r = thinp_array_get(thinp_tm_reader(bitset->tm), &words, bitset->root, number, word_le);
	if (r)
		return r;
	bitset->number = number;
	bitset->word = tp_load_le64(word_le);
	bitset->has_word = true;
	bitset->was_written = false;
	return 0;
}

static int fetch_of_bit(struct thinp_bitset *bitset, uint64_t bit)
{
	return bit < bitset->nr_bits ? fetch(bitset, bit / 64) : tp_array_too_short(bit);
}

static int change(struct thinp_bitset *bitset, uint64_t word)
{
	int r = 0;

	if (word == bitset->word)
		return 0;
	if (!bitset->was_written)
		r = write_word(bitset, bitset->number, word);
	if (r)
		return r;
	bitset->is_dirty = bitset->was_written;
	bitset->was_written = true;
	bitset->word = word;
	return 0;
}

int thinp_bitset_set(struct thinp_bitset *bitset, uint64_t bit)
{
	int r = fetch_of_bit(bitset, bit);

	return r ? r : change(bitset, bitset->word | UINT64_C(1) << bit % 64);
}

int thinp_bitset_clear(struct thinp_bitset *bitset, uint64_t bit)
{
	int r = fetch_of_bit(bitset, bit);

	return r ? r : change(bitset, bitset->word & ~(UINT64_C(1) << bit % 64));
}

int thinp_bitset_get(struct thinp_bitset *bitset, uint64_t bit, bool *is_set)
{
	int r = fetch_of_bit(bitset, bit);

	if (!r)
		*is_set = bitset->word >> bit % 64 & 1;
	return r;
}

/* After a commit the word has to be written anew when it changes: what was a shadow is one no more. */
int thinp_bitset_flush(struct thinp_bitset *bitset, thinp_block_t *root)
{
	int r = write_back(bitset);

	if (r)
		return r;
	bitset->was_written = false;
	*root = bitset->root;
	return 0;
}

static uint64_t words_of(uint64_t nr_bits)
{
	return nr_bits / 64 + (nr_bits % 64 != 0);
}

/* The bits of the last word that are behind the end become what new bits are to be. */
static int fill_last_word(struct thinp_bitset *bitset, bool is_set)
{
	uint64_t behind = UINT64_MAX << bitset->nr_bits % 64;
	int r = bitset->nr_bits % 64 ? fetch(bitset, bitset->nr_bits / 64) : 0;

	if (r || !(bitset->nr_bits % 64))
		return r;
	return change(bitset, is_set ? bitset->word | behind : bitset->word & ~behind);
}

int thinp_bitset_resize(struct thinp_bitset *bitset, uint64_t new_nr_bits, bool is_set)
{
	uint8_t word_le[8];
	int r = new_nr_bits > bitset->nr_bits ? fill_last_word(bitset, is_set) : 0;

	if (!r)
		r = write_back(bitset);
	if (r)
		return r;
	tp_store_le64(word_le, is_set ? UINT64_MAX : 0);
	r = thinp_array_resize(bitset->tm, &words, bitset->root, words_of(bitset->nr_bits), words_of(new_nr_bits),
			       word_le, &bitset->root);
	if (r)
		return r;
	bitset->nr_bits = new_nr_bits;
	bitset->has_word = false;
	return 0;
}
